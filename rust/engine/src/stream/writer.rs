//! The right to append: a write of several pieces has it from its first to its last, so that no other comes between.

use std::sync::Arc;

use super::aio_queue::When;
use super::{Patience, Stream};
use crate::error::{Error, Result};
use crate::gate;

impl Stream {
    /// Waits for the right to append, which one write of several pieces holds from its first to its last.
    pub(super) fn begin_write(self: &Arc<Self>, patience: &mut Patience<'_>) -> Result<Writer> {
        loop {
            {
                let _pass = gate::enter();
                let mut state = self.lock();
                self.check_writable(&mut state)?;
                if state.may_append() {
                    state.writing = true;
                    return Ok(Writer(Arc::clone(self)));
                }
            }
            if !patience.may_wait {
                self.refuse();
                return Err(Error::would_block());
            }
            self.wait_for_change(|state| !state.may_append(), patience)?;
        }
    }

    /// Marks the poll descriptor as not writable, since a write was just refused.
    pub(super) fn refuse(&self) {
        let _pass = gate::enter();
        let mut state = self.lock();
        if (state.room() == 0 || !state.aio.is_framed())
            && let Some(readiness) = self.readiness().as_ref()
        {
            readiness.set_writable(false);
        }
    }
}

/// The right to append; given back when the write ends.
pub(super) struct Writer(Arc<Stream>);

impl Drop for Writer {
    fn drop(&mut self) {
        let _pass = gate::enter();
        let mut state = self.0.lock();
        state.writing = false;
        self.0.note_change(&state);
        if !state.aio.is_framed() {
            self.0.frame_waiting(&mut state, When::RoomAppeared);
            self.0.settle_locked(state);
        }
    }
}
