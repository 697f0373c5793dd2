//! Being inside a stream: forks are held off, and its state is locked. The order of the two cannot be wrong, and a panic
//! inside ends the connection, so that nobody waits for what the panicking thread had to do.

use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;

use super::SendStream;
use super::state::State;
use crate::error::Error;
use crate::fork_lock::ForkGuard;

/// Inside a stream, with its state. The fields are dropped in order.
pub(super) struct Entered<'a> {
    state: MutexGuard<'a, State>,
    inside: Inside<'a>,
}

/// Inside a stream, for sealing or sending, while others use its state.
pub(super) struct Inside<'a> {
    watch: PanicWatch<'a>,
    _fork: ForkGuard,
}

impl<'a> Entered<'a> {
    pub(super) fn new(stream: &'a SendStream, fork: ForkGuard) -> Self {
        Self {
            state: stream.lock(),
            inside: Inside {
                watch: PanicWatch(stream),
                _fork: fork,
            },
        }
    }

    /// Lets the state go.
    pub(super) fn release_state(self) -> Inside<'a> {
        self.inside
    }

    /// Lets forks go on: for a wait, which gives the state away.
    pub(super) fn into_state(self) -> MutexGuard<'a, State> {
        self.state
    }
}

impl<'a> Inside<'a> {
    /// Takes the state again.
    pub(super) fn lock(self) -> Entered<'a> {
        Entered {
            state: self.watch.0.lock(),
            inside: self,
        }
    }
}

impl Deref for Entered<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Entered<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

/// Fails the connection when its holder panics.
pub(super) struct PanicWatch<'a>(&'a SendStream);

impl<'a> PanicWatch<'a> {
    pub(super) fn new(stream: &'a SendStream) -> Self {
        Self(stream)
    }
}

impl Drop for PanicWatch<'_> {
    #[inline]
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail_after_panic();
        }
    }
}

impl SendStream {
    /// A thread panicked in the middle of this stream: whatever its state is, the connection ends.
    #[cold]
    pub(super) fn fail_after_panic(&self) {
        let _fork = crate::fork_lock::shared();
        if self.check_process().is_err() {
            return;
        }
        let mut state = self.lock();
        state.driver.end_send();
        state.driver.set_worker_active(false);
        self.fail(&mut state, Error::Internal("a panic"));
    }
}
