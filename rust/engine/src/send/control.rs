//! What the TLS library says beside the program's data: its own records before the keys are ours, alerts and handshake
//! messages after that. Nothing of it waits for space, since the peer may wait for it; and close_notify ends the data.

use std::sync::{Arc, Weak};

use ktls_record::{alert, content_type};

use super::SendStream;
use super::append::{AppendRequest, SpaceLimit};
use super::async_queue::{FrameReason, Waiting};
use super::data::{Data, WriteFlags};
use super::entered::Entered;
use super::run::Payload;
use super::state::State;
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::replies::Replies;

/// Whether data may follow a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterMessage {
    /// It may.
    Data,
    /// It may not: close_notify or an error alert (RFC 8446 §6).
    Nothing,
}

impl SendStream {
    /// Frames a message behind everything accepted so far, asynchronous writes included.
    ///
    /// # Errors
    /// EBADF, EPIPE, or whatever ended the connection.
    pub fn send_message(
        self: &Arc<Self>,
        content_type: u8,
        payload: Vec<u8>,
        after: AfterMessage,
    ) -> Result<()> {
        let mut state = self.enter()?;
        state.life.check_message()?;
        self.frame_message(state, content_type, payload, after)
    }

    /// Says that no data follows, unless that was said.
    ///
    /// # Errors
    /// As [`SendStream::send_message`].
    pub fn send_close_notify(self: &Arc<Self>) -> Result<()> {
        let mut state = self.enter()?;
        match state.life.check() {
            Err(Error::DataEnded | Error::PeerAlert(_)) => return Ok(()),
            checked => checked?,
        }
        let close_notify = vec![alert::WARNING, alert::CLOSE_NOTIFY];
        self.frame_message(
            state,
            content_type::ALERT,
            close_notify,
            AfterMessage::Nothing,
        )
    }

    fn frame_message(
        self: &Arc<Self>,
        mut state: Entered<'_>,
        content_type: u8,
        payload: Vec<u8>,
        after: AfterMessage,
    ) -> Result<()> {
        self.frame_waiting(&mut state, FrameReason::KeysChange);
        state.buffer.close_open_record();
        let flags = WriteFlags {
            content_type,
            atomic: true,
            more: false,
        };
        let len = payload.len();
        let payload = Data::Shared(Arc::new(payload));
        let said = self
            .reserve_records(&mut state, len, content_type)
            .and_then(|_| self.append_whole(&mut state, &payload, flags, false));
        if said.is_ok() && after == AfterMessage::Nothing {
            self.end_data(&mut state);
        }
        self.flush_inline(state);
        said.map(|_| ())
    }

    /// Whether messages and records can still leave, as far as is known.
    ///
    /// # Errors
    /// As [`SendStream::send_message`].
    pub fn check_messages(&self) -> Result<()> {
        self.enter()?.life.check_message()
    }

    /// Sends records that the TLS library has sealed, as they are, behind everything accepted so far. Without keys only.
    ///
    /// # Errors
    /// As [`SendStream::send_message`].
    pub fn send_records(self: &Arc<Self>, records: Vec<u8>) -> Result<()> {
        let mut state = self.enter()?;
        self.check_connected(&mut state)?;
        state.life.check_message()?;
        if state.may_append() {
            let request = AppendRequest {
                wanted: records.len(),
                least: 1,
                is_start: false,
                space: SpaceLimit::Unlimited,
            };
            let payload = Payload::Bytes {
                owner: Arc::new(records),
                start: 0,
            };
            self.append(&mut state, request, WriteFlags::DATA, payload)?;
        } else {
            state.async_writes.waiting.push_back(Waiting {
                id: 0,
                len: records.len(),
                owner: Arc::new(records),
                position: 0,
            });
        }
        self.flush_inline(state);
        Ok(())
    }

    /// Waits until there is space for some data; does nothing to it.
    ///
    /// # Errors
    /// As [`SendStream::send`].
    pub fn wait_for_any_space(self: &Arc<Self>, deadline: &mut Deadline<'_>) -> Result<()> {
        let has_space = |state: &State| state.may_append() && state.has_space(1, 1);
        {
            let mut state = self.enter()?;
            self.check_writable(&mut state)?;
            let own = state.own_space();
            if has_space(&state) {
                return Ok(());
            }
            if own == 0 {
                state.space.note_full();
            }
        }
        let waited = self.drive_until(has_space, State::check, deadline);
        self.settle();
        waited
    }
}

/// A stream that has ended says nothing, and its cause is left to the next write.
impl Replies for Weak<SendStream> {
    fn update_key(&self) {
        if let Some(stream) = self.upgrade() {
            let _ = stream.answer_key_update();
        }
    }

    fn send_alert(&self, level: u8, description: u8) {
        if let Some(stream) = self.upgrade() {
            let _ = stream.answer_with_alert(level, description);
        }
    }

    fn end_data(&self, description: u8) {
        if let Some(stream) = self.upgrade()
            && let Ok(mut state) = stream.enter()
        {
            state.life.end_data_by_peer(description);
            stream.mark_writable(&state);
            stream.note_change(&state);
        }
    }
}

impl SendStream {
    /// No data follows: whoever waits for space has nothing to wait for.
    fn end_data(&self, state: &mut State) {
        state.life.end_data();
        self.mark_writable(state);
    }

    fn answer_with_alert(self: &Arc<Self>, level: u8, description: u8) -> Result<()> {
        let state = self.enter()?;
        if !state.life.is_open() {
            return Ok(());
        }
        let after = if level == alert::FATAL {
            AfterMessage::Nothing
        } else {
            AfterMessage::Data
        };
        self.frame_message(state, content_type::ALERT, vec![level, description], after)
    }
}
