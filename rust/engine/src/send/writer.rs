//! The right to append: a write of several pieces has it from its first to its last, so that no other comes between.

use std::sync::Arc;

use super::SendStream;
use super::async_queue::FrameReason;
use super::state::State;
use crate::deadline::Deadline;
use crate::error::{Error, Result};

impl SendStream {
    /// Waits for the right to append, which one write of several pieces holds from its first to its last.
    pub(super) fn begin_write(self: &Arc<Self>, deadline: &mut Deadline<'_>) -> Result<Writer> {
        loop {
            {
                let mut state = self.enter()?;
                self.check_writable(&mut state)?;
                if state.may_append() {
                    let is_nested = state.writer.is_some();
                    state.writer = Some(std::thread::current().id());
                    return Ok(Writer {
                        stream: Arc::clone(self),
                        is_nested,
                    });
                }
                if !deadline.is_blocking() {
                    self.mark_unwritable(&state);
                    return Err(Error::WouldBlock);
                }
                if state.is_written_by_me() {
                    // Asynchronous writes of the handler wait before this one, and the write that it interrupted cannot
                    // end before the handler does.
                    self.frame_waiting(&mut state, FrameReason::Nested);
                    if state.may_append() {
                        continue;
                    }
                }
            }
            let can_go_on = |state: &State| {
                state.may_append() || (state.is_written_by_me() && state.has_wakeup_space())
            };
            self.drive_until(can_go_on, State::check, deadline)?;
        }
    }
}

/// The right to append; given back when the write ends.
pub(super) struct Writer {
    stream: Arc<SendStream>,
    /// A signal handler writes in the middle of a write of its own thread.
    is_nested: bool,
}

impl Drop for Writer {
    fn drop(&mut self) {
        let Ok(mut state) = self.stream.enter() else {
            return;
        };
        if self.is_nested {
            return;
        }
        state.writer = None;
        self.stream.note_change(&state);
        if state.async_writes.is_framed() {
            self.stream.note_space(&state);
        } else {
            self.stream
                .frame_waiting(&mut state, FrameReason::SpaceAppeared);
            self.stream.settle_entered(state);
        }
    }
}
