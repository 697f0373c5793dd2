//! Writes: what a call accepts, and when its thread seals and sends by itself.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::SendStream;
use super::append::{AppendRequest, SpaceLimit};
use super::async_queue::FrameReason;
use super::drive::{Role, Step};
use super::entered::Entered;
use super::run::{APPLICATION_DATA, Payload, SharedBytes};
use super::state::State;
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::{sys, tunables};

/// What a write brings: bytes to look at now, and, where there is one, an owner that keeps them.
pub enum Data<'a> {
    /// Bytes that must be copied to outlive the call.
    Borrowed(&'a [u8]),
    /// Bytes that can be referenced.
    Shared(SharedBytes),
}

impl Data<'_> {
    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Shared(owner) => (**owner).as_ref(),
        }
    }

    pub(super) fn to_shared(&self) -> SharedBytes {
        match self {
            Self::Borrowed(bytes) => Arc::new(bytes.to_vec()),
            Self::Shared(owner) => Arc::clone(owner),
        }
    }
}

/// How a write is framed.
#[derive(Clone, Copy, Debug)]
pub struct WriteFlags {
    /// The content type of its records.
    pub content_type: u8,
    /// All of it at once or nothing, in records of its own (upstream's `PR_ATOMIC`).
    pub atomic: bool,
    /// More data follows (MSG_MORE): the last record stays open for it.
    pub more: bool,
}

impl WriteFlags {
    /// Application data, as much as there is space for.
    pub const DATA: Self = Self {
        content_type: APPLICATION_DATA,
        atomic: false,
        more: false,
    };

    /// Whether it may share a record with another write.
    pub(super) fn may_share_record(self) -> bool {
        self.content_type == APPLICATION_DATA && !self.atomic
    }
}

impl SendStream {
    /// Accepts a write whole, without a system call but waking a worker; so it may be called with the interpreter held.
    /// None: the write needs [`SendStream::send`], because the caller should send it, there is no space, somebody forks,
    /// or something is wrong.
    pub fn try_send(self: &Arc<Self>, data: &Data<'_>, flags: WriteFlags) -> Option<usize> {
        self.burst.begin();
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
        let (accepted, ended) = self.send_long(data, flags, deadline)?;
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
        let (accepted, ended) = self.send_long(data, flags, deadline)?;
        match ended {
            Some(error) => Err(error),
            None if accepted < len => Err(Error::WouldBlock),
            None => Ok(()),
        }
    }

    /// Accepts `count` bytes of a regular file from `offset`; short at the end of the file. When it may wait it
    /// returns once the file was read, so that the caller may change it.
    ///
    /// # Errors
    /// As [`SendStream::send`]; EINVAL for anything but a regular file, and the errno of its first byte when that cannot
    /// be read. Nothing was accepted then.
    pub fn send_file(
        self: &Arc<Self>,
        file: OwnedFd,
        offset: u64,
        count: u64,
        deadline: &mut Deadline<'_>,
    ) -> Result<u64> {
        self.check_process()?;
        let size = sys::regular_file_len(&file)
            .map_err(|errno| Error::File { errno, offset })?
            .ok_or(Error::NotRegular)?;
        let len = count.min(size.saturating_sub(offset));
        if len == 0 || !has_byte_at(&file, offset, deadline.is_blocking())? {
            return Ok(0);
        }
        let file = Arc::new(file);
        let writer = self.begin_write(deadline)?;
        let source = |position: usize| Payload::File {
            file: Arc::clone(&file),
            offset: offset + position as u64,
        };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let (accepted, ended) = self.write_pieces(len, WriteFlags::DATA, source, deadline);
        drop(writer);
        if let Some(error) = ended
            && (accepted == 0 || !error.may_follow_a_part())
        {
            return Err(error);
        }
        if deadline.is_blocking() && accepted == len {
            let read = |state: &State| !state.buffer.has_unread_file();
            let read = self.drive_until(read, |state| state.life.check_drain(), deadline);
            self.settle();
            // What was accepted must not be offered again: too late is no error of this call any more.
            match read {
                Err(error) if !error.leaves_connection() => return Err(error),
                _ => {}
            }
        }
        Ok(accepted as u64)
    }

    /// A write that queues. What was accepted, and what ended the write before its end.
    fn send_long(
        self: &Arc<Self>,
        data: &Data<'_>,
        flags: WriteFlags,
        deadline: &mut Deadline<'_>,
    ) -> Result<(usize, Option<Error>)> {
        let len = data.as_slice().len();
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
            start: position,
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
            Err(error) => return Some(Err(error)),
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
    fn write_pieces(
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
        let appeared = |state: &State| state.space.get(state.buffer.used()) >= enough;
        let waited = self.drive_until(appeared, State::check, deadline);
        if matches!(waited, Err(Error::WouldBlock)) {
            self.mark_unwritable(&*self.enter()?);
        }
        waited
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

    /// Waits for the right to append, which one write of several pieces holds from its first to its last.
    fn begin_write(self: &Arc<Self>, deadline: &mut Deadline<'_>) -> Result<Writer> {
        loop {
            {
                let mut state = self.enter()?;
                self.check_writable(&mut state)?;
                if state.may_append() {
                    let is_nested = state.writer.is_some();
                    state.writer = Some(std::thread::current().id());
                    return Ok(Writer {
                        stream: Arc::clone(self),
                        is_nested,
                    });
                }
                if !deadline.is_blocking() {
                    self.mark_unwritable(&state);
                    return Err(Error::WouldBlock);
                }
                if state.is_written_by_me() {
                    // Asynchronous writes of the handler wait before this one, and the write that it interrupted cannot
                    // end before the handler does.
                    self.frame_waiting(&mut state, FrameReason::Nested);
                    if state.may_append() {
                        continue;
                    }
                }
            }
            let can_go_on = |state: &State| {
                state.may_append() || (state.is_written_by_me() && state.has_wakeup_space())
            };
            self.drive_until(can_go_on, State::check, deadline)?;
        }
    }
}

/// The right to append; given back when the write ends.
struct Writer {
    stream: Arc<SendStream>,
    /// A signal handler writes in the middle of a write of its own thread.
    is_nested: bool,
}

impl Drop for Writer {
    fn drop(&mut self) {
        let Ok(mut state) = self.stream.enter() else {
            return;
        };
        if self.is_nested {
            return;
        }
        state.writer = None;
        self.stream.note_change(&state);
        if state.async_writes.is_framed() {
            self.stream.note_space(&state);
        } else {
            self.stream
                .frame_waiting(&mut state, FrameReason::SpaceAppeared);
            self.stream.settle_entered(state);
        }
    }
}

/// Whether the file can be read at its first byte, and has one there: before its bytes are promised to the peer.
fn has_byte_at(file: &OwnedFd, offset: u64, may_wait: bool) -> Result<bool> {
    let mut byte = [0];
    let mut buffers = [std::io::IoSliceMut::new(&mut byte)];
    match sys::read_at(file, &mut buffers, offset, !may_wait) {
        Ok(count) => Ok(count > 0),
        // Not in memory: that is seen when it is read.
        Err(rustix::io::Errno::AGAIN) => Ok(true),
        Err(errno) => Err(Error::File { errno, offset }),
    }
}
