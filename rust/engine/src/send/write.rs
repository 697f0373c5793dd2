//! Writes: what a call accepts, and when its thread seals and sends by itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::SendStream;
use super::append::{AppendRequest, SpaceLimit};
use super::data::{Data, WriteFlags};
use super::drive::{Role, Step};
use super::entered::Entered;
use super::run::Payload;
use super::state::State;
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::tunables;

impl SendStream {
    /// Accepts a write whole, without a system call but waking a worker; so it may be called with the interpreter held.
    /// None: the write needs [`SendStream::send`], because the caller should send it, there is no space, somebody forks,
    /// or something is wrong.
    pub fn try_send(self: &Arc<Self>, data: &Data<'_>, flags: WriteFlags) -> Option<usize> {
        self.burst.begin();
        if !self.burst.in_burst() && !self.scheduled.load(Ordering::Acquire) {
            return None;
        }
        // A forking thread holds the lock alone, and may need the interpreter to let go.
        let fork = crate::fork_lock::try_shared()?;
        self.owner_is_inside(&fork)?;
        let len = data.as_slice().len();
        let mut state = Entered::new(self, fork);
        let has_driver = state.driver.has_driver() || self.scheduled.load(Ordering::Acquire);
        if !has_driver && !self.burst.in_burst() || self.pool.is_stopped() {
            return None;
        }
        let fit = state.life.is_connected()
            && state.life.is_open()
            && state.may_append()
            && state.space() >= len;
        if !fit
            || !self
                .try_append_whole(&mut state, data, flags)
                .is_ok_and(|appended| appended)
        {
            return None;
        }
        self.note_change(&state);
        let idle = !has_driver && state.buffer.has_work();
        drop(state);
        if idle && !self.pool.schedule(self) {
            self.settle();
        }
        Some(len)
    }

    /// The caller of a write runs again: what comes next is its own time.
    pub fn note_write_end(&self) {
        self.burst.end();
    }

    /// Accepts bytes: all of them when it may wait, else what there is space for.
    ///
    /// # Errors
    /// EMSGSIZE when it is to go whole and can never fit; EAGAIN, [`Error::DeadlinePassed`] or EINTR when nothing was
    /// accepted; whatever ended the connection.
    pub fn send(
        self: &Arc<Self>,
        data: &Data<'_>,
        flags: WriteFlags,
        deadline: &mut Deadline<'_>,
    ) -> Result<usize> {
        let len = data.as_slice().len();
        if len <= tunables::gather_max::get()
            && let Some(done) = self.send_short(data, flags)
        {
            return done.map(|()| len);
        }
        self.send_rest(data, 0, flags, deadline)
    }

    /// The same for the bytes from `from` on, of which there are some: the rest of a write that another call began.
    ///
    /// # Errors
    /// As [`SendStream::send`].
    pub fn send_rest(
        self: &Arc<Self>,
        data: &Data<'_>,
        from: usize,
        flags: WriteFlags,
        deadline: &mut Deadline<'_>,
    ) -> Result<usize> {
        let (accepted, ended) = self.send_long(data, from, flags, deadline)?;
        match ended {
            // The next call says so again; this one says what was accepted.
            Some(error) if accepted > 0 && error.may_follow_a_part() => Ok(accepted),
            Some(error) => Err(error),
            None => Ok(accepted),
        }
    }

    /// Accepts all of the bytes.
    ///
    /// # Errors
    /// As [`SendStream::send`], perhaps after a part was accepted.
    pub fn send_all(
        self: &Arc<Self>,
        data: &Data<'_>,
        flags: WriteFlags,
        deadline: &mut Deadline<'_>,
    ) -> Result<()> {
        let len = data.as_slice().len();
        if len <= tunables::gather_max::get()
            && let Some(done) = self.send_short(data, flags)
        {
            return done;
        }
        let (accepted, ended) = self
            .send_long(data, 0, flags, deadline)
            .map_err(|error| error.after(0))?;
        match ended {
            Some(error) => Err(error.after(accepted as u64)),
            None if accepted < len => Err(Error::WouldBlock),
            None => Ok(()),
        }
    }

    /// A write that queues. What was accepted, and what ended the write before its end.
    fn send_long(
        self: &Arc<Self>,
        data: &Data<'_>,
        from: usize,
        flags: WriteFlags,
        deadline: &mut Deadline<'_>,
    ) -> Result<(usize, Option<Error>)> {
        let len = data.as_slice().len() - from;
        if flags.atomic {
            let space = self.enter()?.space.limit();
            if len > space {
                return Err(Error::MessageTooLong { len, space });
            }
        }
        let owner = data.to_shared();
        let _writer = self.begin_write(deadline)?;
        let source = |position: usize| Payload::Bytes {
            owner: Arc::clone(&owner),
            start: from + position,
        };
        Ok(self.write_pieces(len, flags, source, deadline))
    }

    /// Seals a short write at once behind what is ready, and sends it unless somebody else will. None: it has to queue.
    fn send_short(self: &Arc<Self>, data: &Data<'_>, flags: WriteFlags) -> Option<Result<()>> {
        let mut state = match self.enter() {
            Ok(state) => state,
            Err(error) => return Some(Err(error)),
        };
        if let Err(error) = self.check_writable(&mut state) {
            return Some(Err(error));
        }
        if !state.may_append() || state.space() < data.as_slice().len() {
            return None;
        }
        match self.try_append_whole(&mut state, data, flags) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => {
                // It may have closed a record, which somebody has to send.
                self.flush_inline(state);
                return Some(Err(error));
            }
        }
        self.flush_inline(state);
        Some(self.check_stopped().map_or(Ok(()), Err))
    }

    /// After something short was put into the buffer: sends it unless somebody else will.
    pub(super) fn flush_inline<'a>(self: &'a Arc<Self>, mut state: Entered<'a>) {
        if state.driver.has_driver() {
            self.note_change(&state);
            return;
        }
        if !state.buffer.has_work() {
            return;
        }
        if self.burst.in_burst() && self.pool.is_multi_cpu() {
            drop(state);
            if !self.pool.schedule(self) {
                self.settle();
            }
            return;
        }
        loop {
            let (entered, step) = self.step(state, Role::Caller { may_wait: false });
            let Some(entered) = entered else { return };
            state = entered;
            if step != Step::Progress || !state.buffer.has_work() {
                break;
            }
        }
        if state.buffer.has_work() || state.life.is_draining() {
            self.settle_entered(state);
        }
    }

    /// Appends `len` bytes piece by piece as space appears, and helps them along. Returns what was accepted, and what
    /// ended the write before its end.
    pub(super) fn write_pieces(
        self: &Arc<Self>,
        len: usize,
        flags: WriteFlags,
        source: impl Fn(usize) -> Payload,
        deadline: &mut Deadline<'_>,
    ) -> (usize, Option<Error>) {
        let least = if flags.atomic { len } else { 1 };
        let mut accepted = 0;
        loop {
            let payload = source(accepted);
            let request = AppendRequest {
                wanted: len - accepted,
                least,
                is_start: accepted == 0,
                space: match payload {
                    // A reference to a file costs no memory, and whoever seals should not run out of it.
                    Payload::File { .. } if deadline.is_unlimited() => {
                        SpaceLimit::AtLeast(tunables::file_window::get())
                    }
                    _ => SpaceLimit::Send,
                },
            };
            let error = match self.append_piece(request, flags, payload) {
                Ok(added) => {
                    accepted += added;
                    if accepted == len || (accepted > 0 && !deadline.is_blocking()) {
                        self.flush_after_write(deadline.is_blocking(), accepted < len);
                        return (accepted, self.check_stopped());
                    }
                    match self.wait_for_space(len - accepted, least, deadline) {
                        Ok(()) => continue,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            self.settle();
            return (accepted, Some(error));
        }
    }

    fn wait_for_space(
        self: &Arc<Self>,
        left: usize,
        least: usize,
        deadline: &mut Deadline<'_>,
    ) -> Result<()> {
        let enough = {
            let mut state = self.enter()?;
            state.buffer.close_open_record();
            state.space.wakeup(left).max(least)
        };
        let appeared = |state: &State| state.has_space(enough, least);
        self.drive_until(appeared, State::check, deadline)
    }

    fn append_piece(
        &self,
        request: AppendRequest,
        flags: WriteFlags,
        payload: Payload,
    ) -> Result<usize> {
        let mut state = self.enter()?;
        state.check()?;
        self.append(&mut state, request, flags, payload)
    }

    /// After a write: seals and sends what the caller should, and leaves the rest to others.
    pub(super) fn flush_after_write(self: &Arc<Self>, may_wait: bool, was_cut: bool) {
        let Ok(mut state) = self.enter() else { return };
        if was_cut {
            self.mark_unwritable(&state);
        }
        let has_driver = state.driver.has_driver() || self.scheduled.load(Ordering::Acquire);
        let held = state.buffer.held();
        let leave = if may_wait {
            self.burst.in_burst() && self.pool.is_multi_cpu()
        } else {
            held > tunables::inline_max::get()
        };
        if !leave {
            if may_wait && !has_driver && held >= tunables::handoff_min::get() {
                self.pool.schedule(self);
            }
            loop {
                let (entered, step) = self.step(state, Role::Caller { may_wait });
                let Some(entered) = entered else { return };
                state = entered;
                if step != Step::Progress {
                    break;
                }
            }
        }
        self.settle_entered(state);
    }

    /// What a call raises at the end of the interpreter, when what it accepted could not be sent.
    #[inline]
    fn check_stopped(&self) -> Option<Error> {
        if self.pool.is_stopped() {
            self.raise_if_failed()
        } else {
            None
        }
    }

    #[cold]
    fn raise_if_failed(&self) -> Option<Error> {
        self.enter().ok()?.life.check_drain().err()
    }
}
