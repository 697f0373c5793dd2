//! Whose turn it is: a lock that a thread holds across calls of Python, and that its own signal handlers can see.
//!
//! It is taken and given back inside one call of Rust, so that no exception leaves it taken. Who waits for it lets the
//! interpreter go.

use ktls_engine::OwnerProcess;
use pyo3::prelude::*;

use crate::call::{Timeout, run};
use crate::errors::os_error;

/// See the head of this file.
pub(crate) struct Turn {
    owner: OwnerProcess,
    turn: ktls_engine::Turn,
}

/// The right to go on; given back when it is dropped.
pub(crate) struct Held<'a> {
    turn: &'a Turn,
    /// False in a signal handler in the middle of the turn of its own thread.
    is_holder: bool,
}

impl Turn {
    pub(crate) fn new(owner: OwnerProcess) -> Self {
        Self {
            owner,
            turn: ktls_engine::Turn::default(),
        }
    }

    /// Waits for the turn, unless it is this thread's already.
    pub(crate) fn take(&self, py: Python<'_>, timeout: Timeout) -> PyResult<Held<'_>> {
        self.take_unless(py, timeout, || false)
    }

    /// The same, until there is no need for it any more: then nothing is held, and the caller looks again.
    pub(crate) fn take_unless(
        &self,
        py: Python<'_>,
        timeout: Timeout,
        is_needless: impl Fn() -> bool + Send + Sync,
    ) -> PyResult<Held<'_>> {
        let check = || self.owner.check();
        check().map_err(|error| os_error(&error))?;
        // With the interpreter held: whoever looks at the turn waits for nothing.
        let is_holder = match self.turn.try_take(&is_needless) {
            Some(is_holder) => is_holder,
            None => run(py, timeout.of_turn(), |deadline| {
                self.turn.take(check, &is_needless, deadline)
            })?,
        };
        Ok(Held {
            turn: self,
            is_holder,
        })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // In a forked child the lock may be a vanished thread's.
        if self.is_holder && self.turn.owner.check().is_ok() {
            self.turn.turn.give_back();
        }
    }
}
