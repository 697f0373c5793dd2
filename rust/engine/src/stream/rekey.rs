//! Changing the key: the message that announces it and the switch are one step, which no other write comes between.
//!
//! A record keeps the key that it was framed with. Who asks for a change is above; a key that has sealed as much as it
//! may is changed here, where the next one can be made.

use std::sync::Arc;

use rustix::io::Errno;

use super::aio_queue::When;
use super::state::State;
use super::{Data, Stream};
use crate::error::{Error, Result};
use crate::frames::APPLICATION_DATA;
use crate::transmit::NewKey;
use crate::{counters, gate};

/// The content type of handshake messages (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// KeyUpdate, `update_not_requested` (RFC 8446 §4.6.3).
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

impl Stream {
    /// Frames a handshake message, if it is not empty, with the key in use, and everything after it with this one.
    /// Never waits for room.
    ///
    /// # Errors
    /// ENOTCONN without a key, EINVAL for a key that was used before: nothing has changed then. What
    /// [`Stream::send`] raises.
    pub fn rekey(self: &Arc<Self>, message: &[u8], new: NewKey) -> Result<()> {
        self.check_process()?;
        let _pass = gate::enter();
        let mut state = self.lock();
        state.check()?;
        state.buffer.check_unused(&new)?;
        self.frame_waiting(&mut state, When::KeysChange);
        self.switch(&mut state, message, new)?;
        self.help_along(state);
        Ok(())
    }

    /// The same with the key after the one in use, made from its secret.
    ///
    /// # Errors
    /// As [`Stream::rekey`]; EINVAL when the secret is not known here.
    pub fn update_key(self: &Arc<Self>, message: &[u8]) -> Result<()> {
        self.check_process()?;
        let _pass = gate::enter();
        let mut state = self.lock();
        state.check()?;
        self.frame_waiting(&mut state, When::KeysChange);
        self.renew(&mut state, message)?;
        self.help_along(state);
        Ok(())
    }

    /// Cuts what is framed from now on into records of at most so many payload bytes.
    ///
    /// # Errors
    /// EBUSY while a record is open, ENOTCONN without a key, or what [`Stream::send`] raises.
    pub fn set_max_frame_len(&self, max_frame_len: usize) -> Result<()> {
        self.check_process()?;
        let _pass = gate::enter();
        let mut state = self.lock();
        state.check()?;
        if state.buffer.has_open_record() {
            let why = "a record is held open (MSG_MORE); close it with a flush before";
            return Err(Error::new(Errno::BUSY, why));
        }
        let transmit = state.buffer.transmit.as_mut().ok_or_else(no_key)?;
        transmit.layout.max_frame_len = max_frame_len;
        Ok(())
    }

    /// How many of the `len` bytes of a write may be framed now, after a change of the key if it is due.
    ///
    /// # Errors
    /// EKEYEXPIRED when the key may seal nothing more and no other can be made.
    pub(super) fn admit(&self, state: &mut State, len: usize, content_type: u8) -> Result<usize> {
        match &state.buffer.transmit {
            Some(transmit) if !transmit.may_seal(len) => self.admit_some(state, len, content_type),
            _ => Ok(len),
        }
    }

    #[cold]
    fn admit_some(&self, state: &mut State, len: usize, content_type: u8) -> Result<usize> {
        let transmit = state.buffer.transmit.as_ref().ok_or_else(no_key)?;
        let wanted = transmit.layout.record_count(len as u64);
        let left = transmit.records_left();
        if transmit.is_renewable() && (left == 0 || transmit.is_within_limit(wanted)) {
            self.renew(state, &KEY_UPDATE)?;
            return self.admit(state, len, content_type);
        }
        if content_type != APPLICATION_DATA {
            // There are numbers to spare for these.
            return Ok(len);
        }
        if left == 0 {
            return Err(transmit.used_up());
        }
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let max_frame_len = transmit.layout.max_frame_len;
        Ok(max_frame_len.saturating_mul(left).min(len))
    }

    fn renew(&self, state: &mut State, message: &[u8]) -> Result<()> {
        let transmit = state.buffer.transmit.as_ref().ok_or_else(no_key)?;
        let new = transmit.next().ok_or_else(|| {
            let why =
                "the traffic secret of this connection is not known here; rekey with the next one";
            Error::new(Errno::INVAL, why)
        })?;
        self.switch(state, message, new?)
    }

    fn switch(&self, state: &mut State, message: &[u8], new: NewKey) -> Result<()> {
        if state.buffer.transmit.is_none() {
            return Err(no_key());
        }
        state.buffer.close_record();
        if !message.is_empty() {
            let message = Data::Shared(Arc::new(message.to_vec()));
            self.put(state, &message, HANDSHAKE)?;
        }
        state.buffer.set_key(new);
        counters::REKEYS.add(1);
        Ok(())
    }
}

fn no_key() -> Error {
    Error::new(
        Errno::NOTCONN,
        "there is no key to be changed; install one first",
    )
}
