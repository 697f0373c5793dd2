//! A transport that takes what a script says, and remembers it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

use ktls_engine::Transport;
use rustix::event::EventfdFlags;
use rustix::io::Errno;

use super::lock;

/// What the transport did and will do.
pub(super) struct Wire {
    pub(super) taken: Vec<u8>,
    takes: VecDeque<u16>,
    fail_after: usize,
    pub(super) finished: bool,
    pub(super) aborted: bool,
    /// It has said ECONNRESET.
    pub(super) has_failed: bool,
}

impl Wire {
    /// `takes`: bytes, call by call, 0 is EAGAIN; then everything. `fail_after`: bytes until the peer is gone.
    pub(super) fn new(takes: &[u16], fail_after: Option<u32>) -> Self {
        Self {
            taken: Vec::new(),
            takes: takes.iter().copied().collect(),
            fail_after: fail_after.map_or(usize::MAX, |at| usize::try_from(at).unwrap_or(0)),
            finished: false,
            aborted: false,
            has_failed: false,
        }
    }
}

pub(super) struct Scripted {
    wire: Arc<Mutex<Wire>>,
    writable: OwnedFd,
}

impl Scripted {
    pub(super) fn new(wire: &Arc<Mutex<Wire>>) -> Self {
        let writable =
            rustix::event::eventfd(0, EventfdFlags::CLOEXEC).expect("a descriptor is free");
        Self {
            wire: Arc::clone(wire),
            writable,
        }
    }
}

impl Transport for Scripted {
    fn send(&self, data: &[u8], _more: bool) -> Result<usize, Errno> {
        let mut wire = lock(&self.wire);
        assert!(!wire.finished && !wire.aborted, "sent after the end");
        if wire.taken.len() >= wire.fail_after {
            wire.has_failed = true;
            return Err(Errno::CONNRESET);
        }
        let count = match wire.takes.pop_front() {
            Some(0) => return Err(Errno::AGAIN),
            Some(most) => data.len().min(usize::from(most)),
            None => data.len(),
        };
        wire.taken.extend_from_slice(&data[..count]);
        Ok(count)
    }

    fn poll_fd(&self) -> BorrowedFd<'_> {
        self.writable.as_fd()
    }

    fn shutdown_write(&self) -> Result<(), Errno> {
        lock(&self.wire).finished = true;
        Ok(())
    }

    fn abort(&self) {
        lock(&self.wire).aborted = true;
    }

    fn endpoints(&self) -> String {
        "nowhere".into()
    }
}
