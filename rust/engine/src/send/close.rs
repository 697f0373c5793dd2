//! How a stream ends: after what was accepted, at once, by a failure, or by going on without us.

use std::sync::Arc;
use std::time::Duration;

use super::SendStream;
use super::state::State;
use crate::counters;
use crate::deadline::Deadline;
use crate::error::{Error, Result};

impl SendStream {
    /// Ends the write side after everything accepted. A writer that waits for space is told at once.
    ///
    /// # Errors
    /// EBADF when closed, or what ended the connection.
    pub fn shutdown_write(self: &Arc<Self>) -> Result<()> {
        {
            let mut state = self.enter()?;
            if state.life.is_open() {
                self.check_writable(&mut state)?;
            } else {
                state.life.check_drain()?;
            }
            state.buffer.close_open_record();
            state.life.shut_down();
            self.mark_writable(&state);
            self.note_change(&state);
        }
        self.settle();
        Ok(())
    }

    /// Closes: accepted data drains in the background, then the write side ends. Whoever waits is told at once. With
    /// SO_LINGER the time that [`SendStream::linger`] is to wait is returned; with one of zero the connection is reset.
    pub fn close(self: &Arc<Self>) -> Option<Duration> {
        let linger = self.transport.linger();
        {
            let mut state = self.enter().ok()?;
            state.buffer.close_open_record();
            if !state.life.close() {
                return None;
            }
            if linger.is_some_and(|linger| linger.is_zero()) {
                self.fail(&mut state, Error::Aborted);
            }
            self.note_change(&state);
        }
        self.drop_poll_fd();
        if linger.is_some() {
            // The last descriptor may be closed by a worker, which has no time to wait.
            self.transport.clear_linger();
        }
        self.settle();
        if self.enter().is_ok_and(|state| state.buffer.has_work()) {
            self.pool.linger(self.as_ref());
        }
        linger.filter(|linger| !linger.is_zero())
    }

    /// Waits until the peer has everything that a closed stream holds. When the time is over the connection is reset.
    ///
    /// # Errors
    /// EAGAIN when it may not wait; EINTR: the rest drains in the background.
    pub fn linger(self: &Arc<Self>, deadline: &mut Deadline<'_>) -> Result<()> {
        loop {
            {
                let Ok(state) = self.enter() else {
                    return Ok(());
                };
                let is_drained = state.life.has_failed()
                    || (!state.buffer.has_work() && state.async_writes.is_framed());
                if is_drained && (state.life.has_failed() || self.transport.is_acknowledged()) {
                    return Ok(());
                }
            }
            if !deadline.is_blocking() {
                return Err(Error::WouldBlock);
            }
            let Ok(nap) = deadline.nap() else {
                if let Ok(mut state) = self.enter() {
                    self.fail(&mut state, Error::Aborted);
                }
                return Ok(());
            };
            std::thread::sleep(nap.min(Duration::from_millis(5)));
            deadline.check_signals()?;
        }
    }

    /// Lets go of the transport without ending it, so that its owner can go on with it.
    ///
    /// # Errors
    /// EBUSY while something is held: flush before.
    pub fn release(self: &Arc<Self>) -> Result<()> {
        {
            let mut state = self.enter()?;
            let is_busy = state.driver.is_sending() || !state.async_writes.is_framed();
            if !state.buffer.is_empty() || is_busy {
                return Err(Error::Unsent(state.buffer.held()));
            }
            state.life.release();
            self.note_change(&state);
        }
        self.drop_poll_fd();
        Ok(())
    }

    /// Drops what is held and resets the connection. Whoever waits is told.
    pub fn abort(self: &Arc<Self>) {
        let Ok(mut state) = self.enter() else { return };
        self.fail(&mut state, Error::Aborted);
        state.life.mark_raised();
    }

    /// Ends the connection: nothing held can be sent any more.
    pub(super) fn fail(&self, state: &mut State, error: Error) {
        if state.life.fail(error.clone()) {
            if matches!(error, Error::Aborted) {
                self.transport.note_abort();
            }
            self.fail_async_writes(state, &error);
            if state.buffer.write_state.is_some() {
                counters::ACTIVE.sub(1);
            }
            state.buffer.clear();
            if !error.has_ended_transport() {
                self.transport.abort();
            }
            if let Some(poll_fd) = &state.poll_fd {
                poll_fd.set_writable(true);
                poll_fd.fail();
            }
        }
        self.note_change(state);
    }

    fn drop_poll_fd(self: &Arc<Self>) {
        let dropped = self.enter().ok().and_then(|mut state| state.poll_fd.take());
        if let Some(poll_fd) = dropped {
            // For whoever keeps it for a wait.
            poll_fd.set_writable(true);
            poll_fd.fail();
            self.pool.unwatch_readable(self.as_ref());
        }
    }
}
