//! The way of the bytes: sealing the next unit, sending the ready head, and never leaving a stream alone.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::aio_queue::When;
use super::{Guard, Stream};
use crate::error::{Error, Result};
use crate::pages::Pages;
use crate::seal::{self, Outcome};
use crate::send_buffer::{self, Claim, Sealed};
use crate::{counters, gate, tunables};

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Progress,
    /// TCP takes nothing now.
    Blocked,
    /// Others are at all there is to do.
    Busy,
    Empty,
    /// The connection has failed; the state says how.
    Failed,
}

/// Who takes a step. Only a caller who may wait reads a file that is not in memory; others pass it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Caller { may_wait: bool },
    Worker,
}

impl Stream {
    /// Sends the ready head, or seals the next unit; one of them, once. The lock is let go meanwhile.
    pub(super) fn step<'a>(
        self: &'a Arc<Self>,
        mut state: Guard<'a>,
        role: Role,
    ) -> (Guard<'a>, Step) {
        if state.error.is_some() {
            return (state, Step::Failed);
        }
        let ahead = state.buffer.units();
        // Just in time: nothing more is sealed while the socket is full.
        let may_seal = if state.blocked {
            ahead == 0
        } else {
            ahead < tunables::pipeline_depth::get()
        };
        let may_send = !state.sending && !state.blocked;
        // A thread that has just sent leaves the head to the thread that sealed it, whose cache it is in.
        let mine = !(state.send_wanted && may_seal && state.buffer.queued > 0);
        if may_send
            && mine
            && let Some(sealed) = state.buffer.take_ready()
        {
            state.sending = true;
            state.send_wanted = false;
            let more = state.buffer.has_more();
            drop(state);
            return self.send_unit(sealed, more);
        }
        if may_seal && let Some(claim) = state.buffer.claim(tunables::flush_unit::get()) {
            drop(state);
            return self.seal_unit(claim, role);
        }
        let step = if state.blocked {
            Step::Blocked
        } else if !state.buffer.has_work() && !state.sending {
            Step::Empty
        } else {
            state.send_wanted = state.buffer.head_mut().is_some();
            Step::Busy
        };
        (state, step)
    }

    fn send_unit<'a>(self: &'a Arc<Self>, mut sealed: Sealed, more: bool) -> (Guard<'a>, Step) {
        let sent = self
            .output
            .send(&sealed.pages[sealed.start..sealed.end], more);
        let mut state = self.lock();
        state.sending = false;
        let step = if state.error.is_some() {
            self.pool.pages.give_back(sealed.pages);
            Step::Failed
        } else {
            match sent {
                Ok(count) => {
                    let plain = sealed.advance(count);
                    let whole = sealed.start == sealed.end;
                    state.buffer.taken(plain, whole);
                    if whole {
                        self.pool.pages.give_back(sealed.pages);
                    } else {
                        state.buffer.put_back(sealed);
                    }
                    if !state.aio.is_empty() {
                        self.frame_waiting(&mut state, When::RoomAppeared);
                    }
                    self.note_room(&state);
                    Step::Progress
                }
                Err(Errno::AGAIN) => {
                    state.blocked = true;
                    state.buffer.put_back(sealed);
                    Step::Blocked
                }
                Err(errno) => {
                    self.pool.pages.give_back(sealed.pages);
                    self.fail(&mut state, Error::from_errno(errno, "sending failed"));
                    Step::Failed
                }
            }
        };
        self.note_change(&state);
        (state, step)
    }

    fn seal_unit<'a>(self: &'a Arc<Self>, mut claim: Claim, role: Role) -> (Guard<'a>, Step) {
        self.pool.maybe_delay();
        let (units, cached_only) = match role {
            Role::Caller { may_wait } => (&counters::UNITS_INLINE, !may_wait),
            Role::Worker => (&counters::UNITS_POOL, true),
        };
        units.add(1);
        let room = send_buffer::wire_room(tunables::flush_unit::get());
        let mut pages = self.pool.pages.take(room.max(claim.wire_size));
        let mut sealed = seal::seal(&claim, &mut pages, cached_only);
        if let Ok(Outcome::Cold) = sealed {
            counters::COLD_READS.add(1);
            match self.pool.read_cold(self, claim, pages) {
                Ok(()) => return (self.lock(), Step::Busy),
                // There are no threads to pass it on to.
                Err(back) => (claim, pages) = back,
            }
            sealed = seal::seal(&claim, &mut pages, false);
        }
        self.conclude(&claim, pages, sealed)
    }

    /// Marks what was sealed as ready, or ends the connection.
    fn conclude(&self, claim: &Claim, pages: Pages, sealed: Result<Outcome>) -> (Guard<'_>, Step) {
        let error = match sealed {
            Ok(Outcome::Done(end)) => return (self.unit_ready(claim, pages, end), Step::Progress),
            Ok(Outcome::Cold) => Error::new(Errno::IO, "the file cannot be read"),
            Err(error) => error,
        };
        self.pool.pages.give_back(pages);
        let mut state = self.lock();
        self.fail(&mut state, error);
        (state, Step::Failed)
    }

    fn unit_ready(&self, claim: &Claim, pages: Pages, end: usize) -> Guard<'_> {
        let sealed = Sealed {
            pages,
            start: 0,
            end,
            plain: claim.plain,
        };
        let mut state = self.lock();
        if let Err(sealed) = state.buffer.ready(claim, sealed) {
            self.pool.pages.give_back(sealed.pages);
        }
        self.note_change(&state);
        state
    }

    /// Reads and seals a claim whose file is not in memory, on a thread that may wait.
    pub(crate) fn seal_cold(self: &Arc<Self>, claim: Claim, mut pages: Pages) {
        // Outside the gate: a fork must not wait for a disk.
        let sealed = seal::seal(&claim, &mut pages, false);
        let _pass = gate::enter();
        drop(self.conclude(&claim, pages, sealed).0);
        self.pool.schedule(self);
        // Inside it: other parts of the claim may be Python's, whose release must not meet a fork.
        drop(claim);
    }

    /// A worker's turn: until the stream rests, or its quantum is used up.
    pub(crate) fn turn(self: &Arc<Self>) {
        self.scheduled.store(false, Ordering::Release);
        let _pass = gate::enter();
        let mut state = self.lock();
        state.attended = true;
        let quantum = tunables::quantum::get() as u64;
        let begin = state.buffer.sent;
        let mut used_up = false;
        loop {
            let (guard, step) = self.step(state, Role::Worker);
            state = guard;
            match step {
                Step::Progress if state.buffer.sent - begin >= quantum => {
                    used_up = true;
                    break;
                }
                Step::Progress => {}
                Step::Blocked | Step::Failed => break,
                Step::Empty if !self.rhythm.is_stream() => break,
                Step::Empty | Step::Busy => {
                    let seen = self.changes.load(Ordering::Acquire);
                    drop(state);
                    let changed = self.spin(seen);
                    state = self.lock();
                    if !changed {
                        break;
                    }
                }
            }
        }
        state.attended = false;
        if used_up && state.buffer.has_work() {
            // Even when others are at it: a stream of that much is worth two threads.
            drop(state);
            self.pool.schedule(self);
        } else {
            self.settle_locked(state);
        }
    }

    /// The socket became writable.
    pub(crate) fn unblocked(self: &Arc<Self>) {
        let _pass = gate::enter();
        let mut state = self.lock();
        state.armed = false;
        state.blocked = false;
        self.note_change(&state);
    }

    /// A worker stumbled over this stream: whatever state it is in, its connection ends.
    pub(crate) fn broken(self: &Arc<Self>) {
        let _pass = gate::enter();
        let mut state = self.lock();
        state.sending = false;
        state.attended = false;
        let why = "an internal error of ktls; the connection was reset";
        self.fail(&mut state, Error::new(Errno::IO, why));
    }

    /// Sees to it that a stream which still holds bytes is not left alone.
    pub(super) fn settle(self: &Arc<Self>) {
        let _pass = gate::enter();
        self.settle_locked(self.lock());
    }

    pub(super) fn settle_locked<'a>(self: &'a Arc<Self>, mut state: Guard<'a>) {
        if !state.buffer.has_work() || state.error.is_some() {
            if state.shut && !state.finished && !state.sending && state.aio.is_framed() {
                state.finished = true;
                if state.error.is_none() {
                    // A peer that has gone already is no news here.
                    let _ = self.output.finish();
                }
                self.note_change(&state);
            }
            return;
        }
        if state.sending || state.attended || state.buffer.is_sealing() {
            return;
        }
        if !state.blocked {
            drop(state);
            self.pool.schedule(self);
        } else if !state.armed && state.polling == 0 {
            if let Some(sealed) = state.buffer.head_mut() {
                self.trim(sealed);
            }
            state.armed = true;
            drop(state);
            if let Err(error) = self.pool.arm(self, self.output.ready()) {
                self.fail(&mut self.lock(), error);
            }
        }
    }

    /// Copies what waits for the socket out of the hot buffer, which goes back to work.
    fn trim(&self, sealed: &mut Sealed) {
        let left = sealed.end - sealed.start;
        if sealed.pages.len() - left > left / 4 {
            let tail = sealed.pages[sealed.start..sealed.end].to_vec();
            self.pool
                .pages
                .give_back(core::mem::replace(&mut sealed.pages, tail));
            sealed.start = 0;
            sealed.end = left;
        }
    }
}
