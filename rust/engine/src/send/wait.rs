//! Waiting: for TCP to take more, or for another thread to get on; helping as long as there is something to do.
//!
//! A wait looks again every moment at the process, the life of the connection, the deadline and signals. Signal handlers
//! run without any lock, and may do anything, fork included.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use rustix::io::Errno;

use super::SendStream;
use super::drive::{Role, Step};
use super::entered::PanicWatch;
use super::state::State;
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::{sys, tunables};

impl SendStream {
    /// Helps the stream along until `until` holds, or `check` says that it never will. A caller that gives up leaves it to
    /// others; one that goes on has to see to it at its end.
    pub(super) fn drive_until(
        self: &Arc<Self>,
        until: impl Fn(&State) -> bool,
        check: impl Fn(&mut State) -> Result<()>,
        deadline: &mut Deadline<'_>,
    ) -> Result<()> {
        let driven = self.drive(until, check, deadline);
        if driven.is_err() {
            self.settle();
        }
        driven
    }

    fn drive(
        self: &Arc<Self>,
        until: impl Fn(&State) -> bool,
        check: impl Fn(&mut State) -> Result<()>,
        deadline: &mut Deadline<'_>,
    ) -> Result<()> {
        // A handler's panic is a fault of this library's binding: the connection ends, and nobody waits for it.
        let _watch = PanicWatch::new(self);
        let may_wait = deadline.is_blocking();
        let mut has_waited = false;
        loop {
            let step = {
                let mut state = self.enter()?;
                if has_waited && let Some(cause) = state.life.raise_to_waiter() {
                    return Err(cause);
                }
                check(&mut state)?;
                if until(&state) {
                    return Ok(());
                }
                self.wake_worker_if_backlogged(&state);
                self.step(state, Role::Caller { may_wait }).1
            };
            has_waited = true;
            match step {
                // A failure is raised at the head of the loop.
                Step::Progress | Step::Failed => {}
                Step::Blocked | Step::Busy | Step::Empty if !may_wait => {
                    // Another thread may have got on since: after the last change nobody would tell.
                    let state = self.enter()?;
                    if until(&state) {
                        return Ok(());
                    }
                    self.mark_unwritable(&state);
                    return Err(Error::WouldBlock);
                }
                Step::Blocked => self.wait_writable(&until, deadline)?,
                // Another thread is in the middle of something.
                Step::Empty => {
                    let unchanged = |state: &State| !until(state) && !state.buffer.has_work();
                    self.wait_for_change(unchanged, deadline)?;
                }
                Step::Busy => {
                    let needs_worker = self.enter()?.buffer.needs_worker();
                    if needs_worker {
                        self.settle();
                    }
                    let unchanged = |state: &State| {
                        let is_left = needs_worker && state.buffer.needs_worker();
                        !until(state)
                            && (state.driver.is_sending() || state.buffer.is_sealing() || is_left)
                    };
                    self.wait_for_change(unchanged, deadline)?;
                }
            }
        }
    }

    /// Wakes a worker for a backlog that pays for it, unless one is here.
    fn wake_worker_if_backlogged(self: &Arc<Self>, state: &State) {
        if state.buffer.queued() >= tunables::handoff_min::get()
            && !state.driver.is_worker_active()
            && !state.driver.is_blocked()
            && self.pool.is_multi_cpu()
        {
            self.pool.schedule(self);
        }
    }

    /// Waits for the socket, and for what another thread may have done with it: it may be full again by then.
    fn wait_writable(
        self: &Arc<Self>,
        until: impl Fn(&State) -> bool,
        deadline: &mut Deadline<'_>,
    ) -> Result<()> {
        let life = {
            let mut state = self.enter()?;
            state.driver.begin_poll();
            state.life.stamp()
        };
        let polling = Polling(self);
        loop {
            let nap = deadline.nap()?;
            let polled = sys::wait_writable(self.transport.poll_fd(), Some(nap));
            match polled {
                Ok(true) => break,
                Ok(false) | Err(Errno::INTR) => {
                    if sys::is_main_thread() {
                        // A signal handler may take its time, and wait for the peer: others go on meanwhile.
                        self.enter()?.driver.end_poll();
                        self.settle();
                        let checked = deadline.check_signals();
                        self.enter()?.driver.begin_poll();
                        checked?;
                    } else {
                        deadline.check_signals()?;
                    }
                }
                Err(errno) => {
                    let during = "waiting for the socket failed";
                    return Err(Error::Connection { errno, during });
                }
            }
            let state = self.enter()?;
            if until(&state) || state.life.stamp() != life || !state.driver.is_blocked() {
                return Ok(());
            }
        }
        drop(polling);
        self.enter()?.driver.unblock();
        Ok(())
    }

    /// Waits while `unchanged` holds of the state, and of the life of the connection.
    fn wait_for_change(
        &self,
        unchanged: impl Fn(&State) -> bool,
        deadline: &mut Deadline<'_>,
    ) -> Result<()> {
        let seen = self.changes.load(Ordering::Acquire);
        if self.spin(seen) {
            return Ok(());
        }
        let mut life = None;
        loop {
            let nap = deadline.nap()?;
            let mut state = self.enter()?.into_state();
            let stamp = state.life.stamp();
            if !unchanged(&state) || *life.get_or_insert(stamp) != stamp {
                return Ok(());
            }
            state.waiting += 1;
            let (mut state, slept) = self
                .changed
                .wait_timeout(state, nap)
                .unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
            drop(state);
            if slept.timed_out() {
                deadline.check_signals()?;
            }
        }
    }

    /// Looks for a change for a moment; true when there was one.
    pub(super) fn spin(&self, seen: usize) -> bool {
        self.pool
            .spin_until(|| self.changes.load(Ordering::Acquire) != seen)
    }
}

/// A caller inside poll(2): the stream counts on it.
struct Polling<'a>(&'a SendStream);

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        if let Ok(mut state) = self.0.enter() {
            state.driver.end_poll();
        }
    }
}
