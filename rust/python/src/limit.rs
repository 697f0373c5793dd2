//! Calls that wait: without the interpreter, within a time-out, and with Python's signal handlers run meanwhile.

use std::time::{Duration, Instant};

use ktls_engine::{Error, Patience};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors::os_error;

/// How long a call may take.
#[derive(Clone, Copy)]
pub(crate) struct Limit {
    may_wait: bool,
    duration: Option<Duration>,
}

impl Limit {
    /// It does not wait.
    pub(crate) const AT_ONCE: Self = Self {
        may_wait: false,
        duration: None,
    };

    /// As a socket's time-out: None waits for ever, 0 not at all.
    pub(crate) fn new(timeout: Option<f64>) -> PyResult<Self> {
        let duration = timeout.map(duration).transpose()?;
        Ok(if duration.is_some_and(|duration| duration.is_zero()) {
            Self::AT_ONCE
        } else {
            Self::waiting(duration)
        })
    }

    /// It waits, for at most this long.
    pub(crate) const fn waiting(duration: Option<Duration>) -> Self {
        Self {
            may_wait: true,
            duration,
        }
    }
}

/// Runs a call of the engine. What a signal handler raises ends the call.
pub(crate) fn run<T: Send>(
    py: Python<'_>,
    limit: Limit,
    call: impl FnOnce(&mut Patience<'_>) -> Result<T, Error> + Send,
) -> PyResult<T> {
    match attempt(py, limit, call) {
        (_, Some(raised)) => Err(raised),
        (result, None) => result.map_err(|error| os_error(&error)),
    }
}

/// As [`run`], for a call whose result counts also when a signal handler raised: both are returned.
pub(crate) fn attempt<T: Send>(
    py: Python<'_>,
    limit: Limit,
    call: impl FnOnce(&mut Patience<'_>) -> Result<T, Error> + Send,
) -> (Result<T, Error>, Option<PyErr>) {
    let mut raised = None;
    let result = py.detach(|| {
        let mut interrupted = || {
            if raised.is_none() {
                raised = Python::attach(|py| py.check_signals()).err();
            }
            raised.is_some()
        };
        call(&mut Patience {
            may_wait: limit.may_wait,
            deadline: limit.duration.map(|duration| Instant::now() + duration),
            interrupted: &mut interrupted,
        })
    });
    (result, raised)
}

/// Seconds as Python gives them.
pub(crate) fn duration(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        PyValueError::new_err(format!(
            "timeout {seconds} is not a number of seconds, 0 or more"
        ))
    })
}
