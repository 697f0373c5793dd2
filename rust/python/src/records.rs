//! `ktls._core.read_records`.

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::os_error;
use crate::limit::{Limit, run};

/// Whole records off a socket.
#[pyfunction]
pub(crate) fn read_records(
    py: Python<'_>,
    fd: i32,
    timeout: Option<f64>,
) -> PyResult<Bound<'_, PyBytes>> {
    let limit = Limit::new(timeout)?;
    let read = ktls_engine::with_descriptor(fd, |socket| {
        let size = run(py, limit, |patience| {
            ktls_engine::ready_records_size(socket, patience)
        })?;
        // They lie in the kernel: taking them does not wait.
        PyBytes::new_with(py, size, |out| {
            match ktls_engine::take_records(socket, out) {
                Ok(count) if count == size => Ok(()),
                Ok(_) => Err(PyOSError::new_err("somebody else reads from this socket")),
                Err(error) => Err(os_error(&error)),
            }
        })
    });
    read.map_err(|errno| {
        PyOSError::new_err((errno.raw_os_error(), format!("descriptor {fd} is not open")))
    })?
}
