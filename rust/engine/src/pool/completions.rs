//! The ends of asynchronous writes, on their way to the one thread of the program that waits for them.
//!
//! Many ends are one wake-up: a thread that is awake takes all that came meanwhile.

use std::sync::{Condvar, Mutex, PoisonError};

use super::lock;
use crate::error::Result;

/// How a write has ended.
#[derive(Debug)]
pub enum Outcome {
    /// With its bytes, all of which TCP has taken; or why the connection failed.
    Ended(Result<usize>),
    /// The program took it back.
    Cancelled,
}

/// One write has ended.
#[derive(Debug)]
pub struct Completion {
    /// What the program called it.
    pub id: u64,
    /// How.
    pub outcome: Outcome,
}

#[derive(Debug, Default)]
struct Ended {
    writes: Vec<Completion>,
    stopped: bool,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Completions {
    ended: Mutex<Ended>,
    arrived: Condvar,
}

impl Completions {
    pub(crate) fn push(&self, completion: Completion) {
        let mut ended = lock(&self.ended);
        ended.writes.push(completion);
        if ended.writes.len() == 1 {
            self.arrived.notify_one();
        }
    }

    /// Waits for one end at least, and takes all there are; none after [`Completions::stop`].
    pub(crate) fn wait(&self) -> Vec<Completion> {
        let ended = lock(&self.ended);
        let idle = |ended: &mut Ended| ended.writes.is_empty() && !ended.stopped;
        let mut ended = self
            .arrived
            .wait_while(ended, idle)
            .unwrap_or_else(PoisonError::into_inner);
        core::mem::take(&mut ended.writes)
    }

    pub(crate) fn stop(&self) {
        lock(&self.ended).stopped = true;
        self.arrived.notify_all();
    }
}
