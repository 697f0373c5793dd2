//! The send half of one connection: who may append, who seals, who sends.
//!
//! Any thread may help a stream along: it takes the ready head and sends it, or claims the next batch and seals it, one
//! step at a time (`drive.rs`). One thread sends at once, so the order is the buffer's; several may seal. A thread that
//! leaves a stream which still holds bytes sees to it that another goes on (`driver.rs`). Writes are `write.rs` and
//! `append.rs`, asynchronous ones `async_write.rs`, records held open `open_record.rs`, new keys `key_change.rs`, the
//! end `close.rs` and `lifecycle.rs`; waiting is `wait.rs`, what is known under the lock `state.rs`.

mod append;
mod async_queue;
mod async_write;
mod buffer;
mod burst;
mod close;
mod control;
mod data;
mod drive;
mod driver;
mod entered;
mod fragmenter;
mod key_change;
mod lifecycle;
mod open_record;
mod run;
mod seal;
mod send_file;
mod space;
mod state;
mod task;
mod wait;
mod write;
mod write_state;
mod writer;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;

pub use self::control::AfterMessage;
pub use self::data::{Data, WriteFlags};
pub use self::fragmenter::RecordSplit;
pub use self::key_change::KeyUpdate;
pub use self::run::SharedBytes;
pub use self::write_state::{NewWriteState, UpdateSecret};

use self::async_queue::FrameReason;
use self::burst::BurstDetector;
use self::entered::Entered;
use self::state::State;
use crate::error::{Error, Result};
use crate::fork_lock::OwnerProcess;
use crate::poll_fd::{KeptPollFd, PollFd, ReadReadiness};
use crate::pool::{Pool, Task, lock};
use crate::sys;
use crate::traffic::{self, Traffic};
use crate::transport::Transport;
use crate::{counters, fork_lock};

/// What a stream had accepted at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    wire_end: u64,
    newest: u64,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// See the head of this file.
pub struct SendStream {
    id: u64,
    /// See [`Task::queue`].
    queue: usize,
    owner: OwnerProcess,
    pool: Arc<Pool>,
    transport: Box<dyn Transport>,
    state: Mutex<State>,
    changed: Condvar,
    /// Counts changes of `state`, for threads that look again before they sleep.
    changes: AtomicUsize,
    /// A turn at the worker is coming.
    scheduled: AtomicBool,
    burst: BurstDetector,
    readiness: OnceLock<Weak<dyn ReadReadiness>>,
    /// There is a poll descriptor to be told of reads; never unset.
    is_polled: AtomicBool,
}

impl SendStream {
    /// A stream without a key over this transport: bytes go out as they are. Its queue is chosen by its flow.
    pub fn new(transport: Box<dyn Transport>, pool: Arc<Pool>) -> Arc<Self> {
        Self::with_queue(transport, pool, None)
    }

    /// The same in the queue of this number, modulo their number.
    pub fn with_queue(
        transport: Box<dyn Transport>,
        pool: Arc<Pool>,
        queue: Option<usize>,
    ) -> Arc<Self> {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        // Without a peer there is no flow yet, and those go round.
        let queue = queue
            .or_else(|| transport.flow_hash())
            .unwrap_or_else(|| usize::try_from(id).unwrap_or(0));
        let stream = Arc::new(Self {
            id,
            queue,
            owner: OwnerProcess::current(),
            state: Mutex::new(State::new(
                transport.is_connected(),
                Arc::clone(&pool.memory),
            )),
            pool,
            transport,
            changed: Condvar::new(),
            changes: AtomicUsize::new(0),
            scheduled: AtomicBool::new(false),
            burst: BurstDetector::default(),
            readiness: OnceLock::new(),
            is_polled: AtomicBool::new(false),
        });
        stream.pool.register(&stream.as_task());
        stream
    }

    /// Frames everything accepted from now on with this key: the first, or another before it has sealed anything.
    ///
    /// # Errors
    /// What an earlier failure left; EINVAL for a key that was used here before.
    pub fn install(self: &Arc<Self>, new: NewWriteState) -> Result<()> {
        let mut state = self.enter()?;
        state.check()?;
        state.ledger.check(new.fingerprint)?;
        if state.buffer.write_state.is_none() {
            counters::ACTIVE.add(1);
        }
        self.frame_waiting(&mut state, FrameReason::KeysChange);
        state.buffer.close_open_record();
        state.ledger.enter(new.fingerprint);
        state.buffer.set_write_state(new);
        self.flush_inline(state);
        Ok(())
    }

    /// Number of the next record; None before a key is installed.
    pub fn sequence(&self) -> Option<u64> {
        let state = self.look()?;
        state.buffer.write_state.as_ref().map(|keys| keys.sequence)
    }

    /// What it has sent under its keys. Nothing in a child of the process.
    pub fn traffic(&self) -> Traffic {
        self.look()
            .map_or_else(Traffic::default, |state| state.traffic())
    }

    /// Payload bytes accepted and not yet taken by TCP.
    pub fn pending(&self) -> usize {
        self.look().map_or(0, |state| state.buffer.held())
    }

    /// Waits until TCP has taken everything accepted so far, and nothing that is accepted later.
    ///
    /// # Errors
    /// As [`SendStream::flush_up_to`].
    pub fn flush(self: &Arc<Self>, deadline: &mut crate::Deadline<'_>) -> Result<()> {
        let accepted = self.accepted()?;
        self.flush_up_to(accepted, deadline)
    }

    /// What was accepted so far, for [`SendStream::flush_up_to`].
    ///
    /// # Errors
    /// EPERM.
    pub fn accepted(&self) -> Result<Accepted> {
        let mut state = self.enter()?;
        state.buffer.close_open_record();
        Ok(Accepted {
            wire_end: state.buffer.wire_framed(),
            newest: state.async_writes.newest_waiting(),
        })
    }

    /// Waits until TCP has taken this.
    ///
    /// # Errors
    /// EAGAIN when it may not wait, [`Error::DeadlinePassed`], EINTR, or whatever ended the connection.
    pub fn flush_up_to(
        self: &Arc<Self>,
        accepted: Accepted,
        deadline: &mut crate::Deadline<'_>,
    ) -> Result<()> {
        let sent = |state: &State| {
            state.buffer.wire_sent() >= accepted.wire_end
                && !state.async_writes.has_up_to(accepted.newest)
        };
        let result = self.drive_until(sent, |state| state.life.check_drain(), deadline);
        self.settle();
        result
    }

    /// A descriptor for select, poll and epoll. Before the socket is being connected it is in none of their states.
    ///
    /// # Errors
    /// EMFILE and the like.
    pub fn poll_descriptor(self: &Arc<Self>) -> Result<i32> {
        let mut state = self.enter()?;
        if state.life.is_closed() {
            return Err(Error::Closed);
        }
        if let Some(poll_fd) = &state.poll_fd {
            return Ok(poll_fd.raw_fd());
        }
        let has_peer = self.transport.has_peer();
        let made = Arc::new(PollFd::new(self.readiness.get().cloned(), has_peer)?);
        // The kernel says of a socket without a peer that it has hung up.
        let is_watched = state.connect_begun || self.transport.is_connected();
        if is_watched {
            self.pool.watch_readable(&self.as_task(), &made)?;
        }
        let descriptor = made.raw_fd();
        state.poll_fd = Some(Arc::clone(&made));
        // Before the look of `note_read`: a reader that does not see it has read before that.
        self.is_polled.store(true, Ordering::Release);
        drop(state);
        let at_once = Some(Duration::ZERO);
        if is_watched && sys::wait_readable(self.transport.poll_fd(), at_once) == Ok(true) {
            // What lies there already is told now, not when the poller comes to it.
            if made.on_readable() {
                self.pool.rearm_readable(self.as_ref());
            }
        } else {
            self.note_read();
        }
        Ok(descriptor)
    }

    /// The program has asked the kernel for a peer, whatever came of it: the poll descriptor tells from now on.
    pub fn note_connect(self: &Arc<Self>) {
        let Ok(mut state) = self.enter() else { return };
        let is_under_way = self.transport.is_connected();
        state.connect_begun |= is_under_way;
        let Some(poll_fd) = &state.poll_fd else {
            return;
        };
        let told = if is_under_way {
            let renewed = poll_fd.renew();
            renewed.and_then(|()| self.pool.watch_readable(&self.as_task(), poll_fd))
        } else {
            Err(Error::NotConnected)
        };
        if told.is_err() {
            poll_fd.fail();
        }
    }

    /// Keeps the poll descriptor for a wait, also when the connection is closed meanwhile: it fails then, and the number
    /// is not another's before the wait ends.
    ///
    /// # Errors
    /// As [`SendStream::poll_descriptor`].
    pub fn keep_poll_descriptor(self: &Arc<Self>) -> Result<KeptPollFd> {
        self.poll_descriptor()?;
        let state = self.enter()?;
        let poll_fd = state.poll_fd.clone().ok_or(Error::Closed)?;
        Ok(KeptPollFd::new(poll_fd))
    }

    /// From now on this says when the poll descriptor is readable. A second call does nothing.
    pub fn set_read_readiness(&self, readiness: Weak<dyn ReadReadiness>) {
        let _ = self.readiness.set(readiness);
    }

    /// Whether there is a poll descriptor to be told of reads.
    pub fn is_polled(&self) -> bool {
        self.is_polled.load(Ordering::Acquire)
    }

    /// The connection was read by whoever says when it is readable: the poll descriptor starts anew.
    pub fn note_read(&self) {
        if !self.is_polled() {
            return;
        }
        let Ok(state) = self.enter() else { return };
        let poll_fd = state.poll_fd.clone();
        drop(state);
        if poll_fd.is_some_and(|poll_fd| poll_fd.on_read()) {
            self.pool.rearm_readable(self);
        }
    }

    /// The program has received something: what it writes next is an answer, which its own call sends.
    pub fn note_received(&self) {
        self.burst.note_received();
    }

    /// The socket was read: its poll descriptor starts anew. `more`: plaintext is left above.
    pub fn set_readable(&self, more: bool) {
        if !self.is_polled() {
            return;
        }
        let Ok(state) = self.enter() else { return };
        if let Some(poll_fd) = &state.poll_fd {
            poll_fd.set_readable(more);
            if !more {
                self.pool.rearm_readable(self);
            }
        }
    }

    /// The queue of its worker, where so many run.
    pub fn queue(&self) -> usize {
        self.queue % self.pool.worker_count().max(1)
    }

    /// Local and foreign address.
    pub fn endpoints(&self) -> String {
        self.transport.endpoints()
    }

    /// Raises EPERM in a child of the process that the connection belongs to.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn check_process(&self) -> Result<()> {
        self.owner.check()
    }

    // -- state ----------------------------------------------------------------------------------

    /// Comes in: holds forks off, and the state. Never to be held while waiting for anything.
    fn enter(&self) -> Result<Entered<'_>> {
        let fork = fork_lock::shared();
        self.owner.check_inside(&fork)?;
        Ok(Entered::new(self, fork))
    }

    /// The state, for one look at it: a fork may go on meanwhile. None in a child of the process.
    fn look(&self) -> Option<MutexGuard<'_, State>> {
        self.check_process().ok()?;
        Some(self.lock())
    }

    fn owner_is_inside(&self, fork: &fork_lock::ForkGuard) -> Option<()> {
        self.owner.check_inside(fork).ok()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn as_task(self: &Arc<Self>) -> Arc<dyn Task> {
        Arc::<Self>::clone(self)
    }

    fn note_change(&self, state: &State) {
        self.changes.fetch_add(1, Ordering::Release);
        if state.waiting > 0 {
            self.changed.notify_all();
        }
    }

    /// Tells the poll descriptor when there is space again.
    fn note_space(&self, state: &State) {
        if let Some(poll_fd) = &state.poll_fd
            && state.is_writable()
        {
            poll_fd.set_writable(true);
        }
    }

    /// Tells the poll descriptor that a write does not wait, since it fails.
    fn mark_writable(&self, state: &State) {
        if let Some(poll_fd) = &state.poll_fd {
            poll_fd.set_writable(true);
        }
    }

    /// A write was refused, or a part of it: the poll descriptor promises to tell when there is space.
    fn mark_unwritable(&self, state: &State) {
        if let Some(poll_fd) = &state.poll_fd {
            poll_fd.set_writable(false);
        }
    }

    /// Raises what keeps a write from being accepted: an earlier error, the end of the write side, no peer.
    fn check_writable(&self, state: &mut State) -> Result<()> {
        state.check()?;
        self.check_connected(state)
    }

    fn check_connected(&self, state: &mut State) -> Result<()> {
        if !state.life.is_connected() {
            if !self.transport.is_connected() {
                return Err(Error::NotConnected);
            }
            state.life.note_connected();
        }
        Ok(())
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        // What was inherited through a fork is the parent's, its poller too.
        if self.check_process().is_err() {
            return;
        }
        let state = self.lock();
        if state.buffer.write_state.is_some() {
            counters::ACTIVE.sub(1);
        }
        traffic::SENT.add(&state.traffic());
        drop(state);
        self.pool.forget(self);
    }
}
