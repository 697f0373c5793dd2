//! Asynchronous writes: accepted at once whatever their size, framed in order as space appears, and ended when TCP has
//! taken their last byte, or with the error of the connection.
//!
//! What waits is referenced, not copied, and stands before every later write. Whoever makes space frames it. The queue is
//! `async_queue.rs`; how the ends reach the program is `pool/completions.rs`.

use std::sync::Arc;

use super::SendStream;
use super::append::{AppendRequest, SpaceLimit};
use super::async_queue::{FrameReason, Framed, Waiting};
use super::data::{Data, WriteFlags};
use super::run::Payload;
use super::state::State;
use crate::counters;
use crate::error::{Error, Result};
use crate::pool::{Completion, Outcome};

impl SendStream {
    /// Accepts all of a write without waiting; true when it has ended already, else a completion says when under
    /// this `id`, which no other write of the process has.
    ///
    /// # Errors
    /// Whatever ended the connection or its write side; nothing was accepted then.
    pub fn async_write(self: &Arc<Self>, id: u64, data: &Data<'_>) -> Result<bool> {
        {
            let mut state = self.enter()?;
            self.check_writable(&mut state)?;
            counters::AIO_WRITES.add(1);
            counters::AIO_PENDING.add(1);
            state.async_writes.waiting.push_back(Waiting {
                id,
                owner: data.to_shared(),
                len: data.as_slice().len(),
                position: 0,
            });
            self.frame_waiting(&mut state, FrameReason::InCall);
        }
        self.flush_after_write(false, false);
        let mut state = self.enter()?;
        let writes = &mut state.async_writes;
        if let Some(index) = writes.ended_in_call.iter().position(|ended| *ended == id) {
            writes.ended_in_call.swap_remove(index);
            return Ok(true);
        }
        if let Some(framed) = writes.framed.iter_mut().rfind(|framed| framed.id == id) {
            framed.in_call = false;
        }
        Ok(false)
    }

    /// Takes a write back of which nothing was framed; its completion says that it was. False: too late.
    pub fn cancel_async_write(self: &Arc<Self>, id: u64) -> bool {
        let Ok(mut state) = self.enter() else {
            return false;
        };
        let waiting = &mut state.async_writes.waiting;
        let untouched = |write: &Waiting| write.id == id && write.position == 0;
        let Some(index) = waiting.iter().position(untouched) else {
            return false;
        };
        let cancelled = waiting.remove(index);
        self.end_async_write(id, Outcome::Cancelled);
        self.frame_waiting(&mut state, FrameReason::SpaceAppeared);
        self.note_space(&state);
        self.note_change(&state);
        self.settle_entered(state);
        drop(cancelled);
        true
    }

    /// Frames what waits, unless another write is in the middle.
    pub(super) fn frame_waiting(&self, state: &mut State, reason: FrameReason) {
        let is_nested = reason == FrameReason::Nested;
        while !state.life.has_failed()
            && !state.async_writes.waiting.is_empty()
            && (state.writer.is_none() || is_nested)
            && let Some(mut write) = state.async_writes.waiting.pop_front()
        {
            let left = write.len - write.position;
            let is_full = state.own_space() < state.space.wakeup(left);
            let has_space = reason == FrameReason::KeysChange
                || left == 0
                || !is_full && state.process_space() > 0;
            if !has_space {
                if is_full {
                    state.space.note_full();
                }
                state.buffer.close_open_record();
                state.async_writes.waiting.push_front(write);
                break;
            }
            match self.frame_some(state, &mut write, reason) {
                Ok(()) if write.position < write.len => {
                    state.async_writes.waiting.push_front(write);
                }
                Ok(()) => {
                    let is_last = state.async_writes.waiting.is_empty();
                    state.async_writes.framed.push_back(Framed {
                        id: write.id,
                        len: write.len,
                        wire_end: state.buffer.wire_framed(),
                        in_call: reason == FrameReason::InCall && is_last,
                    });
                }
                Err(error) => self.end_async_write(write.id, Outcome::Ended(Err(error))),
            }
        }
        self.end_sent_writes(state);
    }

    fn frame_some(
        &self,
        state: &mut State,
        write: &mut Waiting,
        reason: FrameReason,
    ) -> Result<()> {
        if write.len > 0 {
            let request = AppendRequest {
                wanted: write.len - write.position,
                least: 1,
                is_start: write.position == 0,
                space: match reason {
                    FrameReason::KeysChange => SpaceLimit::Unlimited,
                    FrameReason::InCall | FrameReason::SpaceAppeared | FrameReason::Nested => {
                        SpaceLimit::Send
                    }
                },
            };
            let payload = Payload::Bytes {
                owner: Arc::clone(&write.owner),
                start: write.position,
            };
            write.position += self.append(state, request, WriteFlags::DATA, payload)?;
        }
        if write.position == write.len {
            // A caller waits for its end: even inside a cork it keeps no record open.
            state.buffer.close_open_record();
        }
        Ok(())
    }

    /// Ends the writes whose last byte TCP has taken.
    fn end_sent_writes(&self, state: &mut State) {
        while let Some(write) = state.async_writes.framed.front()
            && write.wire_end <= state.buffer.wire_sent()
            && let Some(write) = state.async_writes.framed.pop_front()
        {
            if write.in_call {
                counters::AIO_PENDING.sub(1);
                state.async_writes.ended_in_call.push(write.id);
            } else {
                self.end_async_write(write.id, Outcome::Ended(Ok(write.len)));
            }
        }
    }

    /// Ends all of them with the error of the connection.
    pub(super) fn fail_async_writes(&self, state: &mut State, error: &Error) {
        let framed = state.async_writes.framed.drain(..).map(|write| write.id);
        let waiting = state.async_writes.waiting.drain(..).map(|write| write.id);
        for id in framed.chain(waiting) {
            self.end_async_write(id, Outcome::Ended(Err(error.clone())));
        }
    }

    fn end_async_write(&self, id: u64, outcome: Outcome) {
        if id == 0 {
            // Records that only kept the order: no caller waits for them.
            return;
        }
        counters::AIO_PENDING.sub(1);
        self.pool.completions.push(Completion { id, outcome });
    }
}
