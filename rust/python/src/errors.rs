//! From the errors of the crates below to the exceptions of Python.

use pyo3::exceptions::{PyBlockingIOError, PyOSError, PyTimeoutError, PyValueError};
use pyo3::prelude::*;

pyo3::import_exception!(ssl, SSLError);
pyo3::import_exception!(ktls.errors, BadRecord);
pyo3::import_exception!(ktls.errors, HandoverDeclined);
pyo3::import_exception!(ktls.errors, HandoverError);

/// A cause with its sentence, as the `OSError` of its errno. The end of a call's own time is a `TimeoutError` without a
/// number, as a socket's: ETIMEDOUT is what ended a connection.
pub(crate) fn os_error(error: &ktls_engine::Error) -> PyErr {
    if error.is_timed_out() {
        return PyTimeoutError::new_err(error.to_string());
    }
    if error.is_would_block() {
        // By its own class: before Python 3.12 an error that was not raised yet has the class that was named.
        return PyBlockingIOError::new_err((error.errno(), error.to_string()));
    }
    if matches!(error, ktls_engine::Error::DataEnded) {
        return protocol_is_shutdown();
    }
    PyOSError::new_err((error.errno(), error.to_string()))
}

/// What `ssl` raises for a write after close_notify.
fn protocol_is_shutdown() -> PyErr {
    const SSL_ERROR_SSL: i32 = 1;
    let words = "[SSL: PROTOCOL_IS_SHUTDOWN] protocol is shutdown";
    let error = SSLError::new_err((SSL_ERROR_SSL, words));
    Python::attach(|py| {
        let value = error.value(py);
        value.setattr("library", "SSL")?;
        value.setattr("reason", "PROTOCOL_IS_SHUTDOWN")
    })
    .err()
    .unwrap_or(error)
}

/// A refused argument.
pub(crate) fn value_error(error: &ktls_record::Error) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// A record that does not open.
pub(crate) fn bad_record(error: &ktls_record::Error) -> PyErr {
    BadRecord::new_err(error.to_string())
}
