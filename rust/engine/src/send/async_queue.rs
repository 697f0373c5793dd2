//! The asynchronous writes of one connection that have not ended: which wait to be framed, and where the others end.
//! Bookkeeping only; what is done with them is `async_write.rs`.

use std::collections::VecDeque;

use super::run::SharedBytes;

/// A write that is not framed, or not to its end.
pub(super) struct Waiting {
    pub(super) id: u64,
    pub(super) owner: SharedBytes,
    pub(super) len: usize,
    pub(super) position: usize,
}

/// A write that is framed: it ends when TCP has taken everything up to this position on the wire.
pub(super) struct Framed {
    pub(super) id: u64,
    pub(super) len: usize,
    pub(super) wire_end: u64,
    /// The call has not returned, and tells of the end itself.
    pub(super) in_call: bool,
}

/// The asynchronous writes of one connection, oldest first.
#[derive(Default)]
pub(super) struct AsyncQueue {
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) framed: VecDeque<Framed>,
    pub(super) ended_in_call: Vec<u64>,
}

impl AsyncQueue {
    /// Whether every write has ended.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.framed.is_empty()
    }

    /// The newest write that is not framed to its end; 0: there is none.
    pub(super) fn newest_waiting(&self) -> u64 {
        self.waiting.iter().map(|write| write.id).max().unwrap_or(0)
    }

    /// Whether a write that is no newer than this one is not framed to its end, or has not ended.
    pub(super) fn has_up_to(&self, id: u64) -> bool {
        let framed = self.framed.iter().map(|write| write.id);
        let waiting = self.waiting.iter().map(|write| write.id);
        framed.chain(waiting).any(|other| other <= id)
    }

    /// Whether everything is framed: later writes may be.
    pub(super) fn is_framed(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes that wait to be framed.
    pub(super) fn waiting_len(&self) -> usize {
        self.waiting
            .iter()
            .map(|write| write.len - write.position)
            .sum()
    }
}

/// Why waiting writes are framed now.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameReason {
    /// Inside the call that brought the last one.
    InCall,
    SpaceAppeared,
    /// Inside a signal handler in the middle of a write of its own thread, which waits for the handler.
    Nested,
    /// What was accepted before other keys keeps those of its time, space or not: it is referenced all the same.
    KeysChange,
}
