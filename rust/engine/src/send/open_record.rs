//! Open records: what a write with MSG_MORE, or any write inside a cork, leaves for the next one to join.
//!
//! The record has its number and key from the moment it is opened. It is closed before anything else is framed, when
//! it is full, when a caller waits, and when the write side ends; so the wire carries what was written, in order.

use std::sync::Arc;

use super::SendStream;
use super::data::{Data, WriteFlags};
use super::run::APPLICATION_DATA;
use super::state::State;
use crate::error::Result;
use crate::tunables;

impl SendStream {
    /// From now on every write of application data leaves its last record open. Counted: each needs an
    /// [`SendStream::uncork`].
    ///
    /// # Errors
    /// As [`SendStream::send`].
    pub fn cork(&self) -> Result<()> {
        let mut state = self.enter()?;
        state.check()?;
        state.corked += 1;
        Ok(())
    }

    /// Ends a cork; the last one closes the open record and sends it, as far as that can be done without waiting.
    pub fn uncork(self: &Arc<Self>) {
        let Ok(mut state) = self.enter() else { return };
        state.corked = state.corked.saturating_sub(1);
        if state.corked == 0 {
            state.buffer.close_open_record();
            self.flush_inline(state);
        }
    }

    /// Puts a whole write for which there is space into the buffer, where a record is open or will be. False: it has to
    /// go in pieces.
    #[cold]
    pub(super) fn append_with_open_record(
        &self,
        state: &mut State,
        bytes: &[u8],
        flags: WriteFlags,
    ) -> Result<bool> {
        if bytes.len() > tunables::gather_max::get() {
            return Ok(false);
        }
        let mut done = 0;
        loop {
            let joined = self.join_open_record(state, &bytes[done..], flags)?;
            done += joined;
            if joined == 0 || done == bytes.len() {
                break;
            }
        }
        let rest = &bytes[done..];
        if rest.is_empty() && !bytes.is_empty() {
            return Ok(true);
        }
        let open_len = if state.leaves_open(flags) {
            let lead = if done == 0 {
                state.buffer.lead_len(rest.len())
            } else {
                0
            };
            (rest.len() - lead) % state.buffer.frame_len()
        } else {
            0
        };
        let (full, last) = rest.split_at(rest.len() - open_len);
        if !full.is_empty() || bytes.is_empty() {
            self.append_whole(state, &Data::Borrowed(full), flags, done == 0)?;
        }
        if !last.is_empty() {
            self.extend_open_record(state, last, flags)?;
        }
        Ok(true)
    }

    /// Puts the beginning of a write where an open record wants it: into the record that is open, or, if the write
    /// is to leave one and is shorter than that, into a new one. Returns how many bytes; 0: they are framed as usual,
    /// and nothing is open.
    pub(super) fn join_open_record(
        &self,
        state: &mut State,
        bytes: &[u8],
        flags: WriteFlags,
    ) -> Result<usize> {
        if !flags.may_share_record() || bytes.is_empty() {
            state.buffer.close_open_record();
            return Ok(0);
        }
        if !state.buffer.has_open_record() {
            if !state.leaves_open(flags) || bytes.len() >= state.buffer.frame_len() {
                return Ok(0);
            }
            // All of it or nothing: it is less than a frame.
            self.reserve_records(state, bytes.len(), APPLICATION_DATA)?;
            let lead = self.append_lead(state, bytes)?;
            if lead == bytes.len() {
                return Ok(lead);
            }
            return Ok(lead + self.extend_open_record(state, &bytes[lead..], flags)?);
        }
        self.extend_open_record(state, bytes, flags)
    }

    fn extend_open_record(
        &self,
        state: &mut State,
        bytes: &[u8],
        flags: WriteFlags,
    ) -> Result<usize> {
        if !state.buffer.has_open_record() {
            self.reserve_records(state, 1, APPLICATION_DATA)?;
        }
        let count = state.buffer.extend_open_record(bytes)?;
        if count == bytes.len() && !state.leaves_open(flags) {
            state.buffer.close_open_record();
        }
        Ok(count)
    }

    /// Frames what goes before the data of a write that opens a record; returns how many bytes of it that took.
    fn append_lead(&self, state: &mut State, bytes: &[u8]) -> Result<usize> {
        let keys = state.buffer.write_state.as_ref();
        let Some(lead) = keys.and_then(|keys| keys.fragmenter.lead_len(bytes.len())) else {
            return Ok(0);
        };
        self.append_whole(
            state,
            &Data::Borrowed(&bytes[..lead]),
            WriteFlags::DATA,
            false,
        )?;
        Ok(lead)
    }
}
