//! Whose turn it is: a lock that a thread holds across calls of Python, and that its own signal handlers can see.
//!
//! It is taken and given back inside one call of Rust, so that no exception leaves it taken. Who waits for it lets the
//! interpreter go.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use ktls_engine::{Error, TcpTransport};
use pyo3::prelude::*;

use crate::call::{Timeout, run};

/// See the head of this file.
pub(crate) struct Turn {
    transport: TcpTransport,
    holder: Mutex<Option<ThreadId>>,
    given_back: Condvar,
}

/// The right to go on; given back when it is dropped.
pub(crate) struct Held<'a> {
    turn: &'a Turn,
    /// A signal handler runs in the middle of the turn of its own thread.
    pub(crate) is_nested: bool,
    is_holder: bool,
}

/// How a wait for the turn ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waited {
    Taken,
    Nested,
    Needless,
}

impl Turn {
    pub(crate) fn new(transport: TcpTransport) -> Self {
        Self {
            transport,
            holder: Mutex::new(None),
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
        run(py, timeout, |deadline| {
            loop {
                self.transport.check_process()?;
                let mut holder = self.holder();
                match *holder {
                    _ if is_needless() => {
                        // Whoever else waits may have been passed over.
                        self.given_back.notify_one();
                        return Ok(Waited::Needless);
                    }
                    None => {
                        *holder = Some(me);
                        return Ok(Waited::Taken);
                    }
                    Some(other) if other == me => return Ok(Waited::Nested),
                    Some(_) if !deadline.is_blocking() => return Err(Error::WouldBlock),
                    Some(_) => {
                        let nap = deadline.nap()?;
                        drop(self.given_back.wait_timeout(holder, nap));
                        deadline.check_signals()?;
                    }
                }
            }
        })
        .map(|waited| Held {
            turn: self,
            is_nested: waited == Waited::Nested,
            is_holder: waited == Waited::Taken,
        })
    }

    fn holder(&self) -> MutexGuard<'_, Option<ThreadId>> {
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // In a forked child the lock may be a vanished thread's.
        if self.is_holder && self.turn.transport.check_process().is_ok() {
            *self.turn.holder() = None;
            self.turn.given_back.notify_one();
        }
    }
}
