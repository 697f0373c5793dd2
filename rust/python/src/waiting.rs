//! Waits that the program makes itself, by its callback, in place of native ones: so the loop of gevent or eventlet goes
//! on while one of its greenlets waits.
//!
//! The engine is asked again and again without waiting; in between the callback waits for the poll descriptor. Then
//! nothing is held, no turn and no lock, so that another greenlet of the same thread finds nothing of this one's in its
//! way. And no `detach` is open: greenlets leave each other's in any order, and pyo3 counts on the order of a stack.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ktls_engine::{Data, Deadline, Error, SendStream as Engine, WriteFlags};
use pyo3::exceptions::PyTimeoutError;
use pyo3::intern;
use pyo3::prelude::*;

use crate::call::{self, Outcome, Timeout};
use crate::errors::os_error;
use crate::python_call;
use crate::send_stream::SendStream;
use crate::ssl_errors::SSLWantReadError;

/// Looks at what nothing tells of, while a close lingers.
const LINGER_NAP: Duration = Duration::from_millis(5);

static CALLBACK: Mutex<Option<Py<PyAny>>> = Mutex::new(None);
/// Whether there is one: all that a call looks at which waits natively.
static IS_SET: AtomicBool = AtomicBool::new(false);

/// What a call waits for, with the number that select(2) has for it.
#[derive(Clone, Copy)]
pub(crate) enum Event {
    /// POLLIN.
    Readable = 1,
    /// POLLOUT.
    Writable = 4,
}

#[pyfunction]
pub(crate) fn set_wait_callback(callback: Option<Py<PyAny>>) {
    IS_SET.store(callback.is_some(), Ordering::Relaxed);
    // Dropped after the lock: an object's end may call anything.
    let _before = core::mem::replace(&mut *lock(), callback);
}

#[pyfunction]
pub(crate) fn get_wait_callback(py: Python<'_>) -> Option<Py<PyAny>> {
    lock().as_ref().map(|callback| callback.clone_ref(py))
}

/// Whether the callback waits.
pub(crate) fn is_set() -> bool {
    IS_SET.load(Ordering::Relaxed)
}

fn lock() -> MutexGuard<'static, Option<Py<PyAny>>> {
    CALLBACK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As [`call::attempt`] for a call that may be made again when it would wait.
pub(crate) fn attempt<T: Send>(
    py: Python<'_>,
    stream: &SendStream,
    timeout: Timeout,
    event: Event,
    mut call: impl FnMut(&mut Deadline<'_>) -> Result<T, Error> + Send,
) -> Outcome<T> {
    if !timeout.is_cooperative() {
        return call::attempt(py, timeout, call);
    }
    loop {
        let outcome = call::attempt(py, Timeout::NONBLOCKING, &mut call);
        if !outcome.would_block() {
            return outcome;
        }
        if let Err(ended) = wait(py, stream, timeout, event) {
            return ended.into_outcome();
        }
    }
}

/// The same for a step of OpenSSL, which raises SSLWantReadError when it would wait.
pub(crate) fn repeat<T>(
    py: Python<'_>,
    stream: &SendStream,
    timeout: Timeout,
    mut step: impl FnMut(Timeout) -> PyResult<T>,
) -> PyResult<T> {
    if !timeout.is_cooperative() {
        return step(timeout);
    }
    loop {
        match step(timeout.of_step()) {
            Err(error) if error.is_instance_of::<SSLWantReadError>(py) => {}
            other => return other,
        }
        if let Err(ended) = wait(py, stream, timeout, Event::Readable) {
            return ended.into_outcome().into_result();
        }
    }
}

/// Writes piece by piece. How many bytes were accepted, and what ended the write before its end.
pub(crate) fn write(
    py: Python<'_>,
    stream: &SendStream,
    engine: &Arc<Engine>,
    mut data: Data<'_>,
    flags: WriteFlags,
    timeout: Timeout,
) -> (usize, Outcome<()>) {
    let len = data.as_slice().len();
    let (mut accepted, mut from) = (0, 0);
    loop {
        let outcome = call::attempt(py, Timeout::NONBLOCKING, |deadline| match from {
            0 => engine.send(&data, flags, deadline),
            _ => engine.send_rest(&data, from, flags, deadline),
        });
        match outcome.result {
            Ok(count) => {
                accepted += count;
                from += count;
                if accepted == len {
                    return (accepted, Outcome::new(Ok(())));
                }
            }
            Err(error) if error.is_would_block() => {}
            Err(error) => return (accepted, Outcome::new(Err(error))),
        }
        if let Data::Borrowed(bytes) = data {
            // It may change while others run, and is copied once.
            (data, from) = (Data::Shared(Arc::new(bytes[from..].to_vec())), 0);
        }
        if let Err(ended) = wait(py, stream, timeout, Event::Writable) {
            return (accepted, ended.into_outcome());
        }
    }
}

/// Waits for the peer to have what a closed stream holds, of which no descriptor tells.
pub(crate) fn linger(py: Python<'_>, engine: &Arc<Engine>, timeout: Timeout) -> PyResult<()> {
    let pair = py
        .import(intern!(py, "_socket"))?
        .call_method0(intern!(py, "socketpair"))?;
    let lingered = linger_with(py, engine, timeout, &pair.get_item(0)?);
    for socket in pair.try_iter()? {
        socket?.call_method0(intern!(py, "close"))?;
    }
    lingered
}

fn linger_with(
    py: Python<'_>,
    engine: &Arc<Engine>,
    timeout: Timeout,
    silent: &Bound<'_, PyAny>,
) -> PyResult<()> {
    loop {
        let outcome = call::attempt(py, Timeout::NONBLOCKING, |deadline| engine.linger(deadline));
        if !outcome.would_block() {
            return outcome.into_result();
        }
        let Ok(left) = timeout.left() else {
            // Too late: this resets the connection.
            return call::run(py, timeout, |deadline| engine.linger(deadline));
        };
        let nap = left.map_or(LINGER_NAP, |left| left.min(LINGER_NAP));
        match call_back(py, silent, Event::Readable, Some(nap)) {
            Err(error) if !error.is_instance_of::<PyTimeoutError>(py) => return Err(error),
            _ => {}
        }
    }
}

/// What ended a wait.
enum Ended {
    TimedOut(Error),
    Raised(PyErr),
}

impl Ended {
    fn into_outcome<T>(self) -> Outcome<T> {
        match self {
            Self::TimedOut(error) => Outcome::new(Err(error)),
            Self::Raised(error) => Outcome {
                result: Err(Error::Interrupted),
                raised: Some(error),
            },
        }
    }
}

/// One wait. Whether its time is over is looked at before the next.
fn wait(py: Python<'_>, stream: &SendStream, timeout: Timeout, event: Event) -> Result<(), Ended> {
    let left = timeout.left().map_err(Ended::TimedOut)?;
    let engine = stream.engine().map_err(Ended::Raised)?;
    let _kept = py
        .detach(|| engine.keep_poll_descriptor())
        .map_err(|error| Ended::Raised(os_error(&error)))?;
    let face = stream.face(py).map_err(Ended::Raised)?;
    match call_back(py, &face, event, left) {
        Err(error) if left.is_some() && error.is_instance_of::<PyTimeoutError>(py) => {
            Err(Ended::TimedOut(timeout.passed()))
        }
        Err(error) => Err(Ended::Raised(error)),
        Ok(()) => Ok(()),
    }
}

fn call_back(
    py: Python<'_>,
    waited_for: &Bound<'_, PyAny>,
    event: Event,
    timeout: Option<Duration>,
) -> PyResult<()> {
    let Some(callback) = get_wait_callback(py) else {
        // Taken away meanwhile: the call looks again, and waits natively from its next call on.
        return Ok(());
    };
    let seconds = timeout.map(|timeout| timeout.as_secs_f64());
    python_call::call(callback.bind(py), (waited_for, event as i32, seconds)).map(drop)
}
