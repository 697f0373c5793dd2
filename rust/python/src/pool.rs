//! The process's worker pool, and the numbers that steer and describe the engine.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ktls_engine::{Pool, SetError};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;

use crate::errors::os_error;

static POOL: Mutex<Option<Arc<Pool>>> = Mutex::new(None);

/// The pool of this process.
pub(crate) fn pool() -> Arc<Pool> {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(pool.get_or_insert_with(|| Arc::new(Pool::new())))
}

#[pyfunction]
#[pyo3(signature = (count, bind=0))]
pub(crate) fn start_workers(count: usize, bind: usize) -> PyResult<()> {
    pool()
        .start(count, bind > 0)
        .map_err(|error| os_error(&error))
}

#[pyfunction]
pub(crate) fn stop_workers(py: Python<'_>, timeout: f64) -> PyResult<bool> {
    let Ok(timeout) = Duration::try_from_secs_f64(timeout) else {
        return Err(PyValueError::new_err(format!(
            "timeout {timeout} is not a number of seconds"
        )));
    };
    let pool = pool();
    Ok(py.detach(|| pool.stop(timeout)))
}

#[pyfunction]
pub(crate) fn aio_completions(py: Python<'_>) -> PyResult<Vec<(u64, Py<PyAny>)>> {
    let pool = pool();
    let ended = py.detach(|| pool.completions());
    ended
        .into_iter()
        .map(|write| {
            let result = match write.result {
                Ok(count) => count.into_pyobject(py)?.into_any().unbind(),
                Err(error) => os_error(&error).into_value(py).into_any(),
            };
            Ok((write.id, result))
        })
        .collect()
}

#[pyfunction]
pub(crate) fn stop_aio() {
    pool().stop_completions();
}

#[pyfunction]
pub(crate) fn before_fork() {
    // With the interpreter held: nobody inside the engine waits for it. Nor does anybody wait for the engine with the
    // interpreter held, since a hook of somebody else may let it go before the fork is over.
    ktls_engine::before_fork();
}

#[pyfunction]
pub(crate) fn after_fork_in_parent() {
    ktls_engine::after_fork_in_parent();
}

#[pyfunction]
pub(crate) fn after_fork_in_child() {
    ktls_engine::after_fork_in_child();
    let inherited = POOL.lock().unwrap_or_else(PoisonError::into_inner).take();
    // Its locks may be held by threads that are not here, so not even its end may be run.
    std::mem::forget(inherited);
}

#[pyfunction]
pub(crate) fn set_tunable(name: &str, value: usize) -> PyResult<()> {
    ktls_engine::set_tunable(&name.replace('.', "_"), value).map_err(|error| match error {
        SetError::Unknown => {
            PyKeyError::new_err(format!("kern.ipc.tls.{name} is no tunable of the engine"))
        }
        SetError::Range { .. } => PyValueError::new_err(format!("kern.ipc.tls.{name}: {error}")),
    })
}

#[pyfunction]
pub(crate) fn counters() -> HashMap<&'static str, u64> {
    ktls_engine::counters().into_iter().collect()
}
