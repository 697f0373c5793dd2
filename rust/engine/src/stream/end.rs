//! How a stream ends: after what was accepted, at once, by a failure, or by going on without us.

use std::sync::{Arc, PoisonError};

use rustix::io::Errno;

use super::Stream;
use super::state::State;
use crate::error::{Error, Result};
use crate::{counters, gate};

impl Stream {
    /// Ends the write side after everything accepted.
    ///
    /// # Errors
    /// EBADF when closed, or what ended the connection.
    pub fn shutdown_write(self: &Arc<Self>) -> Result<()> {
        self.check_process()?;
        {
            let _pass = gate::enter();
            let mut state = self.lock();
            if !state.shut {
                self.check_writable(&mut state)?;
            }
            state.buffer.close_record();
            state.shut = true;
        }
        self.settle();
        Ok(())
    }

    /// Closes: accepted data drains in the background, then the write side ends.
    pub fn close(self: &Arc<Self>) {
        if self.is_stale() {
            return;
        }
        {
            let _pass = gate::enter();
            let mut state = self.lock();
            state.buffer.close_record();
            state.shut = true;
            state.closed = true;
            self.note_change(&state);
            if self.readiness().take().is_some() {
                self.pool.unwatch(self);
            }
        }
        self.settle();
    }

    /// Lets go of the transport without ending it, so that its owner can go on with it.
    ///
    /// # Errors
    /// EBUSY while something is held: flush before.
    pub fn release(self: &Arc<Self>) -> Result<()> {
        self.check_process()?;
        let _pass = gate::enter();
        let mut state = self.lock();
        if !state.buffer.is_empty() || state.sending || !state.aio.is_framed() {
            let held = state.buffer.held;
            let why =
                format!("{held} bytes are still held; flush them before the socket is let go");
            return Err(Error::new(Errno::BUSY, why));
        }
        state.shut = true;
        state.closed = true;
        state.finished = true;
        self.note_change(&state);
        if self.readiness().take().is_some() {
            self.pool.unwatch(self);
        }
        Ok(())
    }

    /// Drops what is held and resets the connection.
    pub fn abort(self: &Arc<Self>) {
        if self.is_stale() {
            return;
        }
        let _pass = gate::enter();
        let mut state = self.lock();
        let why = "the connection was aborted by this program";
        self.fail(&mut state, Error::new(Errno::CONNABORTED, why));
        state.mark_raised();
    }

    /// Ends the connection: nothing held can be sent any more.
    pub(super) fn fail(&self, state: &mut State, error: Error) {
        if state.error.is_none() {
            self.fail_aio(state, &error);
            state.error = Some(error);
            state.buffer.clear();
            self.output.abort();
            if let Some(readiness) = self.readiness().as_ref() {
                readiness.set_writable(true);
            }
        }
        self.note_change(state);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // What was inherited through a fork is the parent's, its poller too.
        if self.is_stale() {
            return;
        }
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.buffer.transmit.is_some() {
            counters::ACTIVE.sub(1);
        }
        self.pool.forget(self.id, self.output.ready());
    }
}
