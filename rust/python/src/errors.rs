//! From the errors of the crates below to the exceptions of Python.

use pyo3::exceptions::{PyBlockingIOError, PyOSError, PyTimeoutError, PyValueError};
use pyo3::prelude::*;

use crate::ssl_errors::{SSLEOFError, SSLWantReadError, WantReadError, peer_alert, with_reason};

pub(crate) const EOPNOTSUPP: i32 = 95;

pyo3::import_exception!(ssl, SSLError);
pyo3::import_exception!(ktls.errors, BadRecord);
pyo3::import_exception!(ktls.errors, HandoverDeclined);
pyo3::import_exception!(ktls.errors, HandoverError);

/// Finds all exceptions that are raised here: at the end of the interpreter nothing can be imported any more.
pub(crate) fn import(py: Python<'_>) {
    py.get_type::<BadRecord>();
    py.get_type::<HandoverDeclined>();
    py.get_type::<HandoverError>();
    py.get_type::<SSLEOFError>();
    py.get_type::<SSLError>();
    py.get_type::<SSLWantReadError>();
    py.get_type::<WantReadError>();
}

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
    if let ktls_engine::Error::PeerAlert(description) = error {
        return peer_alert(*description);
    }
    if matches!(error, ktls_engine::Error::DataEnded) {
        return with_reason("PROTOCOL_IS_SHUTDOWN", "protocol is shutdown");
    }
    PyOSError::new_err((error.errno(), error.to_string()))
}

/// A refused argument; EOPNOTSUPP where it is a backend that does not take the keys.
pub(crate) fn value_error(error: &ktls_record::Error) -> PyErr {
    if matches!(error, ktls_record::Error::Backend { .. }) {
        return PyOSError::new_err((EOPNOTSUPP, error.to_string()));
    }
    PyValueError::new_err(error.to_string())
}

/// A record that does not open.
pub(crate) fn bad_record(error: &ktls_record::Error) -> PyErr {
    BadRecord::new_err(error.to_string())
}
