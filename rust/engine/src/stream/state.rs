//! What a stream knows of itself, under its lock.

use rustix::io::Errno;

use super::Manner;
use super::aio_queue::AioQueue;
use crate::error::{Error, Result};
use crate::send_buffer::SendBuffer;
use crate::tunables;

/// The state of one connection's send side.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own; together they are no state machine"
)]
pub(super) struct State {
    pub(super) buffer: SendBuffer,
    pub(super) aio: AioQueue,
    /// Payload bytes that may be held; grows while the connection runs dry, up to `kern.ipc.tls.sendspace_max`.
    pub(super) space: usize,
    /// A writer was made to wait, so that an empty buffer afterwards means that it was too small.
    pub(super) refused: bool,
    /// Somebody is in the middle of a write of several pieces.
    pub(super) writing: bool,
    /// How many want every write to leave its last record open.
    pub(super) corked: usize,
    pub(super) sending: bool,
    /// A thread has a unit ready and waits for its turn to send it.
    pub(super) send_wanted: bool,
    /// A worker stays with this stream: what is appended is seen.
    pub(super) attended: bool,
    /// TCP took nothing at the last try.
    pub(super) blocked: bool,
    /// The poller will tell when the socket is writable.
    pub(super) armed: bool,
    /// Callers inside poll(2) on the socket, who will go on by themselves.
    pub(super) polling: usize,
    /// Callers asleep until something changes.
    pub(super) waiting: usize,
    /// The transport has had a peer.
    pub(super) connected: bool,
    pub(super) shut: bool,
    pub(super) closed: bool,
    pub(super) finished: bool,
    pub(super) error: Option<Error>,
    error_raised: bool,
}

impl State {
    /// Nothing is held; `connected`: the transport has a peer.
    pub(super) fn new(connected: bool) -> Self {
        Self {
            buffer: SendBuffer::default(),
            aio: AioQueue::default(),
            space: tunables::sendspace::get(),
            refused: false,
            writing: false,
            corked: 0,
            sending: false,
            send_wanted: false,
            attended: false,
            blocked: false,
            armed: false,
            polling: 0,
            waiting: 0,
            connected,
            shut: false,
            closed: false,
            finished: false,
            error: None,
            error_raised: false,
        }
    }

    /// Raises an error found since the last call, once; afterwards EPIPE.
    pub(super) fn check(&mut self) -> Result<()> {
        if self.closed {
            return Err(Error::closed());
        }
        if let Some(error) = &self.error {
            if self.error_raised {
                let again = format!("the connection has failed already: {error}");
                return Err(Error::new(Errno::PIPE, again));
            }
            self.error_raised = true;
            return Err(error.clone());
        }
        if self.shut {
            Err(Error::shut_down())
        } else {
            Ok(())
        }
    }

    /// Takes the error as known to the program, which caused it.
    pub(super) fn mark_raised(&mut self) {
        self.error_raised = true;
    }

    /// Payload bytes that can be accepted now.
    pub(super) fn room(&mut self) -> usize {
        if self.refused && self.buffer.held == 0 {
            // The connection ran dry while its writer was away: as with TCP's own buffer, more may lie ready.
            let most = tunables::sendspace_max::get().max(self.space);
            self.space = self.space.saturating_mul(2).min(most);
            self.refused = false;
        }
        self.room_now()
    }

    /// [`State::room`] as it is, for looking only.
    pub(super) fn room_now(&self) -> usize {
        self.space.saturating_sub(self.buffer.held)
    }

    /// Room that is worth waking a writer for, which has `left` bytes more.
    pub(super) fn enough_room(&self, left: usize) -> usize {
        left.min(self.space.saturating_sub(tunables::sendlowat::get()).max(1))
    }

    /// Whether the next write may be framed: no other is in the middle, and none waits before it.
    pub(super) fn may_append(&self) -> bool {
        !self.writing && self.aio.is_framed()
    }

    /// Whether a write leaves its last record open.
    pub(super) fn leaves_open(&self, manner: Manner) -> bool {
        manner.may_join() && (manner.more || self.corked > 0)
    }

    /// Whether what lies ready will be sent without the one who put it there.
    pub(super) fn is_cared_for(&self) -> bool {
        self.sending || self.attended || (self.blocked && (self.armed || self.polling > 0))
    }
}
