//! The asynchronous writes of one connection that have not ended: which wait to be framed, and where the others end.
//! Bookkeeping only; what is done with them is `aio.rs`.

use std::collections::VecDeque;

use crate::frames::Owner;

/// A write that is not framed, or not to its end.
pub(super) struct Waiting {
    pub(super) id: u64,
    pub(super) owner: Owner,
    pub(super) len: usize,
    pub(super) position: usize,
    /// So many of its first bytes go in a record of their own; it may be an empty one.
    pub(super) lead: Option<usize>,
}

/// A write that is framed: it ends when so many payload bytes of the connection have been taken.
pub(super) struct Framed {
    pub(super) id: u64,
    pub(super) len: usize,
    pub(super) end: u64,
    /// The call has not returned, and tells of the end itself.
    pub(super) in_call: bool,
}

/// The asynchronous writes of one connection, oldest first.
#[derive(Default)]
pub(super) struct AioQueue {
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) framed: VecDeque<Framed>,
    pub(super) ended_in_call: Vec<u64>,
}

impl AioQueue {
    /// Whether every write has ended.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.framed.is_empty()
    }

    /// The newest write that has not ended; 0: there is none.
    pub(super) fn newest(&self) -> u64 {
        self.ids().max().unwrap_or(0)
    }

    /// Whether a write that is no newer than this one has not ended.
    pub(super) fn has_up_to(&self, id: u64) -> bool {
        self.ids().any(|other| other <= id)
    }

    fn ids(&self) -> impl Iterator<Item = u64> {
        let waiting = self.waiting.iter().map(|write| write.id);
        let framed = self.framed.iter().map(|write| write.id);
        framed.chain(waiting)
    }

    /// Whether everything is framed: later writes may be.
    pub(super) fn is_framed(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// Why what waits is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Inside the call that brought the last one.
    InCall,
    RoomAppeared,
    /// What was accepted before other keys keeps those of its time, room or not: it is referenced all the same.
    KeysChange,
}
