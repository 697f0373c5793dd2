//! The pool: threads named KTLS-0, KTLS-1, ... that work for tasks, and threads that wait for disks.
//!
//! A task belongs to one worker, in turns with its other tasks. The pool's life has four phases, which only go forward:
//!
//! | phase | threads | [`Pool::schedule`] |
//! |---|---|---|
//! | idle | none | starts them |
//! | running | work | gives the task a turn |
//! | draining ([`Pool::drain`] waits) | work | gives the task a turn |
//! | stopped | none | refuses: the caller does the work itself |

mod binding;
mod buffers;
mod completions;
mod io_thread;
mod memory;
mod parking;
mod poller;
mod spin;
mod task;
mod worker;

use std::collections::HashMap;
use std::sync::atomic::{self, AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::io::Errno;

pub use self::binding::Binding;
pub(crate) use self::buffers::{BufferPool, SealBuffer};
pub use self::completions::{Completion, Outcome};
pub(crate) use self::io_thread::Job;
pub(crate) use self::memory::{Charge, Memory};
pub(crate) use self::task::{Expiry, Task};

use self::completions::Completions;
use self::io_thread::IoThreads;
use self::worker::{Worker, guarded};
use crate::deadline::{Deadline, LOOK_AGAIN};
use crate::error::{Error, Result};
use crate::poll_fd::PollFd;
use crate::{counters, tunables};

/// Time that a worker has to end, when there is none left.
const LEAVING: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Threads {
    workers: Vec<Arc<Worker>>,
    io: IoThreads,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Threads {
    /// The one that the task belongs to, from its first turn to its last.
    fn worker_of(&self, task: &dyn Task) -> &Arc<Worker> {
        &self.workers[task.queue() % self.workers.len()]
    }

    /// Ends the workers, each after what it is at; one that is in somebody else's backend then, and stays there, is left
    /// behind.
    fn end(&self, deadline: Option<Instant>) {
        for worker in &self.workers {
            worker.end();
        }
        let deadline = deadline.map(|at| at.max(Instant::now() + LEAVING));
        for handle in lock(&self.handles).drain(..) {
            while !handle.is_finished() && deadline.is_none_or(|at| Instant::now() < at) {
                std::thread::sleep(Duration::from_millis(1));
            }
            if handle.is_finished() {
                let _ = handle.join();
            }
            counters::THREADS.sub(1);
        }
    }
}

/// What [`Pool::end`] left unsent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsent {
    /// Bytes that were accepted.
    pub bytes: usize,
    /// Connections that hold some.
    pub connections: usize,
}

/// See the head of this file.
pub struct Pool {
    pub(crate) buffers: BufferPool,
    pub(crate) completions: Completions,
    pub(crate) memory: Arc<Memory>,
    threads: OnceLock<Threads>,
    starting: Mutex<()>,
    stopped: AtomicBool,
    /// Milliseconds that a call may take for what it accepted once the pool has stopped.
    exit_timeout_ms: AtomicUsize,
    tasks: Mutex<HashMap<u64, Weak<dyn Task>>>,
    is_multi_cpu: bool,
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
            buffers: BufferPool::default(),
            completions: Completions::default(),
            memory: Arc::default(),
            threads: OnceLock::new(),
            starting: Mutex::new(()),
            stopped: AtomicBool::new(false),
            exit_timeout_ms: AtomicUsize::new(0),
            tasks: Mutex::default(),
            is_multi_cpu: cpu_count() > 1,
            delays: AtomicUsize::new(0),
        }
    }

    /// Starts the threads, if they do not run yet.
    ///
    /// # Errors
    /// EAGAIN or EMFILE when the system gives no thread or descriptor.
    pub fn start(self: &Arc<Self>, count: usize, binding: Binding) -> Result<()> {
        self.started(count, binding).map(|_| ())
    }

    /// Workers that were started.
    pub fn worker_count(&self) -> usize {
        self.threads
            .get()
            .map_or(0, |threads| threads.workers.len())
    }

    /// Bytes that its connections hold, in steps of a record.
    pub fn buffered(&self) -> usize {
        self.memory.held()
    }

    /// Whether [`Pool::start`] has been called with success.
    pub fn is_started(&self) -> bool {
        self.threads.get().is_some()
    }

    fn started(self: &Arc<Self>, count: usize, binding: Binding) -> Result<&Threads> {
        if let Some(threads) = self.threads.get() {
            return Ok(threads);
        }
        let _one = lock(&self.starting);
        if let Some(threads) = self.threads.get() {
            return Ok(threads);
        }
        let threads = self.spawn(count, binding)?;
        Ok(self.threads.get_or_init(|| threads))
    }

    fn spawn(self: &Arc<Self>, count: usize, binding: Binding) -> Result<Threads> {
        let mut threads = Threads::default();
        let spawned = self.spawn_into(&mut threads, count, binding);
        if let Err(error) = spawned {
            // The next try begins anew.
            threads.end(None);
            return Err(error);
        }
        Ok(threads)
    }

    fn spawn_into(
        self: &Arc<Self>,
        threads: &mut Threads,
        count: usize,
        binding: Binding,
    ) -> Result<()> {
        for index in 0..count.max(1) {
            let worker = Arc::new(Worker::new().map_err(|errno| Error::Resource {
                errno,
                wanted: "a worker's poller",
            })?);
            threads.workers.push(Arc::clone(&worker));
            let pool = Arc::clone(self);
            let handle = spawn_thread(format!("KTLS-{index}"), move || {
                // Processors that were taken away meanwhile: unbound is as good.
                let _ = binding.bind(index);
                worker.run(&pool);
            })?;
            lock(&threads.handles).push(handle);
            counters::THREADS.add(1);
        }
        for index in 0..tunables::io_threads::get() {
            // They end with the process, and may be inside a read then: nobody waits for them.
            threads
                .io
                .add(|run| spawn_thread(format!("KTLS-io-{index}"), run).map(drop))?;
        }
        Ok(())
    }

    /// Waits until every task has drained.
    ///
    /// # Errors
    /// [`Error::DeadlinePassed`], EINTR.
    pub fn drain(&self, deadline: &mut Deadline<'_>) -> Result<()> {
        let mut looked = Instant::now();
        while !self.is_stopped() && self.unsent().bytes > 0 {
            deadline.nap()?;
            if looked.elapsed() > LOOK_AGAIN {
                looked = Instant::now();
                deadline.check_signals()?;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Ends the threads by then. From then on every call does its own work, and takes at most `timeout` for that. A
    /// second call counts again what is left.
    pub fn end(self: &Arc<Self>, timeout: Duration, deadline: Option<Instant>) -> Unsent {
        if !self.is_stopped() {
            let ms = usize::try_from(timeout.as_millis()).unwrap_or(usize::MAX);
            self.exit_timeout_ms.store(ms, Ordering::Relaxed);
            self.stopped.store(true, Ordering::SeqCst);
            if let Some(threads) = self.threads.get() {
                threads.end(deadline);
                // What was given a turn while the workers went: this is it.
                for task in threads.workers.iter().flat_map(|worker| worker.leftover()) {
                    guarded(&task, |task| Arc::clone(task).run_quantum(Duration::ZERO));
                }
            }
        }
        self.unsent()
    }

    /// Whether the workers have ended for good.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Time for a call of a stopped pool to send what it accepted.
    pub(crate) fn exit_timeout(&self) -> Duration {
        Duration::from_millis(self.exit_timeout_ms.load(Ordering::Relaxed) as u64)
    }

    /// What all connections hold.
    pub fn unsent(&self) -> Unsent {
        let tasks: Vec<_> = lock(&self.tasks).values().cloned().collect();
        let mut unsent = Unsent::default();
        for bytes in tasks
            .iter()
            .filter_map(|task| Some(task.upgrade()?.unsent()))
            .filter(|bytes| *bytes > 0)
        {
            unsent.bytes += bytes;
            unsent.connections += 1;
        }
        unsent
    }

    /// Waits for asynchronous writes to end, and tells of all that have; of none after [`Pool::stop_completions`].
    pub fn completions(&self) -> Vec<Completion> {
        self.completions.wait()
    }

    /// Lets whoever waits for completions go, once it has been told of what there is.
    pub fn stop_completions(&self) {
        self.completions.stop();
    }

    // -- for tasks ------------------------------------------------------------------------------

    pub(crate) fn register(&self, task: &Arc<dyn Task>) {
        lock(&self.tasks).insert(task.id(), Arc::downgrade(task));
    }

    fn worker_of(self: &Arc<Self>, task: &dyn Task) -> Result<&Arc<Worker>> {
        Ok(self.started(cpu_count(), Binding::None)?.worker_of(task))
    }

    /// Gives the task a turn at its worker. False: there is none, the caller has to do the work.
    pub(crate) fn schedule<T: Task + 'static>(self: &Arc<Self>, task: &Arc<T>) -> bool {
        if self.is_stopped() {
            return false;
        }
        if task.scheduled().swap(true, Ordering::AcqRel) {
            return true;
        }
        let Ok(worker) = self.worker_of(task.as_ref()) else {
            task.scheduled().store(false, Ordering::Release);
            return false;
        };
        let task: Arc<dyn Task> = Arc::<T>::clone(task);
        worker.push(task);
        true
    }

    /// Whether a worker could run beside the caller.
    pub(crate) fn is_multi_cpu(&self) -> bool {
        self.is_multi_cpu && !self.is_stopped()
    }

    /// Has the task told when its socket is writable.
    pub(crate) fn watch_writable(self: &Arc<Self>, task: &Arc<dyn Task>) -> Result<()> {
        self.worker_of(task.as_ref())?.poller.watch_writable(task)
    }

    /// Has the descriptor told when the socket is readable.
    pub(crate) fn watch_readable(
        self: &Arc<Self>,
        task: &Arc<dyn Task>,
        poll_fd: &Arc<PollFd>,
    ) -> Result<()> {
        self.worker_of(task.as_ref())?
            .poller
            .watch_readable(task, poll_fd)
    }

    pub(crate) fn rearm_readable(self: &Arc<Self>, task: &dyn Task) {
        if let Ok(worker) = self.worker_of(task) {
            worker.poller.rearm_readable(task);
        }
    }

    pub(crate) fn unwatch_readable(self: &Arc<Self>, task: &dyn Task) {
        if let Ok(worker) = self.worker_of(task) {
            worker.poller.unwatch_readable(task.id());
        }
    }

    /// The task was closed, and is looked at from time to time until it has drained.
    pub(crate) fn linger(self: &Arc<Self>, task: &dyn Task) {
        if let Ok(worker) = self.worker_of(task) {
            worker.poller.linger();
        }
    }

    /// The task ends.
    pub(crate) fn forget(&self, task: &dyn Task) {
        lock(&self.tasks).remove(&task.id());
        if let Some(threads) = self.threads.get() {
            let poller = &threads.worker_of(task).poller;
            poller.forget(task.id(), task.poll_fd());
        }
    }

    /// Hands a job to a thread that may wait for a disk; gives it back when there is none.
    pub(crate) fn read_cold(self: &Arc<Self>, job: Job) -> core::result::Result<(), Job> {
        match self.started(cpu_count(), Binding::None) {
            Ok(threads) => {
                threads.io.push(job);
                Ok(())
            }
            Err(_) => Err(job),
        }
    }

    /// Looks for a moment whether it happened.
    pub(crate) fn spin_until(&self, happened: impl Fn() -> bool) -> bool {
        spin::spin_until(self.is_multi_cpu, happened)
    }

    /// For tests of order: a delay of no fixed length before a batch is sealed.
    pub(crate) fn maybe_delay(&self) {
        let longest = tunables::debug_seal_delay_us::get();
        if longest > 0 {
            let seed = self.delays.fetch_add(0x9E37_79B9, Ordering::Relaxed);
            let delay = (seed.wrapping_mul(0x85EB_CA6B) >> 7) % longest;
            std::thread::sleep(Duration::from_micros(delay as u64));
        }
    }
}

fn spawn_thread(name: String, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let spawned = std::thread::Builder::new().name(name).spawn(run);
    spawned.map_err(|error| Error::Resource {
        errno: Errno::from_io_error(&error).unwrap_or(Errno::AGAIN),
        wanted: "a worker thread (lower kern.ipc.tls.workers)",
    })
}

/// Locks whatever a panic left: those that may leave something half done tell their connection by themselves.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
