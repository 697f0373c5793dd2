//! Waiting: for TCP to take more, or for another thread to get on; helping as long as there is something to do.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::Stream;
use super::pump::{Role, Step};
use super::state::State;
use crate::error::{Error, Result};
use crate::{gate, sys, tunables};

/// How long a call may wait, and who may stop it.
pub struct Patience<'a> {
    /// Whether it may wait at all.
    pub may_wait: bool,
    /// Until when; None: for ever.
    pub deadline: Option<Instant>,
    /// Asked whenever a signal came or a moment passed: true ends the wait with EINTR.
    pub interrupted: &'a mut dyn FnMut() -> bool,
}

impl Patience<'_> {
    pub(crate) fn remaining(&self) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }
}

impl Stream {
    /// Helps the stream along until `until` holds.
    pub(super) fn drive(
        self: &Arc<Self>,
        until: impl Fn(&State) -> bool,
        patience: &mut Patience<'_>,
    ) -> Result<()> {
        loop {
            let step = {
                let _pass = gate::enter();
                let mut state = self.lock();
                if state.error.is_some() || state.closed {
                    return state.check();
                }
                if until(&state) {
                    return Ok(());
                }
                self.call_for_help(&state);
                let may_wait = patience.may_wait;
                self.step(state, Role::Caller { may_wait }).1
            };
            match step {
                // A failure is raised at the head of the loop.
                Step::Progress | Step::Failed => {}
                Step::Blocked | Step::Busy | Step::Empty if !patience.may_wait => {
                    return Err(Error::would_block());
                }
                // Another thread is in the middle of something.
                Step::Empty => {
                    let unchanged = |state: &State| !until(state) && !state.buffer.has_work();
                    self.wait_for_change(unchanged, patience)?;
                }
                Step::Blocked => self.wait_writable(patience)?,
                Step::Busy => {
                    let unchanged = |state: &State| {
                        !until(state) && (state.sending || state.buffer.is_sealing())
                    };
                    self.wait_for_change(unchanged, patience)?;
                }
            }
        }
    }

    /// Wakes a worker for a backlog that pays for it, unless one is here.
    fn call_for_help(self: &Arc<Self>, state: &State) {
        if state.buffer.queued >= tunables::handoff_min::get()
            && !state.attended
            && !state.blocked
            && self.pool.has_workers()
        {
            self.pool.schedule(self);
        }
    }

    fn wait_writable(self: &Arc<Self>, patience: &mut Patience<'_>) -> Result<()> {
        self.lock().polling += 1;
        let waited = loop {
            let timeout = match patience.remaining() {
                Some(left) if left.is_zero() => break Err(Error::timed_out()),
                other => other,
            };
            match sys::wait_writable(self.output.ready(), timeout) {
                Ok(true) => break Ok(()),
                Ok(false) => {}
                Err(Errno::INTR) => {
                    if (patience.interrupted)() {
                        break Err(Error::interrupted());
                    }
                }
                Err(errno) => break Err(Error::from_errno(errno, "waiting for the socket failed")),
            }
        };
        let mut state = self.lock();
        state.polling -= 1;
        if waited.is_ok() {
            state.blocked = false;
        }
        waited
    }

    /// Waits while `unchanged` holds of the state.
    pub(super) fn wait_for_change(
        &self,
        unchanged: impl Fn(&State) -> bool,
        patience: &mut Patience<'_>,
    ) -> Result<()> {
        /// How soon a signal handler of Python runs while nothing changes.
        const LOOK_UP: Duration = Duration::from_millis(50);
        let seen = self.changes.load(Ordering::Acquire);
        if self.spin(seen) {
            return Ok(());
        }
        let mut state = self.lock();
        state.waiting += 1;
        let waited = loop {
            if !unchanged(&state) || state.error.is_some() || state.closed {
                break Ok(());
            }
            let left = patience.remaining();
            if left.is_some_and(|left| left.is_zero()) {
                break Err(Error::timed_out());
            }
            let nap = left.map_or(LOOK_UP, |left| left.min(LOOK_UP));
            let (guard, slept) = self
                .changed
                .wait_timeout(state, nap)
                .unwrap_or_else(PoisonError::into_inner);
            state = guard;
            if slept.timed_out() {
                drop(state);
                let stop = (patience.interrupted)();
                state = self.lock();
                if stop {
                    break Err(Error::interrupted());
                }
            }
        };
        state.waiting -= 1;
        waited
    }

    /// Looks for a change for a little while; true when there was one.
    pub(super) fn spin(&self, seen: usize) -> bool {
        self.pool
            .spin_until(|| self.changes.load(Ordering::Acquire) != seen)
    }
}
