//! How much a connection may hold (upstream's `sbspace`), and whether its program is told that there is space again.

use crate::tunables;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Space {
    /// Bytes that may be held; grows while the connection runs dry, up to `kern.ipc.tls.sendspace_max`.
    limit: usize,
    /// A writer was made to wait, so that an empty buffer afterwards means that it was too small.
    writer_was_full: bool,
}

impl Space {
    pub(super) fn new() -> Self {
        Self {
            limit: tunables::sendspace::get(),
            writer_was_full: false,
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// A write found less space than it has bytes.
    pub(super) fn note_full(&mut self) {
        self.writer_was_full = true;
    }

    /// Payload bytes that can be accepted now, where so many are used.
    pub(super) fn grow_and_get(&mut self, used: usize) -> usize {
        if self.writer_was_full && used == 0 {
            // The connection ran dry while its writer was away: as with TCP's own buffer, more may lie ready.
            let most = tunables::sendspace_max::get().max(self.limit);
            self.limit = self.limit.saturating_mul(2).min(most);
            self.writer_was_full = false;
        }
        self.get(used)
    }

    /// The same, for looking only.
    pub(super) fn get(&self, used: usize) -> usize {
        self.limit.saturating_sub(used)
    }

    /// Space that is worth waking a writer for, which has `left` bytes more.
    pub(super) fn wakeup(&self, left: usize) -> usize {
        left.min(self.limit.saturating_sub(tunables::sendlowat::get()).max(1))
    }
}
