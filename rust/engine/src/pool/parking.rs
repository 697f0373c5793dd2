//! How a worker goes to sleep and is woken: something that is queued is never slept through.
//!
//! A worker says that it sleeps and then looks again; who queues something counts it and then looks whether the worker
//! sleeps. Between the two steps of each stands a fence, so that one of them at least sees the other. What it sleeps in
//! must keep a wake-up that comes before the sleep.
//!
//! The atomics are the module's above: `tests/interleavings.rs` runs this very file with those of a model checker.

use super::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Parking {
    queued: AtomicUsize,
    parked: AtomicBool,
}

impl Parking {
    pub(super) fn new() -> Self {
        Self {
            queued: AtomicUsize::new(0),
            parked: AtomicBool::new(false),
        }
    }

    /// Something was queued. True: the worker sleeps or is about to, and this thread has to wake it.
    pub(super) fn note_queued(&self) -> bool {
        self.queued.fetch_add(1, Ordering::Release);
        fence(Ordering::SeqCst);
        self.parked.swap(false, Ordering::AcqRel)
    }

    /// The worker took something out of the queue.
    pub(super) fn note_taken(&self) {
        self.queued.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether something is queued.
    pub(super) fn has_queued(&self) -> bool {
        self.queued.load(Ordering::Acquire) > 0
    }

    /// The worker is about to sleep. False: it must not, something was queued; [`Parking::unpark`] is owed either way.
    pub(super) fn park(&self) -> bool {
        // A swap and no store: the model checker would let a waker's swap take the place of a mere store.
        self.parked.swap(true, Ordering::AcqRel);
        fence(Ordering::SeqCst);
        !self.has_queued()
    }

    /// The worker is awake: nobody needs to wake it.
    pub(super) fn unpark(&self) {
        self.parked.store(false, Ordering::Release);
    }
}
