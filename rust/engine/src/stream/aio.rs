//! Asynchronous writes: accepted at once whatever their size, framed in order as room appears, and ended when TCP has
//! taken their last byte, or with the error of the connection.
//!
//! What waits is referenced, not copied, and stands before every later write. Whoever makes room frames it. The queue is
//! `aio_queue.rs`; how the ends reach the program is `completions.rs`.

use std::sync::Arc;

use super::aio_queue::{Framed, Waiting, When};
use super::append::{Piece, Room};
use super::state::State;
use super::{Data, Manner, Stream};
use crate::completions::Completion;
use crate::error::{Error, Result};
use crate::frames::{APPLICATION_DATA, Payload, Run};
use crate::{counters, gate};

impl Stream {
    /// Accepts all of a write without waiting; true when it has ended already, else [`Completion`] says when under
    /// this `id`, which no other write of the process has. `lead`: that many of the first bytes, or none, go in a record
    /// of their own.
    ///
    /// # Errors
    /// Whatever ended the connection or its write side; nothing was accepted then.
    pub fn aio_write(
        self: &Arc<Self>,
        id: u64,
        data: &Data<'_>,
        lead: Option<usize>,
    ) -> Result<bool> {
        self.check_process()?;
        let pass = gate::enter();
        {
            let mut state = self.lock();
            self.check_writable(&mut state)?;
            counters::AIO_WRITES.add(1);
            counters::AIO_PENDING.add(1);
            state.aio.waiting.push_back(Waiting {
                id,
                owner: data.to_owner(),
                len: data.as_slice().len(),
                position: 0,
                lead,
            });
            self.frame_waiting(&mut state, When::InCall);
        }
        drop(pass);
        self.push_along(false);
        let _pass = gate::enter();
        let mut state = self.lock();
        let aio = &mut state.aio;
        if let Some(index) = aio.ended_in_call.iter().position(|ended| *ended == id) {
            aio.ended_in_call.swap_remove(index);
            return Ok(true);
        }
        if let Some(framed) = aio.framed.iter_mut().rfind(|framed| framed.id == id) {
            framed.in_call = false;
        }
        Ok(false)
    }

    /// Takes a write back of which nothing was framed. False: too late.
    pub fn cancel_aio(self: &Arc<Self>, id: u64) -> bool {
        if self.is_stale() {
            return false;
        }
        let _pass = gate::enter();
        let mut state = self.lock();
        let waiting = &mut state.aio.waiting;
        let untouched = |write: &Waiting| write.id == id && write.position == 0;
        let Some(index) = waiting.iter().position(untouched) else {
            return false;
        };
        let cancelled = waiting.remove(index);
        counters::AIO_PENDING.sub(1);
        self.frame_waiting(&mut state, When::RoomAppeared);
        self.note_room(&state);
        self.note_change(&state);
        self.settle_locked(state);
        drop(cancelled);
        true
    }

    /// Frames what waits, unless another write is in the middle.
    pub(super) fn frame_waiting(&self, state: &mut State, when: When) {
        while !state.writing
            && state.error.is_none()
            && let Some(mut write) = state.aio.waiting.pop_front()
        {
            let left = write.len - write.position;
            let has_room = when == When::KeysChange || state.room() >= state.enough_room(left);
            if left > 0 && !has_room {
                state.refused = true;
                state.buffer.close_record();
                state.aio.waiting.push_front(write);
                break;
            }
            match self.frame_some(state, &mut write, when) {
                Ok(()) if write.position < write.len => state.aio.waiting.push_front(write),
                Ok(()) => {
                    let end = state.buffer.accepted();
                    state.aio.framed.push_back(Framed {
                        id: write.id,
                        len: write.len,
                        end,
                        in_call: when == When::InCall && state.aio.waiting.is_empty(),
                    });
                }
                Err(error) => self.end_aio(write.id, Err(error)),
            }
        }
        self.end_taken(state);
    }

    fn frame_some(&self, state: &mut State, write: &mut Waiting, when: When) -> Result<()> {
        let payload = |start| Payload::Bytes {
            owner: Arc::clone(&write.owner),
            start,
        };
        if let Some(lead) = write.lead {
            state.buffer.close_record();
            self.admit(state, lead, APPLICATION_DATA)?;
            let framing = state.buffer.frame(lead as u64, APPLICATION_DATA)?;
            state.buffer.append(Run {
                framing,
                payload: payload(0),
                len: lead as u64,
            });
            counters::BYTES.add(lead as u64);
            write.position = lead;
            write.lead = None;
        }
        let wanted = write.len - write.position;
        if wanted > 0 {
            let piece = Piece {
                wanted,
                least: 1,
                room: match when {
                    When::KeysChange => Room::Unlimited,
                    When::InCall | When::RoomAppeared => Room::AsThereIs,
                },
            };
            let payload = payload(write.position);
            write.position += self.append_to(state, piece, Manner::DATA, payload)?;
        }
        if write.position == write.len {
            // Somebody waits for its end: even inside a cork it keeps no record open.
            state.buffer.close_record();
        }
        Ok(())
    }

    /// Ends the writes whose last byte TCP has taken.
    pub(super) fn end_taken(&self, state: &mut State) {
        while let Some(write) = state.aio.framed.front()
            && write.end <= state.buffer.delivered
            && let Some(write) = state.aio.framed.pop_front()
        {
            if write.in_call {
                counters::AIO_PENDING.sub(1);
                state.aio.ended_in_call.push(write.id);
            } else {
                self.end_aio(write.id, Ok(write.len));
            }
        }
    }

    /// Ends all of them with the error of the connection.
    pub(super) fn fail_aio(&self, state: &mut State, error: &Error) {
        let framed = state.aio.framed.drain(..).map(|write| write.id);
        let waiting = state.aio.waiting.drain(..).map(|write| write.id);
        for id in framed.chain(waiting) {
            self.end_aio(id, Err(error.clone()));
        }
    }

    fn end_aio(&self, id: u64, result: Result<usize>) {
        counters::AIO_PENDING.sub(1);
        self.pool.completions.push(Completion { id, result });
    }
}
