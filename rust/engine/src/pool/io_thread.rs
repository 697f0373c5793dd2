//! Threads that may wait for a disk, so that no worker has to.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::lock;

/// A read, and what is to be done with what was read. Whoever made it answers for a panic in it.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// The ways to the threads; jobs go round.
#[derive(Default)]
pub(super) struct IoThreads {
    queues: Vec<Mutex<Sender<Job>>>,
    next: AtomicUsize,
}

impl IoThreads {
    /// Starts one more thread by means of `spawn`.
    pub(super) fn add<E>(
        &mut self,
        spawn: impl FnOnce(Box<dyn FnOnce() + Send>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (sender, receiver) = channel();
        spawn(Box::new(move || run(&receiver)))?;
        self.queues.push(Mutex::new(sender));
        Ok(())
    }

    pub(super) fn push(&self, job: Job) {
        let index = self.next.fetch_add(1, Ordering::Relaxed) % self.queues.len().max(1);
        if let Some(queue) = self.queues.get(index) {
            // The receiver lives as long as the process.
            let _ = lock(queue).send(job);
        }
    }
}

fn run(jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        // The job's own guards have told its connection.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}
