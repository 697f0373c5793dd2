//! What belongs to the process: its worker pool, the futures of its asynchronous writes, and the numbers that steer and
//! describe the engine. A forked child has its own, however it was forked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ktls_engine::{Binding, Completion, Outcome, Pool, SetError};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;

use crate::call::{self, Timeout};
use crate::errors::os_error;

/// One for each of the last forks: what a child inherited may be locked by a thread that is not there.
static PROCESSES: [Mutex<Option<Process>>; 32] = [const { Mutex::new(None) }; 32];

struct Process {
    fork_count: u32,
    pool: Arc<Pool>,
    futures: HashMap<u64, Py<PyAny>>,
    next_id: u64,
}

impl Process {
    fn new(fork_count: u32) -> Self {
        Self {
            fork_count,
            pool: Arc::new(Pool::new()),
            futures: HashMap::new(),
            next_id: 1,
        }
    }
}

fn process<R>(with: impl FnOnce(&mut Process) -> R) -> R {
    ktls_engine::watch_forks();
    let fork_count = ktls_engine::fork_count();
    let place = &PROCESSES[fork_count as usize % PROCESSES.len()];
    let mut process: MutexGuard<'_, Option<Process>> =
        place.lock().unwrap_or_else(PoisonError::into_inner);
    if process
        .as_ref()
        .is_some_and(|process| process.fork_count != fork_count)
    {
        // An ancestor's: its locks may be held, so not even its end may be run.
        core::mem::forget(process.take());
    }
    with(process.get_or_insert_with(|| Process::new(fork_count)))
}

/// The pool of this process.
pub(crate) fn pool() -> Arc<Pool> {
    process(|process| Arc::clone(&process.pool))
}

/// Keeps the future of a write that is about to be made; returns the number of the write.
pub(crate) fn keep_future(future: Py<PyAny>) -> u64 {
    process(|process| {
        let id = process.next_id;
        process.next_id += 1;
        process.futures.insert(id, future);
        id
    })
}

/// Gives the future of a write back.
pub(crate) fn take_future(id: u64) -> Option<Py<PyAny>> {
    process(|process| process.futures.remove(&id))
}

#[pyfunction]
#[pyo3(signature = (count, bind=0))]
pub(crate) fn start_workers(count: usize, bind: usize) -> PyResult<()> {
    let binding = match bind {
        0 => Binding::None,
        1 => Binding::Core,
        _ => Binding::Domain,
    };
    pool()
        .start(count, binding)
        .map_err(|error| os_error(&error))
}

#[pyfunction]
pub(crate) fn workers_started() -> bool {
    pool().is_started()
}

#[pyfunction]
pub(crate) fn worker_count() -> usize {
    pool().worker_count()
}

#[pyfunction]
pub(crate) fn stop_workers(py: Python<'_>, timeout: f64) -> PyResult<(usize, usize)> {
    let timeout = call::duration(timeout)?;
    let pool = pool();
    let deadline = Instant::now().checked_add(timeout);
    let call::Outcome { raised, .. } =
        call::attempt(py, Timeout::within(Some(timeout), "exit"), |deadline| {
            pool.drain(deadline)
        });
    // What a signal handler raised says that nobody wants to wait any more.
    let (left, deadline) = match raised {
        Some(_) => (Duration::ZERO, Some(Instant::now())),
        None => (timeout, deadline),
    };
    let unsent = py.detach(|| pool.end(left, deadline));
    match raised {
        Some(error) => Err(error),
        None => Ok((unsent.bytes, unsent.connections)),
    }
}

#[pyfunction]
pub(crate) fn fork_count() -> u32 {
    ktls_engine::fork_count()
}

#[pyfunction]
pub(crate) fn wait_completions(py: Python<'_>) -> PyResult<Vec<(Py<PyAny>, Py<PyAny>)>> {
    let pool = pool();
    let ended = py.detach(|| pool.completions());
    ended
        .into_iter()
        .filter_map(|Completion { id, outcome }| Some((take_future(id)?, outcome)))
        .map(|(future, outcome)| {
            let outcome = match outcome {
                Outcome::Ended(Ok(count)) => count.into_pyobject(py)?.into_any().unbind(),
                Outcome::Ended(Err(error)) => os_error(&error).into_value(py).into_any(),
                Outcome::Cancelled => py.None(),
            };
            Ok((future, outcome))
        })
        .collect()
}

#[pyfunction]
pub(crate) fn stop_completions() {
    pool().stop_completions();
}

#[pyfunction]
pub(crate) fn set_tunable(name: &str, value: usize) -> PyResult<()> {
    ktls_engine::set_tunable(name, value).map_err(|error| match error {
        SetError::Unknown => {
            PyKeyError::new_err(format!("kern.ipc.tls.{name} is no tunable of the engine"))
        }
        SetError::Range { .. } => PyValueError::new_err(format!("kern.ipc.tls.{name}: {error}")),
    })
}

#[pyfunction]
pub(crate) fn tunables() -> HashMap<&'static str, (usize, usize, usize)> {
    ktls_engine::tunables()
        .into_iter()
        .map(|each| (each.name, (each.default, each.low, each.high)))
        .collect()
}

/// What was measured, of which provider, how many took at most so many seconds, and all of them together in seconds.
type Histogram = (&'static str, &'static str, Vec<(f64, u64)>, f64);

#[pyfunction]
pub(crate) fn histograms() -> Vec<Histogram> {
    let seconds = |(bound, count): (Option<Duration>, u64)| {
        (
            bound.map_or(f64::INFINITY, |bound| bound.as_secs_f64()),
            count,
        )
    };
    ktls_engine::times()
        .into_iter()
        .map(|times| {
            let counts = times.counts.into_iter().map(seconds).collect();
            (
                times.what,
                times.provider,
                counts,
                times.total.as_secs_f64(),
            )
        })
        .collect()
}

#[pyfunction]
pub(crate) fn counters() -> HashMap<String, u64> {
    let engine = ktls_engine::counters().into_iter();
    engine
        .map(|(name, count)| (name.to_owned(), count))
        .chain(crate::provider::counters())
        .chain([("stats.buffered".to_owned(), pool().buffered() as u64)])
        .collect()
}
