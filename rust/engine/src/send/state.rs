//! What a stream knows of itself, under its lock: objects that keep their own rules, and what they say together.

use std::sync::Arc;
use std::thread::ThreadId;

use ktls_record::MAX_FRAME_LEN;

use super::async_queue::AsyncQueue;
use super::buffer::SendBuffer;
use super::data::WriteFlags;
use super::driver::Driver;
use super::lifecycle::Lifecycle;
use super::space::Space;
use crate::error::Result;
use crate::ledger::Ledger;
use crate::poll_fd::PollFd;
use crate::pool::Memory;
use crate::traffic::Traffic;
use crate::tunables;

/// The state of one connection's send side.
pub(super) struct State {
    pub(super) life: Lifecycle,
    pub(super) driver: Driver,
    pub(super) buffer: SendBuffer,
    pub(super) space: Space,
    pub(super) async_writes: AsyncQueue,
    pub(super) ledger: Ledger,
    /// The thread that is in the middle of a write of several pieces.
    pub(super) writer: Option<ThreadId>,
    /// How many want every write to leave its last record open.
    pub(super) corked: usize,
    /// What selectors wait on, once they asked for it.
    pub(super) poll_fd: Option<Arc<PollFd>>,
    /// The program has asked for a peer: the socket's hang-ups are news from then on.
    pub(super) connect_begun: bool,
    /// Where on the wire the last answer to a KeyUpdate ends.
    pub(super) answer_end: u64,
    /// Callers asleep until something changes.
    pub(super) waiting: usize,
}

impl State {
    /// Nothing is held; `connected`: the transport has a peer.
    pub(super) fn new(connected: bool, memory: Arc<Memory>) -> Self {
        Self {
            life: Lifecycle::new(connected),
            driver: Driver::default(),
            buffer: SendBuffer::new(memory),
            space: Space::new(),
            async_writes: AsyncQueue::default(),
            ledger: Ledger::default(),
            writer: None,
            corked: 0,
            poll_fd: None,
            connect_begun: connected,
            answer_end: 0,
            waiting: 0,
        }
    }

    /// Payload bytes that can be accepted now.
    pub(super) fn space(&mut self) -> usize {
        self.own_space().min(self.process_space())
    }

    /// The same, whatever the other connections of the process hold.
    pub(super) fn own_space(&mut self) -> usize {
        self.space.grow_and_get(self.buffer.used())
    }

    /// Payload bytes that the process has room for: a record at least, for a connection that holds nothing.
    pub(super) fn process_space(&self) -> usize {
        match self.buffer.process_room() {
            0 if self.buffer.used() == 0 => MAX_FRAME_LEN,
            room => room,
        }
    }

    /// Whether a writer that waits may go on: there are so many bytes of its own space, and the process has room. A write
    /// that must go whole waits for no other connection.
    pub(super) fn has_space(&self, enough: usize, least: usize) -> bool {
        let used = self.buffer.used();
        self.space.get(used) >= enough && (used == 0 || self.process_space() >= least)
    }

    /// Whether a program that waits for space is to be woken.
    pub(super) fn is_writable(&self) -> bool {
        self.has_wakeup_space() && self.async_writes.is_framed()
    }

    /// Whether less is held than what lets a waiting writer go on, and the process has room.
    pub(super) fn has_wakeup_space(&self) -> bool {
        self.buffer.used() <= tunables::sendlowat::get() && self.process_space() > 0
    }

    /// Whether the next write may be framed: no other is in the middle, and none waits before it. A signal handler that
    /// runs in the middle of a write of its own thread may: nobody else could end that write.
    pub(super) fn may_append(&self) -> bool {
        self.async_writes.is_framed() && (self.writer.is_none() || self.is_written_by_me())
    }

    /// Whether this thread is in the middle of a write: then a signal handler runs in it.
    pub(super) fn is_written_by_me(&self) -> bool {
        self.writer == Some(std::thread::current().id())
    }

    /// Whether a write leaves its last record open.
    pub(super) fn leaves_open(&self, flags: WriteFlags) -> bool {
        flags.may_share_record() && (flags.more || self.corked > 0)
    }

    /// What was sent under the keys.
    pub(super) fn traffic(&self) -> Traffic {
        Traffic {
            errors: u64::from(self.life.has_failed()),
            ..self.buffer.traffic()
        }
    }

    /// Raises what keeps a write from being accepted.
    pub(super) fn check(&mut self) -> Result<()> {
        self.life.check()
    }
}
