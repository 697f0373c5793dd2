//! What the pool knows of whom it works for: one connection's work, without its kind.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Work that belongs to one worker, in turns with its other tasks.
pub(crate) trait Task: Send + Sync {
    /// Unique in the process, and not 0.
    fn id(&self) -> u64;

    /// The queue that it is in, modulo their number; always the same.
    fn queue(&self) -> usize;

    /// Whether a turn is coming.
    fn scheduled(&self) -> &AtomicBool;

    /// Works until there is nothing to do, or the task has had its share. It has waited so long for the turn.
    fn run_quantum(self: Arc<Self>, waited: Duration);

    /// Its descriptor is writable, or has failed.
    fn on_writable(&self);

    /// A thread of the pool panicked in the middle of its work: nothing of its state can be trusted.
    fn on_panic(&self);

    /// The descriptor that the poller watches.
    fn poll_fd(&self) -> BorrowedFd<'_>;

    /// Bytes that a caller was promised will be sent.
    fn unsent(&self) -> usize;

    /// Ends the task if it was closed and made no progress for too long; drops what its peer says meanwhile.
    fn expire(&self, now: Instant) -> Expiry;
}

/// What became of a task that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// Its program has it: it may take its time.
    Open,
    /// It was closed, and is to be looked at again, when it is readable or after a while.
    Lingers { hears: bool },
    /// Nothing of it waits any more.
    Ended,
}
