//! The turn of the readers that wait for the socket. Nothing that a signal handler could need is held with it.

use crate::deadline::Deadline;
use crate::error::Result;
use crate::transport::TcpTransport;
use crate::turn::Turn;

/// The right to wait; given back when it is dropped.
pub(super) struct Held<'a> {
    turn: &'a Turn,
    transport: &'a TcpTransport,
    /// False in a signal handler in the middle of the turn of its own thread.
    is_holder: bool,
}

/// Waits for the turn, unless it is this thread's already.
///
/// # Errors
/// [`crate::Error::DeadlinePassed`], EINTR, EBADF, EPERM.
pub(super) fn take<'a>(
    turn: &'a Turn,
    transport: &'a TcpTransport,
    deadline: &mut Deadline<'_>,
) -> Result<Held<'a>> {
    let is_holder = turn.take(|| transport.check_open(), || false, deadline)?;
    Ok(Held {
        turn,
        transport,
        is_holder,
    })
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // In a forked child the lock may be a vanished thread's.
        if self.is_holder && self.transport.check_process().is_ok() {
            self.turn.give_back();
        }
    }
}
