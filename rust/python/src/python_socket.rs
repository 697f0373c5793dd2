//! Socket objects of Python around descriptors of ours.
//!
//! Each step that changes who owns a descriptor is one call from Python's side: a signal handler may raise between any two
//! bytecodes, and what nobody owns then stays open for ever.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use ktls_engine::words;
use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

/// A `socket.socket` in the place of this one, which loses its descriptor to it.
#[pyfunction]
pub(crate) fn adopt(sock: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    let py = sock.py();
    let timeout = sock.call_method0(intern!(py, "gettimeout"))?;
    let named = named(sock)?;
    let class = python_class(py)?;
    if !is_native(&class)? {
        // gevent's or eventlet's.
        let fd = sock.call_method0(intern!(py, "detach"))?;
        named.set_item(intern!(py, "fileno"), fd)?;
        let made = class.call((), Some(&named))?;
        made.call_method1(intern!(py, "settimeout"), (timeout,))?;
        return Ok(made.unbind());
    }
    let made = blank(&class)?;
    let initialise = native_class(py)?.getattr(intern!(py, "__init__"))?;
    let fd = detach(sock, &class)?;
    named.set_item(intern!(py, "fileno"), fd)?;
    initialise.call((&made,), Some(&named))?;
    made.call_method1(intern!(py, "settimeout"), (timeout,))?;
    Ok(made.unbind())
}

/// Receives one byte without waiting, whatever the time-out of who has the descriptor. Whether there was one.
#[pyfunction]
pub(crate) fn takes_byte(fd: i32) -> PyResult<bool> {
    ktls_engine::take_byte(fd)
        .map_err(|errno| PyOSError::new_err((errno.raw_os_error(), words(errno))))
}

/// A socket object of this class that owns the descriptor.
pub(crate) fn new_socket(class: &Bound<'_, PyAny>, socket: OwnedFd) -> PyResult<Py<PyAny>> {
    let made = around(class, &socket);
    // Whose the descriptor is after an error is not known: one that leaks is better than one that is closed twice.
    let _ = socket.into_raw_fd();
    Ok(made?.unbind())
}

/// The same of the class that the program knows as `socket.socket`.
pub(crate) fn new_python_socket(py: Python<'_>, socket: OwnedFd) -> PyResult<Py<PyAny>> {
    let class = python_class(py)?;
    if !is_native(&class)? {
        // gevent's or eventlet's, which takes its family from the descriptor.
        return new_socket(&class, socket);
    }
    // Without its own constructor: a signal handler may raise in the middle of that.
    let made = blank(&class)?;
    let arguments = PyDict::new(py);
    arguments.set_item(intern!(py, "fileno"), socket.as_raw_fd())?;
    native_class(py)?.call_method(intern!(py, "__init__"), (&made,), Some(&arguments))?;
    let _ = socket.into_raw_fd();
    Ok(made.unbind())
}

/// Calls with a `_socket.socket` on this very descriptor, which it loses again whatever came of the call.
pub(crate) fn with_borrowed(call: &Bound<'_, PyAny>, socket: &impl AsRawFd) -> PyResult<Py<PyAny>> {
    let py = call.py();
    let borrower = around(&native_class(py)?, socket)?;
    let result = call.call1((&borrower,));
    borrower.call_method0(intern!(py, "detach"))?;
    Ok(result?.unbind())
}

/// The class of the C module, whose methods no signal handler can come into the middle of.
pub(crate) fn native_class(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    py.import(intern!(py, "_socket"))?
        .getattr(intern!(py, "socket"))
}

fn python_class(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    py.import(intern!(py, "socket"))?
        .getattr(intern!(py, "socket"))
}

fn is_native(class: &Bound<'_, PyAny>) -> PyResult<bool> {
    class
        .cast::<PyType>()?
        .is_subclass(&native_class(class.py())?)
}

/// The kernel is asked for family, type and protocol.
fn around<'py>(class: &Bound<'py, PyAny>, socket: &impl AsRawFd) -> PyResult<Bound<'py, PyAny>> {
    let arguments = PyDict::new(class.py());
    for name in ["family", "type", "proto"] {
        arguments.set_item(name, -1)?;
    }
    arguments.set_item(intern!(class.py(), "fileno"), socket.as_raw_fd())?;
    class.call((), Some(&arguments))
}

/// A `socket.socket` without a descriptor.
fn blank<'py>(class: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    let made = class.call_method1(intern!(py, "__new__"), (class,))?;
    made.setattr(intern!(py, "_io_refs"), 0)?;
    made.setattr(intern!(py, "_closed"), false)?;
    Ok(made)
}

fn named<'py>(sock: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    let arguments = PyDict::new(sock.py());
    for name in ["family", "type", "proto"] {
        arguments.set_item(name, sock.getattr(name)?)?;
    }
    Ok(arguments)
}

/// As `sock.detach()`, in one step where that is the method of `socket.socket`, which is Python.
fn detach<'py>(sock: &Bound<'py, PyAny>, class: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = sock.py();
    let name = intern!(py, "detach");
    // Of what behaves like a socket its type may know nothing.
    let is_inherited = match sock.get_type().getattr(name) {
        Ok(method) => method.is(class.getattr(name)?),
        Err(_) => false,
    };
    if !is_inherited {
        return sock.call_method0(name);
    }
    sock.setattr(intern!(py, "_closed"), true)?;
    native_class(py)?.call_method1(name, (sock,))
}
