//! Bytes from Python. `bytes` never change, so they are looked at and kept where they are; any other buffer is
//! copied while the interpreter is held, since its owner may change it afterwards. The only `unsafe` of this crate.

use std::sync::Arc;

use ktls_engine::{Data, Owner};
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyBufferError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyByteArray, PyBytes};

/// Below this a reference costs more than a copy.
const COPY_BELOW: usize = 4096;

/// What a buffer argument gave.
pub(crate) enum Input<'py> {
    /// Immutable, and Python keeps it.
    Bytes(Bound<'py, PyBytes>),
    /// Ours.
    Copied(Vec<u8>),
}

impl<'py> Input<'py> {
    /// Takes `bytes` as they are, and a copy of any other contiguous buffer.
    pub(crate) fn new(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = object.cast_exact::<PyBytes>() {
            return Ok(Self::Bytes(bytes.clone()));
        }
        Ok(Self::Copied(copy(object)?))
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes.as_bytes(),
            Self::Copied(bytes) => bytes,
        }
    }

    /// The same for the engine: something that may be kept after the call.
    pub(crate) fn into_owner(self) -> Owner {
        match self {
            Self::Bytes(bytes) => Arc::new(PyBackedBytes::from(bytes)),
            Self::Copied(bytes) => Arc::new(bytes),
        }
    }
}

/// Calls `with` with the bytes in the form that suits their length.
pub(crate) fn with_data<R>(
    object: &Bound<'_, PyAny>,
    with: impl FnOnce(Data<'_>) -> R,
) -> PyResult<R> {
    let input = Input::new(object)?;
    if input.as_slice().len() < COPY_BELOW {
        return Ok(with(Data::Borrowed(input.as_slice())));
    }
    Ok(with(Data::Shared(input.into_owner())))
}

/// A copy of a contiguous buffer's bytes, whatever its items are.
pub(crate) fn copy(object: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let buffer = open(object)?;
    let len = buffer.len_bytes();
    if len == 0 {
        return Ok(Vec::new());
    }
    let start = buffer.buf_ptr().cast::<u8>();
    // SAFETY: the exporter promises `len` readable bytes at `start` while `buffer` lives, the buffer is contiguous, and
    // the interpreter is held, so that nothing changes them during the copy.
    let bytes = unsafe { std::slice::from_raw_parts(start, len) };
    Ok(bytes.to_vec())
}

/// Lets `write` fill the first `size` bytes of a writable contiguous buffer.
pub(crate) fn fill<R>(
    object: &Bound<'_, PyAny>,
    size: usize,
    write: impl FnOnce(&mut [u8]) -> PyResult<R>,
) -> PyResult<R> {
    if let Ok(array) = object.cast_exact::<PyByteArray>()
        && array.len() >= size
    {
        // SAFETY: the interpreter is held and `write` calls nothing of Python, so that nobody resizes or reads the
        // array meanwhile.
        return write(&mut unsafe { array.as_bytes_mut() }[..size]);
    }
    let buffer = writable(object, size)?;
    if size == 0 {
        return write(&mut []);
    }
    let start = buffer.buf_ptr().cast::<u8>();
    // SAFETY: the exporter promises at least `size` writable bytes at `start` while `buffer` lives, and the interpreter
    // is held, so that nobody else comes to them. What is written is read from `bytes`, which are never writable, or
    // from a copy of ours: nothing overlaps.
    let out = unsafe { std::slice::from_raw_parts_mut(start, size) };
    write(out)
}

fn writable(object: &Bound<'_, PyAny>, size: usize) -> PyResult<PyUntypedBuffer> {
    let buffer = open(object)?;
    if buffer.readonly() {
        return Err(PyTypeError::new_err(
            "the output buffer is read-only; use a bytearray or a writable memoryview",
        ));
    }
    let room = buffer.len_bytes();
    if room < size {
        return Err(PyValueError::new_err(format!(
            "the records take {size} bytes, the output buffer has {room}"
        )));
    }
    Ok(buffer)
}

fn open(object: &Bound<'_, PyAny>) -> PyResult<PyUntypedBuffer> {
    let buffer = PyUntypedBuffer::get(object).map_err(|_| {
        let kind = object
            .get_type()
            .name()
            .map_or_else(|_| "object".to_owned(), |name| name.to_string());
        PyTypeError::new_err(format!("a bytes-like object is required, not '{kind}'"))
    })?;
    if !buffer.is_c_contiguous() {
        return Err(PyBufferError::new_err(
            "the buffer is not contiguous; pass bytes(view)",
        ));
    }
    Ok(buffer)
}
