//! Bytes from Python. `bytes` never change, so they are looked at and kept where they are; any other buffer is
//! copied while the interpreter is held, since its owner may change it afterwards.
//!
//! Buffers are asked for as `socket.send` asks for them (`PyBUF_SIMPLE`): the exporter gives C-contiguous bytes, whatever
//! its items and dimensions are, or refuses. pyo3's own view wants a shape and strides, which ctypes does not give.

use std::ffi::c_int;
use std::sync::Arc;

use ktls_engine::{Data, SharedBytes};
use pyo3::exceptions::{PyMemoryError, PyTypeError, PyValueError};
use pyo3::ffi;
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
    pub(crate) fn into_shared(self) -> SharedBytes {
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
    Ok(with(Data::Shared(input.into_shared())))
}

/// A copy of a C-contiguous buffer's bytes, whatever its items are.
pub(crate) fn copy(object: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let view = View::new(object, ffi::PyBUF_SIMPLE).map_err(|error| not_bytes(object, error))?;
    let len = view.len();
    if len == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the exporter promises `len` readable bytes at the start of a view while it lives, and the interpreter is
    // held, so that nothing changes them during the copy.
    let bytes = unsafe { std::slice::from_raw_parts(view.start(), len) };
    let mut copied = Vec::new();
    copied
        .try_reserve_exact(len)
        .map_err(|_| PyMemoryError::new_err(format!("no memory for a copy of {len} bytes")))?;
    copied.extend_from_slice(bytes);
    Ok(copied)
}

/// Lets `write` fill the first `size` bytes of a writable C-contiguous buffer.
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
    let view = writable(object, size)?;
    if size == 0 {
        return write(&mut []);
    }
    // SAFETY: the exporter promises at least `size` writable bytes at the start of the view while it lives, and the
    // interpreter is held, so that nobody else comes to them. What is written is read from `bytes`, which are never
    // writable, or from a copy of ours: nothing overlaps.
    let out = unsafe { std::slice::from_raw_parts_mut(view.start(), size) };
    write(out)
}

/// A `bytes` object of what `fill` writes to the start of `size` zeros; it says how many. `size` is not 0. Where all of it
/// is filled, nothing is copied.
pub(crate) fn new_bytes<'py>(
    py: Python<'py>,
    size: usize,
    fill: impl FnOnce(&mut [u8]) -> PyResult<usize>,
) -> PyResult<Bound<'py, PyBytes>> {
    let too_large = |_| PyMemoryError::new_err(format!("no memory for {size} bytes"));
    let len = ffi::Py_ssize_t::try_from(size).map_err(too_large)?;
    // SAFETY: the interpreter is held; without a text nothing is read.
    let made = unsafe { ffi::PyBytes_FromStringAndSize(std::ptr::null(), len) };
    // SAFETY: that was null with an exception set, or a new reference.
    let object = unsafe { Bound::from_owned_ptr_or_err(py, made) }?;
    // SAFETY: it is a `bytes` object.
    let start = unsafe { ffi::PyBytes_AsString(object.as_ptr()) }.cast::<u8>();
    // SAFETY: an object of more than 0 bytes that was made without a text is nobody else's yet, and has `size` bytes there.
    unsafe { start.write_bytes(0, size) };
    // SAFETY: the same bytes, which now hold something. Nobody else comes to the object before this function returns, also
    // while `fill` lets the interpreter go: the collector does not know `bytes`.
    let filled = fill(unsafe { std::slice::from_raw_parts_mut(start, size) })?;
    let whole = object.cast_into::<PyBytes>()?;
    Ok(match whole.as_bytes().get(..filled) {
        Some(part) if filled < size => PyBytes::new(py, part),
        _ => whole,
    })
}

/// A writable C-contiguous buffer of Python, which stays where it is and as long as it is until this is dropped.
pub(crate) struct Writable<'py>(View<'py>);

impl<'py> Writable<'py> {
    pub(crate) fn new(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        Ok(Self(writable(object, 0)?))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// All of it, also for a call that lets the interpreter go.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        let len = self.len();
        if len == 0 {
            return &mut [];
        }
        // SAFETY: the exporter promises `len` writable bytes at the start of the view while it lives, and neither moves
        // nor resizes them meanwhile. Without the interpreter other threads of the program can come to them, as in
        // `socket.recv_into`: what the two then write and read there is the program's to order. Nothing here relies on
        // what the bytes are, but for the lengths that were checked before.
        unsafe { std::slice::from_raw_parts_mut(self.0.start(), len) }
    }
}

fn writable<'py>(object: &Bound<'py, PyAny>, size: usize) -> PyResult<View<'py>> {
    let py = object.py();
    let view = View::new(object, ffi::PyBUF_WRITABLE).map_err(|error| {
        if View::new(object, ffi::PyBUF_SIMPLE).is_err() {
            return not_bytes(object, error);
        }
        let read_only = PyTypeError::new_err(
            "the output buffer is read-only; use a bytearray or a writable memoryview",
        );
        read_only.set_cause(py, Some(error));
        read_only
    })?;
    let room = view.len();
    if room < size {
        return Err(PyValueError::new_err(format!(
            "the records take {size} bytes, the output buffer has {room}"
        )));
    }
    Ok(view)
}

/// The error for an object that gives no bytes: what it says itself if it is a buffer, as `socket.send`.
fn not_bytes(object: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
    if !error.is_instance_of::<PyTypeError>(object.py()) {
        return error;
    }
    let kind = object
        .get_type()
        .name()
        .map_or_else(|_| "object".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!("a bytes-like object is required, not '{kind}'"))
}

/// The bytes that an exporter lends, until this is dropped. It stays where the interpreter is held.
struct View<'py> {
    /// In a box, because exporters point from it into itself.
    raw: Box<ffi::Py_buffer>,
    /// The view ends with the interpreter held.
    _held: Python<'py>,
}

impl<'py> View<'py> {
    fn new(object: &Bound<'py, PyAny>, flags: c_int) -> PyResult<Self> {
        let mut raw = Box::new(ffi::Py_buffer::new());
        // SAFETY: `object` lives during the call, `raw` is writable, and the interpreter is held.
        let result = unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), &raw mut *raw, flags) };
        if result < 0 {
            return Err(PyErr::fetch(object.py()));
        }
        Ok(Self {
            raw,
            _held: object.py(),
        })
    }

    fn start(&self) -> *mut u8 {
        self.raw.buf.cast()
    }

    fn len(&self) -> usize {
        // An exporter cannot mean less than nothing.
        usize::try_from(self.raw.len).unwrap_or(0)
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        // SAFETY: `raw` was filled by PyObject_GetBuffer, is released once, and the interpreter is held.
        unsafe { ffi::PyBuffer_Release(&raw mut *self.raw) };
    }
}
