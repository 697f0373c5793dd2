//! Open records: what a write with MSG_MORE, or any write inside a cork, leaves for the next one to join.
//!
//! The record has its number and key from the moment it is opened. It is closed before anything else is framed, when
//! it is full, when somebody waits, and when the write side ends; so the wire carries what was written, in order.

use std::sync::Arc;

use super::state::State;
use super::{Data, Manner, Stream};
use crate::error::Result;
use crate::frames::APPLICATION_DATA;
use crate::{counters, gate, tunables};

impl Stream {
    /// From now on every write of application data leaves its last record open. Counted: each needs an
    /// [`Stream::uncork`].
    ///
    /// # Errors
    /// As [`Stream::send`].
    pub fn cork(&self) -> Result<()> {
        self.check_process()?;
        let _pass = gate::enter();
        let mut state = self.lock();
        state.check()?;
        state.corked += 1;
        Ok(())
    }

    /// Ends a cork; the last one closes the open record and sends it, as far as that can be done without waiting.
    pub fn uncork(self: &Arc<Self>) {
        if self.is_stale() {
            return;
        }
        let _pass = gate::enter();
        let mut state = self.lock();
        state.corked = state.corked.saturating_sub(1);
        if state.corked == 0 {
            state.buffer.close_record();
            self.help_along(state);
        }
    }

    /// Whether a record is held open.
    pub fn has_open_record(&self) -> bool {
        self.lock_unless_stale()
            .is_some_and(|state| state.buffer.has_open_record())
    }

    /// Puts a whole write for which there is room into the buffer, where a record is open or will be. False: it has to
    /// go in pieces.
    #[cold]
    pub(super) fn place_beside(
        &self,
        state: &mut State,
        bytes: &[u8],
        manner: Manner,
    ) -> Result<bool> {
        if bytes.len() > tunables::gather_max::get() {
            return Ok(false);
        }
        let rest = &bytes[self.join(state, bytes, manner)?..];
        if rest.is_empty() && !bytes.is_empty() {
            return Ok(true);
        }
        let open_len = if state.leaves_open(manner) {
            rest.len() % state.buffer.frame_len()
        } else {
            0
        };
        let (full, last) = rest.split_at(rest.len() - open_len);
        if !full.is_empty() || bytes.is_empty() {
            self.put(state, &Data::Borrowed(full), manner.content_type)?;
        }
        if !last.is_empty() {
            self.join(state, last, manner)?;
        }
        Ok(true)
    }

    /// Puts the beginning of a write where an open record wants it: into the record that is open, or, if the write
    /// is to leave one and is shorter than that, into a new one. Returns how many bytes; 0: they are framed as usual,
    /// and nothing is open.
    pub(super) fn join(&self, state: &mut State, bytes: &[u8], manner: Manner) -> Result<usize> {
        if !manner.may_join() || bytes.is_empty() {
            state.buffer.close_record();
            return Ok(0);
        }
        let stays_open = state.leaves_open(manner);
        if !state.buffer.has_open_record() {
            if !stays_open || bytes.len() >= state.buffer.frame_len() {
                return Ok(0);
            }
            self.admit(state, 1, APPLICATION_DATA)?;
        }
        let count = state.buffer.hold(bytes)?;
        if count == bytes.len() && !stays_open {
            state.buffer.close_record();
        }
        counters::BYTES.add(count as u64);
        Ok(count)
    }

    /// Lets the open record go, because somebody has to wait for room or for the end.
    pub(super) fn let_record_go(&self) {
        let _pass = gate::enter();
        self.lock().buffer.close_record();
    }
}
