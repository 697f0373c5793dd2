//! From the errors of the crates below to the exceptions of Python.

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

pyo3::import_exception!(ktls.errors, BadRecord);

/// An errno with its sentence, as the `OSError` of that number.
pub(crate) fn os_error(error: &ktls_engine::Error) -> PyErr {
    PyOSError::new_err((error.errno(), error.to_string()))
}

/// A refused argument.
pub(crate) fn value_error(error: &ktls_record::Error) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// A record that does not open.
pub(crate) fn bad_record(error: &ktls_record::Error) -> PyErr {
    BadRecord::new_err(error.to_string())
}
