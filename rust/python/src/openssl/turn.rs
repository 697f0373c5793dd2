//! Whose turn it is: a lock that a thread holds across calls of Python, and that its own signal handlers can see.
//!
//! It is taken and given back inside one call of Rust, so that no exception leaves it taken. Who waits for it lets the
//! interpreter go.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use ktls_engine::{Error, TcpTransport};
use pyo3::prelude::*;

use crate::call::{Timeout, run};
use crate::errors::os_error;

/// See the head of this file.
pub(crate) struct Turn {
    transport: TcpTransport,
    place: Mutex<Place>,
    given_back: Condvar,
}

#[derive(Default)]
struct Place {
    holder: Option<ThreadId>,
    /// Threads asleep until it is given back: telling nobody is a system call all the same.
    waiting: usize,
}

/// The right to go on; given back when it is dropped.
pub(crate) struct Held<'a> {
    turn: &'a Turn,
    /// False in a signal handler in the middle of the turn of its own thread.
    is_holder: bool,
}

impl Turn {
    pub(crate) fn new(transport: TcpTransport) -> Self {
        Self {
            transport,
            place: Mutex::default(),
            given_back: Condvar::new(),
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
        let me = std::thread::current().id();
        let look = |place: &mut Place| match place.holder {
            _ if is_needless() => {
                // Whoever else waits may have been passed over.
                self.given_back.notify_one();
                Some(false)
            }
            None => {
                place.holder = Some(me);
                Some(true)
            }
            Some(other) => (other == me).then_some(false),
        };
        self.check_process().map_err(|error| os_error(&error))?;
        // With the interpreter held: whoever has the place locked waits for nothing.
        let at_once = look(&mut self.place());
        let is_holder = match at_once {
            Some(is_holder) => is_holder,
            None => run(py, timeout, |deadline| {
                loop {
                    self.check_process()?;
                    let mut place = self.place();
                    if let Some(is_holder) = look(&mut place) {
                        return Ok(is_holder);
                    }
                    if !deadline.is_blocking() {
                        return Err(Error::WouldBlock);
                    }
                    let nap = deadline.nap()?;
                    place.waiting += 1;
                    let (mut place, _) = self
                        .given_back
                        .wait_timeout(place, nap)
                        .unwrap_or_else(PoisonError::into_inner);
                    place.waiting -= 1;
                    drop(place);
                    deadline.check_signals()?;
                }
            })?,
        };
        Ok(Held {
            turn: self,
            is_holder,
        })
    }

    fn check_process(&self) -> Result<(), Error> {
        self.transport.check_process()
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // In a forked child the lock may be a vanished thread's.
        if self.is_holder && self.turn.check_process().is_ok() {
            let mut place = self.turn.place();
            place.holder = None;
            let is_awaited = place.waiting > 0;
            drop(place);
            if is_awaited {
                self.turn.given_back.notify_one();
            }
        }
    }
}
