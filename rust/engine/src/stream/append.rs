//! Writes: how bytes come into the send buffer, and when the writer sends them itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::pump::{Role, Step};
use super::state::State;
use super::{Data, Guard, Manner, Patience, Stream};
use crate::error::{Error, Result};
use crate::frames::{Payload, Run};
use crate::seal;
use crate::send_buffer::{self, Sealed};
use crate::{counters, gate, tunables};

impl Stream {
    /// Accepts a write whole, without a system call but waking a worker; so it may be called with the interpreter held.
    /// None: the write needs [`Stream::send`], because the caller should send it, there is no room, somebody forks, or
    /// something is wrong.
    pub fn try_send(self: &Arc<Self>, data: &Data<'_>, manner: Manner) -> Option<usize> {
        self.rhythm.begin();
        if self.is_stale() {
            return None;
        }
        let len = data.as_slice().len();
        // A forking thread has shut the gate, and may need the interpreter to open it again.
        let _pass = gate::try_enter()?;
        let mut state = self.lock();
        let cared_for = state.is_cared_for() || self.scheduled.load(Ordering::Acquire);
        if !cared_for && !self.rhythm.is_stream() {
            return None;
        }
        let fit = state.connected
            && state.error.is_none()
            && !state.shut
            && state.may_append()
            && state.room() >= len;
        if !fit
            || !self
                .place(&mut state, data, manner)
                .is_ok_and(|placed| placed)
        {
            return None;
        }
        self.note_change(&state);
        let idle = !cared_for && state.buffer.has_work();
        drop(state);
        if idle {
            self.pool.schedule(self);
        }
        Some(len)
    }

    /// The caller of a write runs again: what comes next is its own time.
    pub fn note_write_end(&self) {
        self.rhythm.end();
    }

    /// Accepts bytes: all of them when it may wait, else what there is room for.
    ///
    /// # Errors
    /// EMSGSIZE when it is to go whole and can never fit; EAGAIN, ETIMEDOUT or EINTR when nothing was accepted;
    /// whatever ended the connection.
    pub fn send(
        self: &Arc<Self>,
        data: &Data<'_>,
        manner: Manner,
        patience: &mut Patience<'_>,
    ) -> Result<usize> {
        self.check_process()?;
        let len = data.as_slice().len();
        if len <= tunables::gather_max::get()
            && let Some(done) = self.send_short(data, manner)
        {
            return done.map(|()| len);
        }
        let sendspace = self.lock().space;
        if manner.whole && len > sendspace {
            return Err(Error::new(
                Errno::MSGSIZE,
                format!(
                    "{len} bytes must go as one, but kern.ipc.tls.sendspace is {sendspace}; send less or raise it"
                ),
            ));
        }
        let owner = data.to_owner();
        let _writer = self.begin_write(patience)?;
        let source = |position: usize| Payload::Bytes {
            owner: Arc::clone(&owner),
            start: position,
        };
        self.write_pieces(len, manner, source, patience)
    }

    /// Seals a short write at once behind what is ready, and sends it unless somebody else will. None: it has to queue.
    fn send_short(self: &Arc<Self>, data: &Data<'_>, manner: Manner) -> Option<Result<()>> {
        let _pass = gate::enter();
        let mut state = self.lock();
        if let Err(error) = self.check_writable(&mut state) {
            return Some(Err(error));
        }
        if !state.may_append() || state.room() < data.as_slice().len() {
            return None;
        }
        match self.place(&mut state, data, manner) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => return Some(Err(error)),
        }
        self.help_along(state);
        Some(Ok(()))
    }

    /// After something short was put into the buffer: sends it unless somebody else will.
    pub(super) fn help_along<'a>(self: &'a Arc<Self>, mut state: Guard<'a>) {
        if state.is_cared_for() {
            self.note_change(&state);
            return;
        }
        if !state.buffer.has_work() {
            return;
        }
        if self.rhythm.is_stream() && self.pool.has_workers() {
            drop(state);
            self.pool.schedule(self);
            return;
        }
        loop {
            let (guard, step) = self.step(state, Role::Caller { may_wait: false });
            state = guard;
            if step != Step::Progress || !state.buffer.has_work() {
                break;
            }
        }
        if state.buffer.has_work() || state.shut {
            self.settle_locked(state);
        }
    }

    /// Puts a whole write for which there is room into the buffer, after a change of the key where it is due. False: it
    /// has to go in pieces.
    fn place(&self, state: &mut State, data: &Data<'_>, manner: Manner) -> Result<bool> {
        let len = data.as_slice().len();
        if self.admit(state, len, manner.content_type)? < len {
            return Ok(false);
        }
        if state.buffer.has_open_record() || state.leaves_open(manner) {
            return self.place_beside(state, data.as_slice(), manner);
        }
        self.put(state, data, manner.content_type)
    }

    /// Puts a whole write into the buffer: sealed if it is short and its turn has come, else as a reference. False: it is
    /// too long to be copied and there is no owner.
    pub(super) fn put(&self, state: &mut State, data: &Data<'_>, content_type: u8) -> Result<bool> {
        let bytes = data.as_slice();
        if bytes.len() <= tunables::gather_max::get() && self.gather(state, bytes, content_type)? {
            return Ok(true);
        }
        if bytes.len() > tunables::gather_max::get() && matches!(data, Data::Borrowed(_)) {
            return Ok(false);
        }
        let framing = state.buffer.frame(bytes.len() as u64, content_type)?;
        let payload = Payload::Bytes {
            owner: data.to_owner(),
            start: 0,
        };
        counters::BYTES.add(bytes.len() as u64);
        state.buffer.append(Run {
            framing,
            payload,
            len: bytes.len() as u64,
        });
        Ok(true)
    }

    /// Seals a short write behind what is ready. False: it has to queue.
    fn gather(&self, state: &mut State, data: &[u8], content_type: u8) -> Result<bool> {
        let limit = tunables::flush_unit::get();
        if !state.buffer.may_gather(state.blocked) {
            return Ok(false);
        }
        let size = match &state.buffer.transmit {
            None => data.len(),
            Some(transmit) => transmit.wire_size(data.len()),
        };
        if state.buffer.gathering(size, limit).is_none() {
            if state.buffer.units() >= tunables::pipeline_depth::get() {
                return Ok(false);
            }
            let pages = self
                .pool
                .pages
                .take(send_buffer::wire_room(limit).max(size));
            state.buffer.push_ready(Sealed {
                pages,
                start: 0,
                end: 0,
                plain: 0,
            });
        }
        let framing = state.buffer.frame(data.len() as u64, content_type)?;
        let Some(sealed) = state.buffer.gathering(size, usize::MAX) else {
            return Ok(false);
        };
        let at = sealed.end;
        if let Err(error) = seal::seal_now(&framing, data, &mut sealed.pages[at..]) {
            self.fail(state, error);
            return state.check().map(|()| false);
        }
        sealed.end += size;
        sealed.plain += data.len();
        state.buffer.held += data.len();
        counters::BYTES.add(data.len() as u64);
        Ok(true)
    }

    /// Appends `len` bytes piece by piece as room appears, and helps them along.
    pub(super) fn write_pieces(
        self: &Arc<Self>,
        len: usize,
        manner: Manner,
        source: impl Fn(usize) -> Payload,
        patience: &mut Patience<'_>,
    ) -> Result<usize> {
        let least = if manner.whole { len } else { 1 };
        let mut accepted = 0;
        loop {
            let payload = source(accepted);
            let unhurried = patience.may_wait && patience.deadline.is_none();
            let piece = Piece {
                wanted: len - accepted,
                least,
                room: match payload {
                    // A reference to a file costs no memory, and whoever seals should not run out of it.
                    Payload::File { .. } if unhurried => {
                        Room::AtLeast(tunables::file_window::get())
                    }
                    _ => Room::AsThereIs,
                },
            };
            match self.append_piece(piece, manner, payload) {
                Ok(added) => accepted += added,
                Err(error) => {
                    self.settle();
                    // The next call says so again; this one must say what was accepted.
                    return if accepted > 0 && error.is_key_expired() {
                        Ok(accepted)
                    } else {
                        Err(error)
                    };
                }
            }
            if accepted == len || (accepted > 0 && !patience.may_wait) {
                self.push_along(patience.may_wait);
                return Ok(accepted);
            }
            let enough = self.lock().enough_room(len - accepted).max(least);
            self.let_record_go();
            if let Err(error) = self.drive(|state| state.room_now() >= enough, patience) {
                if error.is_would_block() {
                    self.refuse();
                }
                self.settle();
                let soft = error.is_timed_out() || error.is_would_block() || error.is_interrupted();
                return if accepted > 0 && soft {
                    Ok(accepted)
                } else {
                    Err(error)
                };
            }
        }
    }

    fn append_piece(&self, piece: Piece, manner: Manner, payload: Payload) -> Result<usize> {
        let _pass = gate::enter();
        let mut state = self.lock();
        state.check()?;
        self.append_to(&mut state, piece, manner, payload)
    }

    /// Appends as much of a write as there is room for.
    pub(super) fn append_to(
        &self,
        state: &mut State,
        piece: Piece,
        manner: Manner,
        payload: Payload,
    ) -> Result<usize> {
        let Piece { wanted, least, .. } = piece;
        let room = match (piece.room, state.room()) {
            (Room::Unlimited, _) => usize::MAX,
            (Room::AtLeast(window), room) if room > 0 => room.max(window),
            (_, room) => room,
        };
        let mut take = wanted.min(room);
        if take < wanted {
            state.refused = true;
        }
        if take < least.min(wanted) {
            return Ok(0);
        }
        let bytes = payload.bytes(take);
        let joined = self.join(state, bytes.unwrap_or_default(), manner)?;
        if joined > 0 {
            return Ok(joined);
        }
        let stays_open = bytes.is_some() && state.leaves_open(manner);
        if take < wanted && least <= 1 || stays_open {
            // Full records inside a write: only its last one may be short.
            let cut = take - take % state.buffer.frame_len();
            take = if cut > 0 { cut } else { take };
        }
        take = self.admit(state, take, manner.content_type)?;
        let framing = state.buffer.frame(take as u64, manner.content_type)?;
        counters::BYTES.add(take as u64);
        state.buffer.append(Run {
            framing,
            payload,
            len: take as u64,
        });
        Ok(take)
    }

    /// After a write: seals and sends what the caller should, and leaves the rest to others.
    pub(super) fn push_along(self: &Arc<Self>, may_wait: bool) {
        let _pass = gate::enter();
        let mut state = self.lock();
        let held = state.buffer.held;
        let cared_for = state.is_cared_for() || self.scheduled.load(Ordering::Acquire);
        let leave = if may_wait {
            self.rhythm.is_stream() && self.pool.has_workers()
        } else {
            held > tunables::inline_max::get()
        };
        if !leave {
            if may_wait && !cared_for && held >= tunables::handoff_min::get() {
                self.pool.schedule(self);
            }
            loop {
                let (guard, step) = self.step(state, Role::Caller { may_wait });
                state = guard;
                if step != Step::Progress {
                    break;
                }
            }
        }
        self.settle_locked(state);
    }
}

/// What is left of a write.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub(super) wanted: usize,
    /// Less than this is not worth appending.
    pub(super) least: usize,
    pub(super) room: Room,
}

/// How much of a write may be accepted at once.
#[derive(Clone, Copy)]
pub(super) enum Room {
    AsThereIs,
    /// So much, where there is any: its caller waits until it is sent.
    AtLeast(usize),
    Unlimited,
}
