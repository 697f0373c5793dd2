//! `ktls._core.ClientHello` and `ServerHello`.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffer::Input;
use crate::errors::value_error;

/// What the record layer needs of a ClientHello.
#[pyclass(frozen, module = "ktls._core")]
pub(crate) struct ClientHello(ktls_record::handshake::ClientHello);

#[pymethods]
impl ClientHello {
    #[new]
    fn new(message: &Bound<'_, PyAny>) -> PyResult<Self> {
        let hello = ktls_record::handshake::ClientHello::parse(Input::new(message)?.as_slice());
        hello.map(Self).map_err(|error| value_error(&error))
    }

    #[getter]
    fn random<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.random)
    }

    #[getter]
    fn max_fragment_len(&self) -> Option<u16> {
        self.0.max_fragment_len
    }

    #[getter]
    fn record_size_limit(&self) -> Option<u16> {
        self.0.record_size_limit
    }
}

/// What the record layer needs of a ServerHello.
#[pyclass(frozen, module = "ktls._core")]
pub(crate) struct ServerHello(ktls_record::handshake::ServerHello);

#[pymethods]
impl ServerHello {
    #[new]
    fn new(message: &Bound<'_, PyAny>) -> PyResult<Self> {
        let hello = ktls_record::handshake::ServerHello::parse(Input::new(message)?.as_slice());
        hello.map(Self).map_err(|error| value_error(&error))
    }

    #[getter]
    fn random<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.random)
    }

    #[getter]
    fn is_hello_retry_request(&self) -> bool {
        self.0.is_hello_retry_request
    }

    #[getter]
    fn cipher_suite(&self) -> u16 {
        self.0.cipher_suite
    }

    #[getter]
    fn compression_method(&self) -> u8 {
        self.0.compression_method
    }

    #[getter]
    fn tls_vminor(&self) -> u8 {
        self.0.tls_vminor
    }

    #[getter]
    fn encrypt_then_mac(&self) -> bool {
        self.0.encrypt_then_mac
    }

    #[getter]
    fn max_fragment_len(&self) -> Option<u16> {
        self.0.max_fragment_len
    }
}
