//! The send side of one connection: who may append, who seals, who sends.
//!
//! Any thread may help a stream along: it takes the ready head and sends it, or claims the next unit and seals it, one
//! step at a time (`pump.rs`). One thread sends at once, so the order is the buffer's; several may seal. Whoever leaves a
//! stream that still holds bytes sees to it that somebody goes on: another thread that is inside, the poller that waits
//! for writability, or a turn at its worker. Writes are `append.rs`, whose turn it is `writer.rs`, asynchronous ones `aio.rs`, records held
//! open `open_record.rs`, new keys `rekey.rs`, the end `end.rs`; waiting is `wait.rs`, what is known is `state.rs`.

mod aio;
mod aio_queue;
mod append;
mod end;
mod open_record;
mod pump;
mod rekey;
mod rhythm;
mod state;
mod wait;
mod writer;

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use self::aio_queue::When;
use self::rhythm::Rhythm;
use self::state::State;
pub use self::wait::Patience;
use crate::error::{Error, Result};
use crate::frames::{APPLICATION_DATA, Owner, Payload};
use crate::output::Output;
use crate::readiness::Readiness;
use crate::transmit::NewKey;
use crate::workers::Pool;
use crate::{counters, gate, sys, tunables};

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// What a write brings: bytes to look at now, and, where there is one, an owner that keeps them.
pub enum Data<'a> {
    /// Bytes that must be copied to outlive the call.
    Borrowed(&'a [u8]),
    /// Bytes that can be referenced.
    Shared(Owner),
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

    fn to_owner(&self) -> Owner {
        match self {
            Self::Borrowed(bytes) => Arc::new(bytes.to_vec()),
            Self::Shared(owner) => Arc::clone(owner),
        }
    }
}

/// How a write is framed.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// The content type of its records.
    pub content_type: u8,
    /// All of it at once or nothing, in records of its own.
    pub whole: bool,
    /// More data follows: the last record stays open for it.
    pub more: bool,
}

impl Manner {
    /// Application data, as much as there is room for.
    pub const DATA: Self = Self {
        content_type: APPLICATION_DATA,
        whole: false,
        more: false,
    };

    /// Whether it may share a record with another write.
    fn may_join(self) -> bool {
        self.content_type == APPLICATION_DATA && !self.whole
    }
}

type Guard<'a> = MutexGuard<'a, State>;

/// See the head of this file.
pub struct Stream {
    pub(crate) id: u64,
    generation: u32,
    pid: u32,
    pool: Arc<Pool>,
    output: Box<dyn Output>,
    state: Mutex<State>,
    changed: Condvar,
    /// Counts changes of `state`, for threads that look again before they sleep.
    changes: AtomicUsize,
    /// A turn at the worker is coming.
    pub(crate) scheduled: AtomicBool,
    rhythm: Rhythm,
    readiness: Mutex<Option<Arc<Readiness>>>,
}

impl Stream {
    /// A stream without a key over this transport: bytes go out as they are.
    pub fn new(output: Box<dyn Output>, pool: Arc<Pool>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::new(output.is_connected())),
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            generation: gate::generation(),
            pid: std::process::id(),
            pool,
            output,
            changed: Condvar::new(),
            changes: AtomicUsize::new(0),
            scheduled: AtomicBool::new(false),
            rhythm: Rhythm::default(),
            readiness: Mutex::new(None),
        })
    }

    /// Frames everything accepted from now on with this key: the first, or another before it has sealed anything.
    ///
    /// # Errors
    /// What an earlier failure left; EINVAL for a key that was used here before.
    pub fn install(self: &Arc<Self>, new: NewKey) -> Result<()> {
        self.check_process()?;
        let _pass = gate::enter();
        let mut state = self.lock();
        state.check()?;
        state.buffer.check_unused(&new)?;
        if state.buffer.transmit.is_none() {
            counters::ACTIVE.add(1);
        }
        self.frame_waiting(&mut state, When::KeysChange);
        state.buffer.close_record();
        state.buffer.set_key(new);
        self.help_along(state);
        Ok(())
    }

    /// Number of the next record; None before a key is installed.
    pub fn sequence(&self) -> Option<u64> {
        let state = self.lock_unless_stale()?;
        state
            .buffer
            .transmit
            .as_ref()
            .map(|transmit| transmit.sequence)
    }

    /// Payload bytes accepted and not yet taken by TCP.
    pub fn pending(&self) -> usize {
        self.lock_unless_stale()
            .map_or(0, |state| state.buffer.held)
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
        let size = sys::regular_file_len(&file)
            .map_err(|errno| Error::from_errno(errno, "cannot look at the file"))?
            .ok_or_else(|| {
                let why = "not a regular file; read it and send what was read";
                Error::new(Errno::INVAL, why)
            })?;
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
        let accepted = self.write_pieces(len, Manner::DATA, source, patience)?;
        if patience.may_wait && accepted == len {
            let read = self.drive(|state| state.buffer.files_unread == 0, patience);
            self.settle();
            // What was accepted must not be offered again: too late, or interrupted, is no error of this call any more.
            read.or_else(|error| {
                if error.is_timed_out() || error.is_interrupted() {
                    Ok(())
                } else {
                    Err(error)
                }
            })?;
        }
        Ok(accepted as u64)
    }

    /// Waits until TCP has taken everything accepted so far.
    ///
    /// # Errors
    /// ETIMEDOUT, EINTR, or whatever ended the connection.
    pub fn flush(self: &Arc<Self>, patience: &mut Patience<'_>) -> Result<()> {
        self.check_process()?;
        let (accepted, last) = {
            let _pass = gate::enter();
            let mut state = self.lock();
            state.buffer.close_record();
            (state.buffer.accepted(), state.aio.newest())
        };
        // What others write meanwhile is not waited for.
        let sent = |state: &State| {
            let drained = !state.buffer.has_work() && !state.sending;
            (drained || state.buffer.delivered > accepted) && !state.aio.has_up_to(last)
        };
        let result = self.drive(sent, patience);
        self.settle();
        result
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

    // -- state ----------------------------------------------------------------------------------

    fn lock(&self) -> Guard<'_> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_unless_stale(&self) -> Option<Guard<'_>> {
        (!self.is_stale()).then(|| self.lock())
    }

    fn readiness(&self) -> MutexGuard<'_, Option<Arc<Readiness>>> {
        self.readiness
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn note_change(&self, state: &State) {
        self.changes.fetch_add(1, Ordering::Release);
        if state.waiting > 0 {
            self.changed.notify_all();
        }
    }

    fn note_room(&self, state: &State) {
        if state.buffer.held <= tunables::sendlowat::get()
            && state.aio.is_framed()
            && let Some(readiness) = self.readiness().as_ref()
        {
            readiness.set_writable(true);
        }
    }

    fn is_stale(&self) -> bool {
        self.generation != gate::generation()
    }

    /// Raises what keeps a write from being accepted: an earlier error, the end of the write side, no peer.
    fn check_writable(&self, state: &mut State) -> Result<()> {
        state.check()?;
        if !state.connected {
            if !self.output.is_connected() {
                let why = "the socket is not connected; connect it, or send with sendto";
                return Err(Error::new(Errno::NOTCONN, why));
            }
            state.connected = true;
        }
        Ok(())
    }

    fn check_process(&self) -> Result<()> {
        if self.is_stale() {
            return Err(Error::new(
                Errno::PERM,
                format!(
                    "this connection belongs to process {}, which was forked; a child that went on would use \
                     the same keys and sequence numbers again: open a connection of its own",
                    self.pid
                ),
            ));
        }
        Ok(())
    }
}
