//! One worker: a thread with a queue of tasks that have a turn coming, and a poller for their sockets.
//!
//! It sleeps in the poller, so that a full socket which drained and a turn that was queued wake it alike; before it
//! sleeps it looks again for a while. That nothing queued is slept through is `parking.rs`.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::io::Errno;

use super::parking::Parking;
use super::poller::Poller;
use super::task::Task;
use super::{Pool, lock};
use crate::counters;
use crate::sys::Event;

pub(super) struct Worker {
    /// With the time from which each waits.
    turns: Mutex<VecDeque<(Arc<dyn Task>, Instant)>>,
    parking: Parking,
    ended: AtomicBool,
    pub(super) poller: Poller,
}

impl Worker {
    pub(super) fn new() -> Result<Self, Errno> {
        Ok(Self {
            turns: Mutex::default(),
            parking: Parking::new(),
            ended: AtomicBool::new(false),
            poller: Poller::new()?,
        })
    }

    pub(super) fn push(&self, task: Arc<dyn Task>) {
        counters::TX_INQUEUE.add(1);
        let now = Instant::now();
        lock(&self.turns).push_back((task, now));
        if self.parking.note_queued() {
            self.poller.wake();
        }
    }

    fn pop(&self) -> Option<(Arc<dyn Task>, Instant)> {
        if !self.parking.has_queued() {
            return None;
        }
        let turn = lock(&self.turns).pop_front()?;
        self.parking.note_taken();
        counters::TX_INQUEUE.sub(1);
        Some(turn)
    }

    /// The thread ends after what it is at.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.poller.wake();
    }

    pub(super) fn run(&self, pool: &Pool) {
        let mut events = Vec::new();
        while !self.ended.load(Ordering::Acquire) {
            let mut turns = 0;
            while let Some((task, since)) = self.pop() {
                guarded(&task, |task| Arc::clone(task).run_quantum(since.elapsed()));
                turns += 1;
                // A socket that drained must not wait behind tasks that always have more.
                if turns % 4 == 0 {
                    self.poll(&mut events, false);
                }
            }
            self.poll(&mut events, false);
            if pool.spin_until(|| self.parking.has_queued()) {
                continue;
            }
            if self.parking.park() && !self.ended.load(Ordering::Acquire) {
                self.poll(&mut events, true);
            }
            self.parking.unpark();
        }
    }

    /// What is queued when the worker has ended.
    pub(super) fn leftover(&self) -> Vec<Arc<dyn Task>> {
        core::iter::from_fn(|| self.pop())
            .map(|(task, _)| task)
            .collect()
    }

    fn poll(&self, events: &mut Vec<Event>, sleep: bool) {
        let ready = self.poller.poll(events, sleep);
        self.parking.unpark();
        for task in ready {
            if !task.scheduled().swap(true, Ordering::AcqRel) {
                self.push(task);
            }
        }
    }
}

/// Does something of a task; a panic there ends the task, not the thread.
pub(super) fn guarded(task: &Arc<dyn Task>, work: impl FnOnce(&Arc<dyn Task>)) {
    if catch_unwind(AssertUnwindSafe(|| work(task))).is_err() {
        task.on_panic();
    }
}
