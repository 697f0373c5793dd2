//! The pool: threads named KTLS-0, KTLS-1, ... and threads that wait for disks.
//!
//! A stream belongs to one worker (`worker.rs`), in turns with its other streams.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::completions::{Completion, Completions};
use crate::error::{Error, Result};
use crate::pages::{PagePool, Pages};
use crate::readiness::Readiness;
use crate::send_buffer::Claim;
use crate::stream::Stream;
use crate::worker::{Watch, Worker, lock};
use crate::{counters, sys, tunables};

/// A cold claim, for a thread that may wait.
struct ColdRead {
    stream: Arc<Stream>,
    claim: Claim,
    pages: Pages,
}

struct Threads {
    workers: Vec<Arc<Worker>>,
    cold: Vec<Mutex<Sender<ColdRead>>>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

/// See the head of this file.
pub struct Pool {
    pub(crate) pages: PagePool,
    pub(crate) completions: Completions,
    threads: OnceLock<Threads>,
    starting: Mutex<()>,
    pub(crate) stopping: AtomicBool,
    next_cold: AtomicUsize,
    many_cpus: bool,
    delays: AtomicUsize,
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}

fn cpu_count() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

impl Pool {
    /// A pool without threads; they start when first needed, or by [`Pool::start`].
    #[must_use]
    pub fn new() -> Self {
        Self {
            pages: PagePool::default(),
            completions: Completions::default(),
            threads: OnceLock::new(),
            starting: Mutex::new(()),
            stopping: AtomicBool::new(false),
            next_cold: AtomicUsize::new(0),
            many_cpus: cpu_count() > 1,
            delays: AtomicUsize::new(0),
        }
    }

    /// Starts the threads, if they do not run yet. `bind`: each worker stays on one processor.
    ///
    /// # Errors
    /// EAGAIN or EMFILE when the system gives no thread or descriptor.
    pub fn start(self: &Arc<Self>, count: usize, bind: bool) -> Result<()> {
        self.started(count, bind).map(|_| ())
    }

    fn started(self: &Arc<Self>, count: usize, bind: bool) -> Result<&Threads> {
        if let Some(threads) = self.threads.get() {
            return Ok(threads);
        }
        let _one = lock(&self.starting);
        if self.threads.get().is_none() {
            let threads = self.spawn(count, bind)?;
            let _ = self.threads.set(threads);
        }
        self.threads
            .get()
            .ok_or_else(|| Error::new(Errno::AGAIN, "the worker threads did not start"))
    }

    fn spawn(self: &Arc<Self>, count: usize, bind: bool) -> Result<Threads> {
        let no_thread = |error: &std::io::Error| {
            let errno = Errno::from_io_error(error).unwrap_or(Errno::AGAIN);
            Error::new(
                errno,
                format!("cannot start a worker thread: {error}; lower kern.ipc.tls.workers"),
            )
        };
        let no_descriptor = |errno| Error::from_errno(errno, "cannot make a worker's poller");
        let mut handles = Vec::new();
        let mut workers = Vec::new();
        for index in 0..count.max(1) {
            let worker = Arc::new(Worker::new().map_err(no_descriptor)?);
            workers.push(Arc::clone(&worker));
            let pool = Arc::clone(self);
            let run = move || {
                if bind {
                    // A processor that was taken away meanwhile: unbound is as good.
                    let _ = sys::bind_to_cpu(index);
                }
                worker.run(&pool);
            };
            let handle = std::thread::Builder::new()
                .name(format!("KTLS-{index}"))
                .spawn(run);
            handles.push(handle.map_err(|error| no_thread(&error))?);
            counters::THREADS.add(1);
        }
        let mut cold = Vec::new();
        for index in 0..tunables::io_threads::get() {
            let (sender, receiver) = channel();
            let handle = std::thread::Builder::new()
                .name(format!("KTLS-io-{index}"))
                .spawn(move || read_for_ever(&receiver));
            handles.push(handle.map_err(|error| no_thread(&error))?);
            cold.push(Mutex::new(sender));
        }
        Ok(Threads {
            workers,
            cold,
            handles: Mutex::new(handles),
        })
    }

    /// Waits until every stream has drained, for at most `timeout`, then ends the threads. False: data was left.
    /// A second call finds nothing to do.
    pub fn stop(&self, timeout: Duration) -> bool {
        let Some(threads) = self.threads.get() else {
            return true;
        };
        if self.stopping.load(Ordering::SeqCst) {
            return true;
        }
        let deadline = Instant::now() + timeout;
        let drained = loop {
            if threads.workers.iter().all(|worker| worker.is_idle()) {
                break true;
            }
            if Instant::now() >= deadline {
                break false;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        self.stopping.store(true, Ordering::SeqCst);
        for worker in &threads.workers {
            sys::eventfd_signal(&worker.wake);
        }
        // The threads for disks end with the process: they may be inside a read.
        for handle in lock(&threads.handles).drain(..) {
            if handle
                .thread()
                .name()
                .is_some_and(|name| !name.starts_with("KTLS-io"))
            {
                let _ = handle.join();
                counters::THREADS.sub(1);
            }
        }
        drained
    }

    /// Waits for asynchronous writes to end, and tells of all that have; of none after [`Pool::stop_completions`].
    pub fn completions(&self) -> Vec<Completion> {
        self.completions.wait()
    }

    /// Lets whoever waits for completions go, once it has been told of what there is.
    pub fn stop_completions(&self) {
        self.completions.stop();
    }

    // -- for streams ----------------------------------------------------------------------------

    fn worker_of(self: &Arc<Self>, stream: &Stream) -> Result<&Arc<Worker>> {
        let workers = &self.started(cpu_count(), false)?.workers;
        let index = usize::try_from(stream.id).unwrap_or(0) % workers.len();
        Ok(&workers[index])
    }

    /// Gives the stream a turn at its worker.
    pub(crate) fn schedule(self: &Arc<Self>, stream: &Arc<Stream>) {
        if stream.scheduled.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Ok(worker) = self.worker_of(stream) {
            worker.push(Arc::clone(stream));
        }
    }

    /// Whether a worker could run beside the caller.
    pub(crate) fn has_workers(&self) -> bool {
        self.many_cpus
    }

    /// Has the stream's worker told when the socket is writable.
    pub(crate) fn arm(
        self: &Arc<Self>,
        stream: &Arc<Stream>,
        socket: BorrowedFd<'_>,
    ) -> Result<()> {
        let worker = self.worker_of(stream)?;
        lock(&worker.blocked).insert(stream.id, Arc::clone(stream));
        sys::epoll_arm(
            &worker.epoll,
            socket,
            stream.id * 2,
            sys::Interest::Writable,
        )
        .map_err(|errno| Error::from_errno(errno, "cannot wait for the socket"))
    }

    /// Has the poll descriptor told when the socket is readable.
    pub(crate) fn watch(
        self: &Arc<Self>,
        stream: &Arc<Stream>,
        readiness: &Arc<Readiness>,
        socket: BorrowedFd<'_>,
    ) -> Result<()> {
        let during = "cannot watch the socket";
        let socket = socket
            .try_clone_to_owned()
            .map_err(|error| Error::new(Errno::MFILE, format!("{during}: {error}")))?;
        let worker = self.worker_of(stream)?;
        let key = stream.id * 2 + 1;
        let watch = Watch {
            stream: Arc::downgrade(stream),
            readiness: Arc::clone(readiness),
            socket,
        };
        // The event may come at once, and it comes once: who looks for the watch must find it.
        let mut watched = lock(&worker.watched);
        let watch = watched.entry(key).or_insert(watch);
        sys::epoll_arm(
            &worker.epoll,
            watch.socket.as_fd(),
            key,
            sys::Interest::Readable,
        )
        .map_err(|errno| Error::from_errno(errno, during))?;
        Ok(())
    }

    pub(crate) fn rearm(self: &Arc<Self>, stream: &Stream) {
        let Ok(worker) = self.worker_of(stream) else {
            return;
        };
        let key = stream.id * 2 + 1;
        if let Some(watch) = lock(&worker.watched).get(&key) {
            // A socket that cannot be watched any more has been closed.
            let _ = sys::epoll_arm(
                &worker.epoll,
                watch.socket.as_fd(),
                key,
                sys::Interest::Readable,
            );
        }
    }

    pub(crate) fn unwatch(self: &Arc<Self>, stream: &Stream) {
        let Ok(worker) = self.worker_of(stream) else {
            return;
        };
        if let Some(watch) = lock(&worker.watched).remove(&(stream.id * 2 + 1)) {
            sys::epoll_forget(&worker.epoll, watch.socket.as_fd());
        }
    }

    /// A stream ends: its descriptor leaves the poller before it is closed.
    pub(crate) fn forget(&self, id: u64, socket: BorrowedFd<'_>) {
        let Some(threads) = self.threads.get() else {
            return;
        };
        let index = usize::try_from(id).unwrap_or(0) % threads.workers.len();
        let worker = &threads.workers[index];
        sys::epoll_forget(&worker.epoll, socket);
        if let Some(watch) = lock(&worker.watched).remove(&(id * 2 + 1)) {
            sys::epoll_forget(&worker.epoll, watch.socket.as_fd());
        }
    }

    /// Hands a claim whose file is not in memory to a thread that may wait; gives it back when there is none.
    pub(crate) fn read_cold(
        self: &Arc<Self>,
        stream: &Arc<Stream>,
        claim: Claim,
        pages: Pages,
    ) -> core::result::Result<(), (Claim, Pages)> {
        let Ok(threads) = self.started(cpu_count(), false) else {
            return Err((claim, pages));
        };
        let index = self.next_cold.fetch_add(1, Ordering::Relaxed) % threads.cold.len();
        let read = ColdRead {
            stream: Arc::clone(stream),
            claim,
            pages,
        };
        // The receiver lives as long as the process.
        let _ = lock(&threads.cold[index]).send(read);
        Ok(())
    }

    /// Looks for something for `kern.ipc.tls.spin_us`; on one processor that would keep the other thread away.
    pub(crate) fn spin_until(&self, happened: impl Fn() -> bool) -> bool {
        let limit = Duration::from_micros(tunables::spin_us::get() as u64);
        if happened() {
            return true;
        }
        if !self.many_cpus || limit.is_zero() {
            return false;
        }
        let start = Instant::now();
        loop {
            for _ in 0..32 {
                if happened() {
                    return true;
                }
                std::hint::spin_loop();
            }
            if start.elapsed() >= limit {
                return false;
            }
        }
    }

    /// For tests of order: a delay of no fixed length before a unit is sealed.
    pub(crate) fn maybe_delay(&self) {
        let longest = tunables::debug_seal_delay_us::get();
        if longest > 0 {
            let seed = self.delays.fetch_add(0x9E37_79B9, Ordering::Relaxed);
            let delay = (seed.wrapping_mul(0x85EB_CA6B) >> 7) % longest;
            std::thread::sleep(Duration::from_micros(delay as u64));
        }
    }
}

fn read_for_ever(reads: &Receiver<ColdRead>) {
    while let Ok(ColdRead {
        stream,
        claim,
        pages,
    }) = reads.recv()
    {
        stream.seal_cold(claim, pages);
    }
}
