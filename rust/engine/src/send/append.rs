//! How bytes come into the send buffer: coalesced into the last ready batch, or as a run that is sealed later.

use super::SendStream;
use super::buffer::{self, SealedBatch};
use super::data::{Data, WriteFlags};
use super::run::{Payload, RecordRun};
use super::seal;
use super::state::State;
use crate::error::Result;
use crate::tunables;

/// What is left of a write.
#[derive(Clone, Copy)]
pub(super) struct AppendRequest {
    pub(super) wanted: usize,
    /// Less than this is not worth appending.
    pub(super) least: usize,
    /// Nothing of the write has been accepted yet.
    pub(super) is_start: bool,
    pub(super) space: SpaceLimit,
}

/// How much of a write may be accepted at once.
#[derive(Clone, Copy)]
pub(super) enum SpaceLimit {
    /// What the send buffer has space for.
    Send,
    /// So much, where there is any: its caller waits until it is sent.
    AtLeast(usize),
    Unlimited,
}

impl SendStream {
    /// Puts a whole write for which there is space into the buffer, after a change of the key where it is due. False: it
    /// has to go in pieces.
    pub(super) fn try_append_whole(
        &self,
        state: &mut State,
        data: &Data<'_>,
        flags: WriteFlags,
    ) -> Result<bool> {
        let len = data.as_slice().len();
        if self.reserve_records(state, len, flags.content_type)? < len {
            return Ok(false);
        }
        if state.buffer.has_open_record() || state.leaves_open(flags) {
            return self.append_with_open_record(state, data.as_slice(), flags);
        }
        self.append_whole(state, data, flags, true)
    }

    /// Puts a whole write into the buffer: sealed if it is short and its turn has come, else as a reference. False: it is
    /// too long to be copied and there is no owner.
    pub(super) fn append_whole(
        &self,
        state: &mut State,
        data: &Data<'_>,
        flags: WriteFlags,
        is_start: bool,
    ) -> Result<bool> {
        let bytes = data.as_slice();
        let is_start = is_start && flags.may_share_record();
        let is_short = bytes.len() <= tunables::gather_max::get();
        if is_short && self.coalesce(state, bytes, flags.content_type, is_start)? {
            return Ok(true);
        }
        if !is_short && matches!(data, Data::Borrowed(_)) {
            return Ok(false);
        }
        let framing = state
            .buffer
            .frame(bytes.len() as u64, flags.content_type, is_start)?;
        state.buffer.append(RecordRun {
            framing,
            payload: Payload::Bytes {
                owner: data.to_shared(),
                start: 0,
            },
            len: bytes.len() as u64,
        });
        Ok(true)
    }

    /// Seals a short write behind what is ready. False: it has to queue.
    fn coalesce(
        &self,
        state: &mut State,
        data: &[u8],
        content_type: u8,
        is_start: bool,
    ) -> Result<bool> {
        let limit = tunables::flush_unit::get();
        if !state.buffer.may_coalesce(state.driver.is_blocked()) {
            return Ok(false);
        }
        if let Some(keys) = &state.buffer.write_state
            && keys.key.may_wait()
        {
            return Ok(false);
        }
        let size = match &state.buffer.write_state {
            None => data.len(),
            Some(keys) if is_start => keys.fragmenter.wire_size(keys.key.suite(), data.len()),
            Some(keys) => {
                let fragmenter = keys.fragmenter.without_lead();
                fragmenter.wire_size(keys.key.suite(), data.len())
            }
        };
        let needs_batch = state.buffer.last_ready(size, limit).is_none();
        if needs_batch && state.buffer.batches() >= tunables::pipeline_depth::get() {
            return Ok(false);
        }
        // A write that is refused here leaves no empty batch behind.
        let framing = state
            .buffer
            .frame(data.len() as u64, content_type, is_start)?;
        if needs_batch {
            let buffer = self.pool.buffers.take(buffer::wire_space(limit).max(size));
            state.buffer.push_ready(SealedBatch {
                buffer,
                start: 0,
                end: 0,
                plain: 0,
            });
        }
        let Some(sealed) = state.buffer.last_ready(size, usize::MAX) else {
            return Ok(false);
        };
        let at = sealed.end;
        if let Err(error) = seal::seal_now(&framing, data, &mut sealed.buffer[at..]) {
            self.fail(state, error);
            return state.check().map(|()| false);
        }
        sealed.end += size;
        sealed.plain += data.len();
        state.buffer.coalesced(data.len(), size);
        Ok(true)
    }

    /// Appends as much of a write as there is space for.
    pub(super) fn append(
        &self,
        state: &mut State,
        request: AppendRequest,
        flags: WriteFlags,
        payload: Payload,
    ) -> Result<usize> {
        let AppendRequest { wanted, least, .. } = request;
        let own = match (request.space, state.own_space()) {
            (SpaceLimit::Unlimited, _) => usize::MAX,
            (SpaceLimit::AtLeast(window), space) if space > 0 => space.max(window),
            (_, space) => space,
        };
        if own < wanted {
            state.space.note_full();
        }
        // A file is no memory before it is read, and a write that must go whole waits for its own connection alone.
        let is_bounded = matches!(request.space, SpaceLimit::Send)
            && matches!(payload, Payload::Bytes { .. })
            && !(least > 1 && state.buffer.used() == 0);
        let space = if is_bounded {
            own.min(state.process_space())
        } else {
            own
        };
        let mut take = wanted.min(space);
        if take < least.min(wanted) {
            return Ok(0);
        }
        let bytes = payload.bytes(take);
        let joined = self.join_open_record(state, bytes.unwrap_or_default(), flags)?;
        if joined > 0 {
            return Ok(joined);
        }
        let stays_open = bytes.is_some() && state.leaves_open(flags);
        if take < wanted && least <= 1 || stays_open {
            // Full records inside a write: only its last one may be short.
            let cut = take - take % state.buffer.frame_len();
            take = if cut > 0 { cut } else { take };
        }
        take = self.reserve_records(state, take, flags.content_type)?;
        let is_start = request.is_start && flags.may_share_record();
        let framing = state
            .buffer
            .frame(take as u64, flags.content_type, is_start)?;
        state.buffer.append(RecordRun {
            framing,
            payload,
            len: take as u64,
        });
        Ok(take)
    }
}
