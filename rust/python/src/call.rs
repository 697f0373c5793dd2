//! Calls that wait: without the interpreter, within a time-out, and with Python's signal handlers run meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use ktls_engine::{Deadline, Error};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::errors::os_error;
use crate::waiting;

/// The time of one call, which runs from its entry whatever the call does.
#[derive(Clone, Copy)]
pub(crate) struct Timeout {
    /// What the program called.
    call: &'static str,
    blocking: bool,
    /// It does not wait for the socket, but for a turn, which is never held while anybody waits.
    waits_for_turns: bool,
    until: Option<Instant>,
}

impl Timeout {
    /// It does not wait.
    pub(crate) const NONBLOCKING: Self = Self {
        call: "",
        blocking: false,
        waits_for_turns: false,
        until: None,
    };

    /// It never gives up.
    pub(crate) const FOREVER: Self = Self {
        call: "",
        blocking: true,
        waits_for_turns: true,
        until: None,
    };

    /// It waits, for at most this long from now on; None: for ever.
    pub(crate) fn within(duration: Option<Duration>, call: &'static str) -> Self {
        Self {
            call,
            blocking: true,
            waits_for_turns: true,
            until: duration.and_then(|duration| Instant::now().checked_add(duration)),
        }
    }

    /// Whether the program's callback waits in it.
    pub(crate) fn is_cooperative(self) -> bool {
        self.blocking && waiting::is_set()
    }

    /// A step between two waits of the callback.
    pub(crate) fn of_step(self) -> Self {
        Self {
            blocking: false,
            ..self
        }
    }

    /// The same for taking a turn.
    pub(crate) fn of_turn(self) -> Self {
        Self {
            blocking: self.waits_for_turns,
            ..self
        }
    }

    /// What is left of it; None: it never ends.
    pub(crate) fn left(self) -> Result<Option<Duration>, Error> {
        let Some(until) = self.until else {
            return Ok(None);
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.passed());
        }
        Ok(Some(left))
    }

    /// It is over.
    pub(crate) fn passed(self) -> Error {
        Error::DeadlinePassed {
            call: self.call,
            accepted: None,
        }
    }
}

/// What a call of the engine came to, and what a signal handler raised meanwhile.
pub(crate) struct Outcome<T> {
    pub(crate) result: Result<T, Error>,
    pub(crate) raised: Option<PyErr>,
}

impl<T> Outcome<T> {
    pub(crate) fn new(result: Result<T, Error>) -> Self {
        Self {
            result,
            raised: None,
        }
    }

    /// Whether the call may be made again after a wait.
    pub(crate) fn would_block(&self) -> bool {
        self.raised.is_none() && self.result.as_ref().is_err_and(Error::is_would_block)
    }

    /// The same, for a call of which so many bytes were accepted before.
    pub(crate) fn after(self, bytes: u64) -> Self {
        Self {
            result: self.result.map_err(|error| error.after(bytes)),
            ..self
        }
    }

    /// What a signal handler raised ends the call.
    pub(crate) fn into_result(self) -> PyResult<T> {
        match self.raised {
            Some(error) => Err(error),
            None => self.result.map_err(|error| os_error(&error)),
        }
    }
}

/// Runs a call of the engine. What a signal handler raises ends the call.
pub(crate) fn run<T: Send>(
    py: Python<'_>,
    timeout: Timeout,
    call: impl FnOnce(&mut Deadline<'_>) -> Result<T, Error> + Send,
) -> PyResult<T> {
    attempt(py, timeout, call).into_result()
}

/// The same, for a caller that must know what the call did although a handler raised.
pub(crate) fn attempt<T: Send>(
    py: Python<'_>,
    timeout: Timeout,
    call: impl FnOnce(&mut Deadline<'_>) -> Result<T, Error> + Send,
) -> Outcome<T> {
    let mut raised = None;
    let result = py.detach(|| {
        let mut check_signals = || {
            if raised.is_none() {
                // At the end of the interpreter no handler runs.
                raised = Python::try_attach(|py| py.check_signals()).and_then(Result::err);
            }
            raised.is_some()
        };
        let mut deadline = if timeout.blocking {
            Deadline::until(timeout.until, &mut check_signals).of(timeout.call)
        } else {
            Deadline::nonblocking(&mut check_signals)
        };
        // The engine has ended the connection by then; no panic may run through Python.
        catch_unwind(AssertUnwindSafe(|| call(&mut deadline)))
            .unwrap_or(Err(Error::Internal("a panic")))
    });
    Outcome { result, raised }
}

/// What a program gives as a time-out.
pub(crate) fn timeout(seconds: &Bound<'_, PyAny>) -> PyResult<Duration> {
    let counted = seconds.extract().map_err(|_| {
        PyTypeError::new_err(format!(
            "timeout {seconds:?} is no number; it is seconds, or None to wait as long as it takes"
        ))
    })?;
    duration(counted)
}

/// The same for a socket to keep, rounded up, as Python does: what is more than nothing waits.
pub(crate) fn timeout_nanoseconds(seconds: &Bound<'_, PyAny>) -> PyResult<i64> {
    let duration = timeout(seconds)?;
    match i64::try_from(duration.as_nanos()) {
        Ok(0) if seconds.is_truthy()? => Ok(1),
        Ok(nanoseconds) => Ok(nanoseconds),
        Err(_) => Err(PyOverflowError::new_err(format!(
            "timeout {seconds} is too large: it is at most {} seconds, or None to wait as long as it takes",
            Duration::from_nanos(i64::MAX as u64).as_secs(),
        ))),
    }
}

/// Seconds as Python gives them; more than a clock can count is for ever.
pub(crate) fn duration(seconds: f64) -> PyResult<Duration> {
    if seconds.is_nan() || seconds < 0.0 {
        return Err(PyValueError::new_err(format!(
            "timeout {seconds} is out of range: it is a number of seconds, 0 or more"
        )));
    }
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}
