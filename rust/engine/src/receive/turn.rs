//! Whose turn it is to wait for the socket. It is held across waits, and seen by the holder's own signal handlers, which
//! go in. Nothing that a handler could need is held with it.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread::ThreadId;

use crate::deadline::Deadline;
use crate::error::Result;
use crate::pool::lock;
use crate::transport::TcpTransport;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Turn {
    holder: Mutex<Option<ThreadId>>,
    given_back: Condvar,
}

/// The right to wait; given back when it is dropped.
pub(super) struct Held<'a> {
    turn: &'a Turn,
    transport: &'a TcpTransport,
    /// A signal handler runs in the middle of the turn of its own thread.
    is_nested: bool,
}

impl Turn {
    /// Waits for the turn, unless it is this thread's already.
    ///
    /// # Errors
    /// [`crate::Error::DeadlinePassed`], EINTR, EBADF, EPERM.
    pub(super) fn take<'a>(
        &'a self,
        transport: &'a TcpTransport,
        deadline: &mut Deadline<'_>,
    ) -> Result<Held<'a>> {
        let this_thread = std::thread::current().id();
        loop {
            transport.check_open()?;
            let mut holder = self.holder();
            let is_nested = *holder == Some(this_thread);
            if holder.is_none() || is_nested {
                *holder = Some(this_thread);
                return Ok(Held {
                    turn: self,
                    transport,
                    is_nested,
                });
            }
            let nap = deadline.nap()?;
            drop(self.given_back.wait_timeout(holder, nap));
            deadline.check_signals()?;
        }
    }

    /// Whether somebody waits for the socket, and will see what comes.
    pub(super) fn is_taken(&self) -> bool {
        self.holder().is_some()
    }

    fn holder(&self) -> MutexGuard<'_, Option<ThreadId>> {
        lock(&self.holder)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // In a forked child the lock may be a vanished thread's.
        if !self.is_nested && self.transport.check_process().is_ok() {
            *self.turn.holder() = None;
            self.turn.given_back.notify_one();
        }
    }
}
