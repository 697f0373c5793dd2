//! The way of the bytes: sealing the next batch, sending the ready head, and never leaving a stream alone.

use std::sync::Arc;
use std::time::Instant;

use ktls_record::MAX_FRAME_LEN;
use rustix::io::Errno;

use super::SendStream;
use super::async_queue::FrameReason;
use super::buffer::{self, SealJob, SealedBatch};
use super::driver::Duty;
use super::entered::{Entered, Inside, PanicWatch};
use super::seal::{self, Read};
use super::state::State;
use crate::error::Error;
use crate::pool::SealBuffer;
use crate::{counters, sys, tunables};

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Progress,
    /// TCP takes nothing now.
    Blocked,
    /// Other threads hold all remaining work.
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

/// The state after a step; None: this is a child of the process, which has none.
pub(super) type After<'a> = (Option<Entered<'a>>, Step);

/// Payload bytes to seal at once: what is read from a file becomes memory, and at the bound of the process that is one
/// record.
fn unit_size(state: &State) -> usize {
    if state.buffer.has_unread_file() && state.process_space() == 0 {
        return MAX_FRAME_LEN;
    }
    tunables::flush_unit::get()
}

impl SendStream {
    /// Sends the ready head, or seals the next batch; one of them, once. The state is let go meanwhile.
    pub(super) fn step<'a>(self: &'a Arc<Self>, mut state: Entered<'a>, role: Role) -> After<'a> {
        if state.life.has_failed() {
            return (Some(state), Step::Failed);
        }
        let is_blocked = state.driver.is_blocked();
        let ahead = state.buffer.batches();
        // Just in time: nothing more is sealed while the socket is full.
        let may_seal = if is_blocked {
            ahead == 0
        } else {
            ahead < tunables::pipeline_depth::get()
        };
        // A thread that has just sent leaves the head to the thread that sealed it, whose cache it is in.
        let mine = !(state.driver.is_send_wanted() && may_seal && state.buffer.queued() > 0);
        if state.driver.may_send()
            && mine
            && let Some(sealed) = state.buffer.take_ready()
        {
            state.driver.begin_send();
            let more = state.buffer.has_more();
            return self.send_batch(state.release_state(), sealed, more);
        }
        let unit = unit_size(&state);
        // A caller may hold what those want for whom sealing waits.
        let leaves_it =
            role != Role::Worker && state.buffer.needs_worker() && !self.pool.is_stopped();
        if may_seal
            && !leaves_it
            && let Some(job) = state.buffer.claim(unit)
        {
            return self.seal_batch(state.release_state(), job, role);
        }
        let step = if is_blocked {
            Step::Blocked
        } else if !state.buffer.has_work() && !state.driver.is_sending() {
            Step::Empty
        } else {
            let is_ready = state.buffer.head_mut().is_some();
            state.driver.want_send(is_ready);
            Step::Busy
        };
        (Some(state), step)
    }

    fn send_batch<'a>(
        self: &'a Arc<Self>,
        inside: Inside<'a>,
        mut sealed: SealedBatch,
        more: bool,
    ) -> After<'a> {
        let sent = self
            .transport
            .send(&sealed.buffer[sealed.start..sealed.end], more);
        let mut state = inside.lock();
        state.driver.end_send();
        let step = if state.life.has_failed() {
            self.pool.buffers.give_back(sealed.buffer);
            Step::Failed
        } else {
            match sent {
                Ok(count) => {
                    let plain = sealed.advance(count);
                    state.buffer.taken(plain, count);
                    if sealed.is_sent() {
                        self.pool.buffers.give_back(sealed.buffer);
                    } else {
                        state.buffer.put_back(sealed);
                    }
                    if !state.async_writes.is_empty() {
                        self.frame_waiting(&mut state, FrameReason::SpaceAppeared);
                    }
                    self.note_space(&state);
                    Step::Progress
                }
                Err(Errno::AGAIN) => {
                    state.driver.block();
                    state.buffer.put_back(sealed);
                    Step::Blocked
                }
                Err(errno) => {
                    self.pool.buffers.give_back(sealed.buffer);
                    let during = "sending failed";
                    self.fail(&mut state, Error::Connection { errno, during });
                    Step::Failed
                }
            }
        };
        self.note_change(&state);
        (Some(state), step)
    }

    fn seal_batch<'a>(
        self: &'a Arc<Self>,
        inside: Inside<'a>,
        job: SealJob,
        role: Role,
    ) -> After<'a> {
        self.pool.maybe_delay();
        let (batches, cached_only) = match role {
            Role::Caller { may_wait } => (&counters::UNITS_INLINE, !may_wait),
            Role::Worker => (&counters::UNITS_POOL, true),
        };
        batches.add(1);
        let space = buffer::wire_space(tunables::flush_unit::get());
        let mut buffer = self.pool.buffers.take(space.max(job.wire_size));
        if !job.has_file() && !job.may_wait() {
            return self.seal_read_batch(inside, &job, buffer);
        }
        // A disk may take its time, and so may a file system that has no way to say that: forks go on meanwhile.
        drop(inside);
        let watch = PanicWatch::new(self);
        let read = seal::read_files(&job.parts, &mut buffer, cached_only);
        drop(watch);
        match read {
            Ok(Read::Cold) => self.read_cold(job, buffer),
            Ok(Read::Done) => self.seal_after_read(&job, buffer),
            Err(error) => self.give_up(buffer, error),
        }
    }

    /// Passes a file that is not in memory on to a thread that may wait.
    fn read_cold<'a>(self: &'a Arc<Self>, job: SealJob, buffer: SealBuffer) -> After<'a> {
        counters::COLD_READS.add(1);
        let stream = Arc::clone(self);
        let read = move || stream.seal_cold(&job, buffer);
        if let Err(read) = self.pool.read_cold(Box::new(read)) {
            // There are no threads.
            read();
            return self.progress();
        }
        match self.enter() {
            Ok(state) => (Some(state), Step::Busy),
            Err(_) => (None, Step::Failed),
        }
    }

    fn progress(&self) -> After<'_> {
        match self.enter() {
            Ok(state) => (Some(state), Step::Progress),
            Err(_) => (None, Step::Failed),
        }
    }

    /// Reads and seals a job whose file is not in memory, on a thread that may wait.
    fn seal_cold(self: &Arc<Self>, job: &SealJob, mut buffer: SealBuffer) {
        let watch = PanicWatch::new(self);
        let read = seal::read_files(&job.parts, &mut buffer, false);
        let after = match read {
            Ok(_) => self.seal_after_read(job, buffer),
            Err(error) => self.give_up(buffer, error),
        };
        drop(after);
        drop(watch);
        self.settle();
    }

    fn seal_after_read(&self, job: &SealJob, mut buffer: SealBuffer) -> After<'_> {
        if job.may_wait() {
            let watch = PanicWatch::new(self);
            let begin = Instant::now();
            let sealed = seal::seal_parts_waiting(&job.parts, &mut buffer);
            note_sealing(job, begin);
            drop(watch);
            let end = match sealed {
                Ok(end) => end,
                Err(error) => return self.give_up(buffer, error),
            };
            return match self.enter() {
                Ok(state) => self.finish_sealing(state, job, buffer, end),
                Err(_) => (None, Step::Failed),
            };
        }
        match self.enter() {
            Ok(state) => self.seal_read_batch(state.release_state(), job, buffer),
            Err(_) => (None, Step::Failed),
        }
    }

    /// Seals a job, and marks it ready or ends the connection.
    fn seal_read_batch<'a>(
        &'a self,
        inside: Inside<'a>,
        job: &SealJob,
        mut buffer: SealBuffer,
    ) -> After<'a> {
        let begin = Instant::now();
        let end = match seal::seal_parts(&job.parts, &mut buffer) {
            Ok(end) => end,
            Err(error) => {
                drop(inside);
                return self.give_up(buffer, error);
            }
        };
        note_sealing(job, begin);
        self.finish_sealing(inside.lock(), job, buffer, end)
    }

    /// Marks a job ready, of which the buffer has the records.
    fn finish_sealing<'a>(
        &'a self,
        mut state: Entered<'a>,
        job: &SealJob,
        buffer: SealBuffer,
        end: usize,
    ) -> After<'a> {
        let sealed = SealedBatch {
            buffer,
            start: 0,
            end,
            plain: job.plain,
        };
        if let Err(sealed) = state.buffer.ready(job, sealed) {
            self.pool.buffers.give_back(sealed.buffer);
        }
        self.note_change(&state);
        (Some(state), Step::Progress)
    }

    fn give_up(&self, buffer: SealBuffer, error: Error) -> After<'_> {
        self.pool.buffers.give_back(buffer);
        match self.enter() {
            Ok(mut state) => {
                self.fail(&mut state, error);
                (Some(state), Step::Failed)
            }
            Err(_) => (None, Step::Failed),
        }
    }

    /// Sees to it that a stream which still holds bytes is not left alone.
    pub(super) fn settle(self: &Arc<Self>) {
        if let Ok(state) = self.enter() {
            self.settle_entered(state);
        }
    }

    pub(super) fn settle_entered<'a>(self: &'a Arc<Self>, mut state: Entered<'a>) {
        let has_work = state.buffer.has_work() && !state.life.has_failed();
        if !has_work {
            self.finish_if_drained(&mut state);
            return;
        }
        let is_sealing = state.buffer.is_sealing();
        match state.driver.next_duty(has_work, is_sealing) {
            Duty::None => {}
            Duty::Schedule => {
                drop(state);
                if !self.pool.schedule(self) {
                    self.drain_here();
                }
            }
            Duty::Watch if self.pool.is_stopped() => {
                drop(state);
                self.drain_here();
            }
            Duty::Watch => {
                if let Some(sealed) = state.buffer.head_mut() {
                    self.trim(sealed);
                }
                state.driver.watch();
                let is_closed = state.life.is_closed();
                drop(state);
                let watched = self.pool.watch_writable(&self.as_task());
                if is_closed {
                    self.pool.linger(self.as_ref());
                }
                if let Err(error) = watched
                    && let Ok(mut state) = self.enter()
                {
                    self.fail(&mut state, error);
                }
            }
        }
    }

    /// Ends the write side if that was asked for and nothing is left to be sent before.
    fn finish_if_drained(&self, state: &mut State) {
        if !state.driver.is_sending() && state.async_writes.is_framed() && state.life.finish() {
            // The peer may have gone already: then the connection has ended as well.
            let _ = self.transport.shutdown_write();
            self.note_change(state);
        }
    }

    /// The pool has stopped: what was accepted is sent by the calling thread, in the time that is left for it.
    pub(super) fn drain_here(self: &Arc<Self>) {
        let deadline = Instant::now() + self.pool.exit_timeout();
        loop {
            let Ok(state) = self.enter() else { return };
            if state.life.has_failed() || !state.buffer.has_work() {
                return self.settle_entered(state);
            }
            let step = self.step(state, Role::Caller { may_wait: true }).1;
            let left = deadline.saturating_duration_since(Instant::now());
            match step {
                Step::Progress | Step::Failed => {}
                _ if left.is_zero() => {
                    let Ok(mut state) = self.enter() else { return };
                    let unsent = state.buffer.held() + state.async_writes.waiting_len();
                    self.fail(&mut state, Error::ExitPassed(unsent));
                    return;
                }
                Step::Blocked => {
                    let nap = left.min(crate::deadline::LOOK_AGAIN);
                    let _ = sys::wait_writable(self.transport.poll_fd(), Some(nap));
                    if let Ok(mut state) = self.enter() {
                        state.driver.unblock();
                    }
                }
                Step::Busy | Step::Empty => std::thread::yield_now(),
            }
        }
    }

    /// Copies what waits for the socket out of the seal buffer, which goes back to work.
    fn trim(&self, sealed: &mut SealedBatch) {
        let left = sealed.end - sealed.start;
        if sealed.buffer.len() - left > left / 4 {
            let tail = sealed.buffer[sealed.start..sealed.end].to_vec();
            self.pool
                .buffers
                .give_back(core::mem::replace(&mut sealed.buffer, tail));
            sealed.start = 0;
            sealed.end = left;
        }
    }
}

/// Measures how long the seal of a job took, for its provider.
fn note_sealing(job: &SealJob, begin: Instant) {
    if let Some(key) = job.parts.first().and_then(|part| part.framing.key()) {
        key.times.seal.add(begin.elapsed());
    }
}
