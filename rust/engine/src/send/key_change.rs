//! Changing the key: the message that announces it and the switch are one step, which no other write comes between.
//!
//! A record keeps the key that it was framed with. Who asks for a change is above; a key that has sealed as much as it
//! may is changed here, where the next one can be made.

use std::sync::Arc;

use super::SendStream;
use super::async_queue::FrameReason;
use super::data::{Data, WriteFlags};
use super::run::APPLICATION_DATA;
use super::state::State;
use super::write_state::NewWriteState;
use crate::counters;
use crate::error::{Error, Result};

/// A handshake message, in records of its own (RFC 8446 §5.1).
const HANDSHAKE: WriteFlags = WriteFlags {
    content_type: 22,
    atomic: true,
    more: false,
};

/// What announces a change of the write key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUpdate {
    /// Nothing: the program has told the peer.
    Silent,
    /// KeyUpdate, `update_not_requested` (RFC 8446 §4.6.3).
    NotRequested,
    /// KeyUpdate, `update_requested`: the peer is asked to change its own key, too.
    Requested,
}

impl KeyUpdate {
    fn message(self) -> Option<[u8; 5]> {
        match self {
            Self::Silent => None,
            Self::NotRequested => Some([24, 0, 0, 1, 0]),
            Self::Requested => Some([24, 0, 0, 1, 1]),
        }
    }
}

impl SendStream {
    /// Announces a change with the key in use, and frames everything after it with this one. Never waits for space.
    ///
    /// # Errors
    /// ENOTCONN without a key, EINVAL for a key that was used before: nothing has changed then. What
    /// [`SendStream::send`] raises.
    pub fn rekey(self: &Arc<Self>, announced: KeyUpdate, new: NewWriteState) -> Result<()> {
        let mut state = self.enter()?;
        state.check()?;
        state.ledger.check(new.fingerprint)?;
        self.frame_waiting(&mut state, FrameReason::KeysChange);
        let changed = self.change_key(&mut state, announced, new);
        self.flush_inline(state);
        changed
    }

    /// The same with the key after the one in use, made from its secret.
    ///
    /// # Errors
    /// As [`SendStream::rekey`]; EINVAL when the secret is not known here.
    pub fn update_key(self: &Arc<Self>, announced: KeyUpdate) -> Result<()> {
        let mut state = self.enter()?;
        state.check()?;
        self.frame_waiting(&mut state, FrameReason::KeysChange);
        let renewed = self.renew(&mut state, announced);
        self.flush_inline(state);
        renewed
    }

    /// Answers a KeyUpdate of the peer, unless an answer is still on its way, or nothing can be said any more.
    pub(super) fn answer_key_update(self: &Arc<Self>) -> Result<()> {
        let mut state = self.enter()?;
        let is_owed = state.buffer.wire_sent() < state.answer_end;
        if is_owed || !state.life.is_open() {
            return Ok(());
        }
        self.frame_waiting(&mut state, FrameReason::KeysChange);
        self.renew(&mut state, KeyUpdate::NotRequested)?;
        state.answer_end = state.buffer.wire_framed();
        self.flush_inline(state);
        Ok(())
    }

    /// Cuts what is framed from now on into records of at most so many payload bytes.
    ///
    /// # Errors
    /// EBUSY while a record is open, ENOTCONN without a key, or what [`SendStream::send`] raises.
    pub fn set_max_frame_len(&self, max_frame_len: usize) -> Result<()> {
        let mut state = self.enter()?;
        state.check()?;
        if state.buffer.has_open_record() {
            return Err(Error::RecordOpen);
        }
        let keys = state.buffer.write_state.as_mut().ok_or(Error::NoKey)?;
        keys.fragmenter.max_frame_len = max_frame_len;
        Ok(())
    }

    /// How many of the `len` bytes of a write may be framed now, after a change of the key if it is due.
    ///
    /// # Errors
    /// EKEYEXPIRED when the key may seal nothing more and no other can be made.
    pub(super) fn reserve_records(
        &self,
        state: &mut State,
        len: usize,
        content_type: u8,
    ) -> Result<usize> {
        match &state.buffer.write_state {
            Some(keys) if !keys.may_seal(len) => self.reserve_some(state, len, content_type),
            _ => Ok(len),
        }
    }

    #[cold]
    fn reserve_some(&self, state: &mut State, len: usize, content_type: u8) -> Result<usize> {
        let keys = state.buffer.write_state.as_ref().ok_or(Error::NoKey)?;
        let wanted = keys.fragmenter.record_count(len as u64);
        let left = keys.records_left();
        if keys.is_renewable() && (left == 0 || keys.is_within_limit(wanted)) {
            self.renew(state, KeyUpdate::NotRequested)?;
            return self.reserve_records(state, len, content_type);
        }
        if content_type != APPLICATION_DATA {
            // There are numbers in reserve for these.
            return Ok(len);
        }
        let first = keys.fragmenter.lead_len(len).map_or(0, |_| 1);
        if left <= first {
            return Err(keys.used_up());
        }
        let left = usize::try_from(left - first).unwrap_or(usize::MAX);
        let max_frame_len = keys.fragmenter.max_frame_len;
        Ok(max_frame_len.saturating_mul(left).min(len))
    }

    fn renew(&self, state: &mut State, announced: KeyUpdate) -> Result<()> {
        let keys = state.buffer.write_state.as_ref().ok_or(Error::NoKey)?;
        let new = keys.next().ok_or(Error::NoSecret)??;
        state.ledger.check(new.fingerprint)?;
        self.change_key(state, announced, new)
    }

    fn change_key(
        &self,
        state: &mut State,
        announced: KeyUpdate,
        new: NewWriteState,
    ) -> Result<()> {
        if state.buffer.write_state.is_none() {
            return Err(Error::NoKey);
        }
        state.buffer.close_open_record();
        if let Some(message) = announced.message() {
            let message = Data::Shared(Arc::new(message.to_vec()));
            self.append_whole(state, &message, HANDSHAKE, false)?;
        }
        state.ledger.enter(new.fingerprint);
        state.buffer.set_write_state(new);
        counters::REKEYS.add(1);
        Ok(())
    }
}
