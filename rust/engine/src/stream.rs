//! The send side of one connection: who may append, who seals, who sends.
//!
//! Any thread may help a stream along: it takes the ready head and sends it, or claims the next unit and seals it,
//! one [`Stream::step`] at a time. One thread sends at once, so the order is the buffer's; several may seal.
//! Whoever leaves a stream that still holds bytes sees to it that somebody goes on ([`Stream::settle`]): another thread
//! that is inside, the poller that waits for writability, or a turn at its worker.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use ktls_record::Seal;

use crate::error::{Error, Result};
use crate::frames::{Owner, Payload, Run, WriteKey};
use crate::output::Output;
use crate::readiness::Readiness;
use crate::seal::{self, Outcome};
use crate::send_buffer::{self, Claim, Sealed, SendBuffer, Transmit};
use crate::workers::Pool;
use crate::{counters, gate, sys, tunables};

/// How long a call may wait, and who may stop it.
pub struct Patience<'a> {
    /// Whether it may wait at all.
    pub may_wait: bool,
    /// Until when; None: for ever.
    pub deadline: Option<Instant>,
    /// Asked whenever a signal came or a moment passed: true ends the wait with EINTR.
    pub interrupted: &'a mut dyn FnMut() -> bool,
}

/// What a write brings: bytes to look at now, and, where there is one, an owner that keeps them.
pub enum Data<'a> {
    /// Bytes that must be copied to outlive the call.
    Borrowed(&'a [u8]),
    /// Bytes that can be referenced.
    Shared(Owner),
}

impl Data<'_> {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Shared(owner) => (**owner).as_ref(),
        }
    }
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Progress,
    /// TCP takes nothing now.
    Blocked,
    /// Others are at all there is to do.
    Busy,
    Empty,
}

/// The connection has failed; the state says how.
#[derive(Clone, Copy, Debug)]
struct Failed;

/// What a thread does for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// The caller: seals and sends, and may wait for a file.
    Caller,
    /// A worker: seals and sends, and passes a cold file on.
    Worker,
    /// A worker beside somebody who sends.
    Sealer,
}

#[derive(Default)]
struct State {
    buffer: SendBuffer,
    /// Somebody is in the middle of a write of several pieces.
    writing: bool,
    sending: bool,
    blocked: bool,
    /// The poller will tell when the socket is writable.
    armed: bool,
    /// Callers inside poll(2) on the socket, who will go on by themselves.
    polling: usize,
    waiting: usize,
    shut: bool,
    closed: bool,
    finished: bool,
    error: Option<Error>,
    error_raised: bool,
}

impl State {
    /// Raises an error found since the last call, once; afterwards EPIPE.
    fn check(&mut self) -> Result<()> {
        if self.closed {
            return Err(Error::closed());
        }
        if let Some(error) = &self.error {
            if self.error_raised {
                return Err(Error::new(
                    Errno::PIPE,
                    format!("the connection has failed already: {error}"),
                ));
            }
            self.error_raised = true;
            return Err(error.clone());
        }
        if self.shut {
            Err(Error::shut_down())
        } else {
            Ok(())
        }
    }

    fn room(&self) -> usize {
        tunables::sendspace::get().saturating_sub(self.buffer.held)
    }
}

/// See the head of this file.
pub struct Stream {
    pub(crate) id: u64,
    generation: u32,
    pid: u32,
    pub(crate) pool: Arc<Pool>,
    output: Box<dyn Output>,
    state: Mutex<State>,
    changed: Condvar,
    /// Counts changes of `state`, for threads that look again before they sleep.
    changes: AtomicUsize,
    /// A turn at the worker is coming.
    pub(crate) scheduled: AtomicBool,
    /// A second worker was asked to seal for this stream.
    pub(crate) helped: AtomicBool,
    readiness: Mutex<Option<Arc<Readiness>>>,
}

/// The content type of application data (RFC 8446 §5.1).
const APPLICATION_DATA: u8 = 23;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Stream {
    /// A stream without a key over this transport: bytes go out as they are.
    pub fn new(output: Box<dyn Output>, pool: Arc<Pool>) -> Arc<Self> {
        Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            generation: gate::generation(),
            pid: std::process::id(),
            pool,
            output,
            state: Mutex::default(),
            changed: Condvar::new(),
            changes: AtomicUsize::new(0),
            scheduled: AtomicBool::new(false),
            helped: AtomicBool::new(false),
            readiness: Mutex::new(None),
        })
    }

    // -- what a program asks for ----------------------------------------------------------------

    /// Frames everything accepted from now on with this key, from this number on.
    ///
    /// # Errors
    /// What an earlier failure left; ENOTCONN-like causes are the caller's to check.
    pub fn install(&self, seal: Box<dyn Seal>, sequence: u64, max_frame_len: usize) -> Result<()> {
        self.check_process()?;
        let _pass = gate::enter();
        let mut state = self.lock();
        state.check()?;
        if state.buffer.transmit.is_none() {
            counters::ACTIVE.add(1);
        }
        let key = Arc::new(WriteKey::new(seal, max_frame_len));
        state.buffer.transmit = Some(Transmit { key, sequence });
        Ok(())
    }

    /// Number of the next record; None before a key is installed.
    pub fn sequence(&self) -> Option<u64> {
        self.lock_unless_stale().and_then(|state| {
            state
                .buffer
                .transmit
                .as_ref()
                .map(|transmit| transmit.sequence)
        })
    }

    /// Payload bytes accepted and not yet taken by TCP.
    pub fn pending(&self) -> usize {
        self.lock_unless_stale()
            .map_or(0, |state| state.buffer.held)
    }

    /// Accepts bytes: all of them when it may wait, else what there is room for.
    ///
    /// `whole`: all at once or nothing (EMSGSIZE when it can never fit). `more`: the caller goes on at once.
    ///
    /// # Errors
    /// EAGAIN, ETIMEDOUT or EINTR when nothing was accepted; whatever ended the connection.
    pub fn send(
        self: &Arc<Self>,
        data: &Data<'_>,
        content_type: u8,
        whole: bool,
        patience: &mut Patience<'_>,
    ) -> Result<usize> {
        self.check_process()?;
        let len = data.as_slice().len();
        if len <= tunables::gather_max::get()
            && let Some(done) = self.gather(data.as_slice(), content_type)
        {
            done?;
            self.push_along(patience);
            return Ok(len);
        }
        let sendspace = tunables::sendspace::get();
        if whole && len > sendspace {
            return Err(Error::new(
                Errno::MSGSIZE,
                format!(
                    "{len} bytes must go as one, but kern.ipc.tls.sendspace is {sendspace}; send less or raise it"
                ),
            ));
        }
        let owner: Owner = match data {
            Data::Borrowed(bytes) => Arc::new(bytes.to_vec()),
            Data::Shared(owner) => Arc::clone(owner),
        };
        let _writer = self.begin_write(patience)?;
        let source = |position: usize| Payload::Bytes {
            owner: Arc::clone(&owner),
            start: position,
        };
        self.write_pieces(
            len,
            content_type,
            if whole { len } else { 1 },
            source,
            patience,
        )
    }

    /// Accepts `count` bytes of a regular file from `offset`; short at the end of the file. When it may wait it
    /// returns once the file was read, so that the caller may change it.
    ///
    /// # Errors
    /// As [`Stream::send`]; EINVAL for anything but a regular file.
    pub fn send_file(
        self: &Arc<Self>,
        file: OwnedFd,
        offset: u64,
        count: u64,
        patience: &mut Patience<'_>,
    ) -> Result<u64> {
        self.check_process()?;
        let during = "cannot look at the file";
        let Some(size) =
            sys::regular_file_len(&file).map_err(|errno| Error::from_errno(errno, during))?
        else {
            return Err(Error::new(
                Errno::INVAL,
                "not a regular file; read it and send what was read",
            ));
        };
        let len = count.min(size.saturating_sub(offset));
        if len == 0 {
            return Ok(0);
        }
        let file = Arc::new(file);
        let _writer = self.begin_write(patience)?;
        let source = |position: usize| Payload::File {
            file: Arc::clone(&file),
            offset: offset + position as u64,
        };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let accepted = self.write_pieces(len, APPLICATION_DATA, 1, source, patience)?;
        if patience.may_wait && accepted == len {
            let read = self.drive(|state| state.buffer.files_unread == 0, patience);
            self.settle();
            read?;
        }
        Ok(accepted as u64)
    }

    /// Waits until TCP has taken everything accepted so far.
    ///
    /// # Errors
    /// ETIMEDOUT, EINTR, or whatever ended the connection.
    pub fn flush(self: &Arc<Self>, patience: &mut Patience<'_>) -> Result<()> {
        self.check_process()?;
        let result = self.drive(|state| state.buffer.is_empty(), patience);
        self.settle();
        result
    }

    /// Ends the write side after everything accepted.
    ///
    /// # Errors
    /// EBADF when closed; EPIPE is not raised for a second time.
    pub fn shutdown_write(self: &Arc<Self>) -> Result<()> {
        self.check_process()?;
        {
            let _pass = gate::enter();
            let mut state = self.lock();
            if !state.shut {
                state.check()?;
            }
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
            state.shut = true;
            state.closed = true;
            self.note_change(&state);
            if self.readiness().take().is_some() {
                self.pool.unwatch(self);
            }
        }
        self.settle();
    }

    /// Drops what is held and resets the connection.
    pub fn abort(self: &Arc<Self>) {
        if self.is_stale() {
            return;
        }
        let _pass = gate::enter();
        let mut state = self.lock();
        self.fail(
            &mut state,
            Error::new(
                Errno::CONNABORTED,
                "the connection was aborted by this program",
            ),
        );
        state.error_raised = true;
    }

    /// A descriptor for select, poll and epoll.
    ///
    /// # Errors
    /// EMFILE and the like.
    pub fn poll_descriptor(self: &Arc<Self>) -> Result<i32> {
        self.check_process()?;
        let _pass = gate::enter();
        let state = self.lock();
        if state.closed {
            return Err(Error::closed());
        }
        let mut slot = self.readiness();
        if let Some(readiness) = slot.as_ref() {
            return Ok(readiness.raw_fd());
        }
        let made = Readiness::new()
            .map_err(|errno| Error::from_errno(errno, "cannot make a poll descriptor"))?;
        let made = Arc::new(made);
        self.pool.watch(self, &made, self.output.ready())?;
        let descriptor = made.raw_fd();
        *slot = Some(made);
        Ok(descriptor)
    }

    /// The socket was read: its poll descriptor starts anew. `more`: plaintext is left above.
    pub fn consumed(self: &Arc<Self>, more: bool) {
        if self.is_stale() {
            return;
        }
        let _pass = gate::enter();
        if let Some(readiness) = self.readiness().as_ref() {
            readiness.set_readable(more);
            if !more {
                self.pool.rearm(self);
            }
        }
    }

    /// Where the bytes go.
    pub fn route(&self) -> String {
        self.output.route()
    }

    // -- appending ------------------------------------------------------------------------------

    /// Seals a short write at once behind what is ready. None: it has to queue.
    fn gather(&self, data: &[u8], content_type: u8) -> Option<Result<()>> {
        let _pass = gate::enter();
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Err(error) = state.check() {
            return Some(Err(error));
        }
        let limit = tunables::flush_unit::get();
        if state.writing || !state.buffer.may_gather(state.blocked) || state.room() < data.len() {
            return None;
        }
        let size = match &state.buffer.transmit {
            None => data.len(),
            Some(transmit) => transmit.key.wire_size(data.len()),
        };
        if state.buffer.gathering(size, limit).is_none() {
            if state.buffer.units() >= tunables::pipeline_depth::get() {
                return None;
            }
            let pages = self
                .pool
                .pages
                .take(send_buffer::wire_room(limit).max(size));
            state.buffer.push_ready(Sealed {
                pages,
                start: 0,
                end: 0,
                plain: 0,
            });
        }
        let framing = match state.buffer.frame(data.len() as u64, content_type) {
            Ok(framing) => framing,
            Err(error) => return Some(Err(error)),
        };
        let sealed = state.buffer.gathering(size, usize::MAX)?;
        let at = sealed.end;
        if let Err(error) = seal::seal_now(&framing, data, &mut sealed.pages[at..]) {
            self.fail(state, error);
            return Some(state.check());
        }
        sealed.end += size;
        sealed.plain += data.len();
        state.buffer.held += data.len();
        counters::BYTES.add(data.len() as u64);
        Some(Ok(()))
    }

    /// Appends `len` bytes piece by piece as room appears, at least `least` at a time.
    fn write_pieces(
        self: &Arc<Self>,
        len: usize,
        content_type: u8,
        least: usize,
        source: impl Fn(usize) -> Payload,
        patience: &mut Patience<'_>,
    ) -> Result<usize> {
        let mut accepted = 0;
        loop {
            let added = self.append_piece(len - accepted, content_type, least, || source(accepted));
            match added {
                Ok(added) => accepted += added,
                Err(error) => {
                    self.settle();
                    return Err(error);
                }
            }
            if accepted == len || (accepted > 0 && !patience.may_wait) {
                break;
            }
            let lowat = tunables::sendlowat::get();
            let enough = least
                .max((len - accepted).min(tunables::sendspace::get().saturating_sub(lowat).max(1)));
            self.call_helper(len - accepted);
            if let Err(error) = self.drive(|state| state.room() >= enough, patience) {
                self.settle();
                let soft = error.is_timed_out() || error.is_would_block() || error.is_interrupted();
                if accepted > 0 && soft {
                    return Ok(accepted);
                }
                if error.is_would_block() {
                    self.refuse();
                }
                return Err(error);
            }
        }
        self.push_along(patience);
        Ok(accepted)
    }

    fn append_piece(
        &self,
        wanted: usize,
        content_type: u8,
        least: usize,
        source: impl FnOnce() -> Payload,
    ) -> Result<usize> {
        let _pass = gate::enter();
        let mut state = self.lock();
        state.check()?;
        let room = state.room();
        let mut take = wanted.min(room);
        if take < least.min(wanted) {
            return Ok(0);
        }
        if take < wanted && least <= 1 {
            // Full records inside a write: only its last one may be short.
            let frame_len = state
                .buffer
                .transmit
                .as_ref()
                .map_or(1, |transmit| transmit.key.max_frame_len);
            let cut = take - take % frame_len;
            take = if cut > 0 { cut } else { take };
        }
        let framing = state.buffer.frame(take as u64, content_type)?;
        let run = Run {
            framing,
            payload: source(),
            len: take as u64,
        };
        counters::BYTES.add(take as u64);
        state.buffer.append(run);
        Ok(take)
    }

    /// After a write: seals and sends what the caller should, and leaves the rest to others.
    fn push_along(self: &Arc<Self>, patience: &Patience<'_>) {
        let held = self.lock().buffer.held;
        if patience.may_wait || held <= tunables::inline_max::get() {
            while matches!(self.step(Role::Caller), Ok(Step::Progress)) {}
        }
        self.settle();
    }

    /// Marks the poll descriptor as not writable, since a write was just refused.
    fn refuse(&self) {
        let _pass = gate::enter();
        let state = self.lock();
        if state.room() == 0
            && let Some(readiness) = self.readiness().as_ref()
        {
            readiness.set_writable(false);
        }
    }

    fn begin_write(self: &Arc<Self>, patience: &mut Patience<'_>) -> Result<Writer> {
        loop {
            {
                let _pass = gate::enter();
                let mut state = self.lock();
                state.check()?;
                if !state.writing {
                    state.writing = true;
                    return Ok(Writer(Arc::clone(self)));
                }
            }
            if !patience.may_wait {
                return Err(Error::would_block());
            }
            self.wait_for_change(|state| state.writing, patience)?;
        }
    }

    // -- the way of the bytes -------------------------------------------------------------------

    /// Helps the stream along until `until` holds.
    fn drive(
        self: &Arc<Self>,
        until: impl Fn(&State) -> bool,
        patience: &mut Patience<'_>,
    ) -> Result<()> {
        loop {
            self.check()?;
            if until(&self.lock()) {
                return Ok(());
            }
            if !patience.may_wait {
                // One try: what the socket takes at once makes room.
                while matches!(self.step(Role::Caller), Ok(Step::Progress)) {}
                self.check()?;
                return if until(&self.lock()) {
                    Ok(())
                } else {
                    Err(Error::would_block())
                };
            }
            match self.step(Role::Caller) {
                // A failure is raised at the head of the loop.
                Ok(Step::Progress | Step::Empty) | Err(Failed) => {}
                Ok(Step::Blocked) => self.wait_writable(patience)?,
                Ok(Step::Busy) => {
                    let seen = |state: &State| {
                        !until(state) && (state.sending || state.buffer.is_sealing())
                    };
                    self.wait_for_change(seen, patience)?;
                }
            }
        }
    }

    /// Sends the ready head, or seals the next unit; one of them, once.
    fn step(self: &Arc<Self>, role: Role) -> core::result::Result<Step, Failed> {
        let _pass = gate::enter();
        let mut state = self.lock();
        if state.error.is_some() {
            return Err(Failed);
        }
        if role != Role::Sealer && !state.sending && !state.blocked {
            let more = |state: &State| state.buffer.has_more();
            if let Some(sealed) = state.buffer.take_ready() {
                state.sending = true;
                let more = more(&state);
                drop(state);
                return self.send_unit(sealed, more);
            }
        }
        // Just in time: nothing more is sealed while the socket is full.
        let ahead = state.buffer.units();
        let may_seal = if state.blocked {
            ahead == 0
        } else {
            ahead < tunables::pipeline_depth::get()
        };
        if may_seal && let Some(claim) = state.buffer.claim(tunables::flush_unit::get()) {
            drop(state);
            return self.seal_unit(claim, role);
        }
        Ok(if state.blocked {
            Step::Blocked
        } else if state.buffer.is_empty() && !state.sending {
            Step::Empty
        } else {
            Step::Busy
        })
    }

    fn send_unit(&self, mut sealed: Sealed, more: bool) -> core::result::Result<Step, Failed> {
        let sent = self
            .output
            .send(&sealed.pages[sealed.start..sealed.end], more);
        let mut state = self.lock();
        state.sending = false;
        if state.error.is_some() {
            self.pool.pages.give_back(sealed.pages);
            self.note_change(&state);
            return Ok(Step::Progress);
        }
        let step = match sent {
            Ok(count) => {
                state.buffer.held -= sealed.advance(count);
                if sealed.start == sealed.end {
                    self.pool.pages.give_back(sealed.pages);
                } else {
                    state.buffer.put_back(sealed);
                }
                self.note_room(&state);
                Ok(Step::Progress)
            }
            Err(Errno::AGAIN) => {
                state.blocked = true;
                state.buffer.put_back(sealed);
                Ok(Step::Blocked)
            }
            Err(errno) => {
                self.pool.pages.give_back(sealed.pages);
                self.fail(&mut state, Error::from_errno(errno, "sending failed"));
                Err(Failed)
            }
        };
        self.note_change(&state);
        step
    }

    fn seal_unit(self: &Arc<Self>, claim: Claim, role: Role) -> core::result::Result<Step, Failed> {
        self.pool.maybe_delay();
        let counter = if role == Role::Caller {
            &counters::UNITS_INLINE
        } else {
            &counters::UNITS_POOL
        };
        counter.add(1);
        let mut pages = self
            .pool
            .pages
            .take(send_buffer::wire_room(tunables::flush_unit::get()).max(claim.wire_size));
        match seal::seal(&claim, &mut pages, role != Role::Caller) {
            Ok(Outcome::Done(end)) => {
                self.unit_ready(&claim, pages, end);
                Ok(Step::Progress)
            }
            Ok(Outcome::Cold) => {
                counters::COLD_READS.add(1);
                self.pool.read_cold(self, claim, pages);
                Ok(Step::Busy)
            }
            Err(error) => {
                self.pool.pages.give_back(pages);
                let mut state = self.lock();
                self.fail(&mut state, error);
                Err(Failed)
            }
        }
    }

    fn unit_ready(&self, claim: &Claim, pages: crate::pages::Pages, end: usize) {
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
    }

    /// Seals a claim whose file had to be waited for; on the thread that may wait.
    pub(crate) fn seal_cold(self: &Arc<Self>, claim: &Claim, mut pages: crate::pages::Pages) {
        // The read waits outside the gate, as a fork must not wait for a disk.
        let sealed = seal::seal(claim, &mut pages, false);
        let _pass = gate::enter();
        match sealed {
            Ok(Outcome::Done(end)) => self.unit_ready(claim, pages, end),
            Ok(Outcome::Cold) | Err(_) => {
                let error = sealed
                    .err()
                    .unwrap_or_else(|| Error::new(Errno::IO, "the file cannot be read"));
                self.pool.pages.give_back(pages);
                let mut state = self.lock();
                self.fail(&mut state, error);
            }
        }
        self.pool.schedule(self);
    }

    /// A worker's turn: until the stream rests, or its quantum is used up.
    pub(crate) fn turn(self: &Arc<Self>) {
        self.scheduled.store(false, Ordering::Release);
        let quantum = tunables::quantum::get();
        let start = self.lock().buffer.held;
        while let Ok(Step::Progress) = self.step(Role::Worker) {
            if start.saturating_sub(self.lock().buffer.held) >= quantum {
                break;
            }
        }
        self.settle();
    }

    /// A worker beside a sending caller: seals ahead of it.
    pub(crate) fn help(self: &Arc<Self>) {
        loop {
            match self.step(Role::Sealer) {
                Ok(Step::Progress) => {}
                Ok(Step::Empty) | Err(_) => break,
                Ok(Step::Blocked | Step::Busy) => {
                    let seen = self.changes.load(Ordering::Acquire);
                    if !self.spin(seen) {
                        break;
                    }
                }
            }
        }
        self.helped.store(false, Ordering::Release);
        self.settle();
    }

    /// The socket became writable.
    pub(crate) fn unblocked(self: &Arc<Self>) {
        {
            let _pass = gate::enter();
            let mut state = self.lock();
            state.armed = false;
            state.blocked = false;
            self.note_change(&state);
        }
    }

    /// A worker stumbled over this stream: whatever state it is in, its connection ends.
    pub(crate) fn broken(self: &Arc<Self>) {
        let _pass = gate::enter();
        let mut state = self.lock();
        state.sending = false;
        self.fail(
            &mut state,
            Error::new(
                Errno::IO,
                "an internal error of ktls; the connection was reset",
            ),
        );
    }

    /// Sees to it that a stream which still holds bytes is not left alone.
    fn settle(self: &Arc<Self>) {
        let _pass = gate::enter();
        let mut state = self.lock();
        if state.buffer.is_empty() || state.error.is_some() {
            if state.shut && !state.finished && !state.sending {
                state.finished = true;
                if state.error.is_none() {
                    // A peer that has gone already is no news here.
                    let _ = self.output.finish();
                }
                self.note_change(&state);
            }
            return;
        }
        if state.sending || state.buffer.is_sealing() {
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
                let mut state = self.lock();
                self.fail(&mut state, error);
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

    fn call_helper(self: &Arc<Self>, left: usize) {
        if left >= tunables::handoff_min::get() && !self.helped.swap(true, Ordering::AcqRel) {
            self.pool.help(self);
        }
    }

    // -- waiting --------------------------------------------------------------------------------

    fn wait_writable(self: &Arc<Self>, patience: &mut Patience<'_>) -> Result<()> {
        self.lock().polling += 1;
        let waited = loop {
            let timeout = match remaining(patience.deadline) {
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
    fn wait_for_change(
        &self,
        unchanged: impl Fn(&State) -> bool,
        patience: &mut Patience<'_>,
    ) -> Result<()> {
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
            let left = remaining(patience.deadline);
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
    fn spin(&self, seen: usize) -> bool {
        self.pool
            .spin_until(|| self.changes.load(Ordering::Acquire) != seen)
    }

    // -- state ----------------------------------------------------------------------------------

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_unless_stale(&self) -> Option<MutexGuard<'_, State>> {
        (!self.is_stale()).then(|| self.lock())
    }

    fn readiness(&self) -> MutexGuard<'_, Option<Arc<Readiness>>> {
        self.readiness
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Raises what ended the connection; a write side that was only shut down still drains.
    fn check(&self) -> Result<()> {
        let mut state = self.lock();
        if state.error.is_some() || state.closed {
            state.check()
        } else {
            Ok(())
        }
    }

    fn note_change(&self, state: &State) {
        self.changes.fetch_add(1, Ordering::Release);
        if state.waiting > 0 {
            self.changed.notify_all();
        }
    }

    fn note_room(&self, state: &State) {
        if state.buffer.held <= tunables::sendlowat::get()
            && let Some(readiness) = self.readiness().as_ref()
        {
            readiness.set_writable(true);
        }
    }

    /// Ends the connection: nothing held can be sent any more.
    fn fail(&self, state: &mut State, error: Error) {
        if state.error.is_none() {
            state.error = Some(error);
            state.buffer.clear();
            self.output.abort();
            if let Some(readiness) = self.readiness().as_ref() {
                readiness.set_writable(true);
            }
        }
        self.note_change(state);
    }

    pub(crate) fn is_stale(&self) -> bool {
        self.generation != gate::generation()
    }

    fn check_process(&self) -> Result<()> {
        if self.is_stale() {
            return Err(Error::new(
                Errno::PERM,
                format!(
                    "this connection belongs to process {}, which was forked; a child that went on would use the same \
                     keys and sequence numbers again: open a connection of its own",
                    self.pid
                ),
            ));
        }
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
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

/// The right to append; given back when the write ends.
struct Writer(Arc<Stream>);

impl Drop for Writer {
    fn drop(&mut self) {
        let _pass = gate::enter();
        let mut state = self.0.lock();
        state.writing = false;
        self.0.note_change(&state);
    }
}

fn remaining(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
}
