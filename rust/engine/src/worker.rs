//! One worker: a thread with a queue of streams that have a turn coming, and a poller for their sockets.
//!
//! It sleeps in the poller, so that a full socket which drained and a turn that was queued wake it alike; before it
//! sleeps it looks again for a while.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustix::io::Errno;

use crate::readiness::Readiness;
use crate::stream::Stream;
use crate::workers::Pool;
use crate::{counters, gate, sys};

/// The poller's own descriptor; a stream's keys are twice its id (writable) and the number after (readable).
const WAKE: u64 = 0;

pub(crate) struct Watch {
    pub(crate) stream: Weak<Stream>,
    pub(crate) readiness: Arc<Readiness>,
    /// A second descriptor of the socket: one descriptor has one interest in a poller.
    pub(crate) socket: OwnedFd,
}

pub(crate) struct Worker {
    turns: Mutex<VecDeque<Arc<Stream>>>,
    waiting: AtomicUsize,
    parked: AtomicBool,
    pub(crate) epoll: OwnedFd,
    pub(crate) wake: OwnedFd,
    /// Streams that wait for their socket; the reference keeps a closed one alive until it has drained.
    pub(crate) blocked: Mutex<HashMap<u64, Arc<Stream>>>,
    pub(crate) watched: Mutex<HashMap<u64, Watch>>,
}

impl Worker {
    pub(crate) fn new() -> Result<Self, Errno> {
        let (epoll, wake) = (sys::epoll()?, sys::eventfd()?);
        sys::epoll_watch(&epoll, &wake, WAKE)?;
        Ok(Self {
            turns: Mutex::default(),
            waiting: AtomicUsize::new(0),
            parked: AtomicBool::new(false),
            epoll,
            wake,
            blocked: Mutex::default(),
            watched: Mutex::default(),
        })
    }

    pub(crate) fn push(&self, stream: Arc<Stream>) {
        counters::TX_INQUEUE.add(1);
        lock(&self.turns).push_back(stream);
        self.waiting.fetch_add(1, Ordering::Release);
        // Either the worker sees the task after it says that it sleeps, or this sees that it sleeps.
        fence(Ordering::SeqCst);
        if self.parked.swap(false, Ordering::AcqRel) {
            sys::eventfd_signal(&self.wake);
        }
    }

    fn pop(&self) -> Option<Arc<Stream>> {
        if self.waiting.load(Ordering::Acquire) == 0 {
            return None;
        }
        let stream = lock(&self.turns).pop_front()?;
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        counters::TX_INQUEUE.sub(1);
        Some(stream)
    }

    /// Nothing to do and nothing to wait for.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
            && self.parked.load(Ordering::Acquire)
            && lock(&self.blocked).is_empty()
    }

    pub(crate) fn run(&self, pool: &Pool) {
        let mut keys = Vec::new();
        while !pool.stopping.load(Ordering::Acquire) {
            let mut turns = 0;
            while let Some(stream) = self.pop() {
                Self::perform(&stream);
                turns += 1;
                // A socket that drained must not wait behind streams that always have more.
                if turns % 4 == 0 {
                    self.poll(&mut keys, false);
                }
            }
            self.poll(&mut keys, false);
            if pool.spin_until(|| self.waiting.load(Ordering::Acquire) > 0) {
                continue;
            }
            self.parked.store(true, Ordering::Release);
            fence(Ordering::SeqCst);
            if self.waiting.load(Ordering::Acquire) == 0 && !pool.stopping.load(Ordering::Acquire) {
                self.poll(&mut keys, true);
            }
            self.parked.store(false, Ordering::Release);
        }
    }

    fn perform(stream: &Arc<Stream>) {
        // One connection's misfortune is not the others': the thread stays.
        if catch_unwind(AssertUnwindSafe(|| stream.turn())).is_err() {
            stream.broken();
        }
    }

    fn poll(&self, keys: &mut Vec<u64>, wait: bool) {
        if sys::epoll_wait(&self.epoll, keys, wait).is_err() {
            return;
        }
        self.parked.store(false, Ordering::Release);
        for key in keys.drain(..) {
            if key == WAKE {
                sys::eventfd_clear(&self.wake);
            } else if key % 2 == 0 {
                let stream = lock(&self.blocked).remove(&(key / 2));
                if let Some(stream) = stream {
                    stream.unblocked();
                    if !stream.scheduled.swap(true, Ordering::AcqRel) {
                        self.push(stream);
                    }
                }
            } else {
                let _pass = gate::enter();
                let watched = lock(&self.watched);
                if let Some(watch) = watched.get(&key)
                    && watch.stream.strong_count() > 0
                {
                    watch.readiness.set_readable(true);
                }
            }
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
