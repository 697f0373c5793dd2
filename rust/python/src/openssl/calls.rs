//! Calls of OpenSSL: one at a time, and never torn: what it wrote is in the send stream before the call returns.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ktls_engine::SendStream as Engine;
use ktls_record::handover;
use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::OpenSSLSide;
use super::output::{Appending, Output, release};
use crate::call::Timeout;
use crate::errors::{HandoverError, os_error};
use crate::python_call::call_method;
use crate::record_params::RecordParams;

/// The errno of a call that would wait for itself.
const EDEADLK: i32 = 35;

impl OpenSSLSide {
    /// Calls OpenSSL, and sends what it wrote, also when it raised.
    pub(super) fn call<'py>(
        &self,
        py: Python<'py>,
        timeout: Timeout,
        function: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.call_then(py, timeout, function, |_| false)
    }

    /// The same. With `answers` OpenSSL is then given the occasion to answer a KeyUpdate (TLS 1.3), which it does in its
    /// next write only: writing nothing makes no record.
    pub(super) fn call_then<'py>(
        &self,
        py: Python<'py>,
        timeout: Timeout,
        function: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>>,
        answers: impl FnOnce(&PyResult<Bound<'py, PyAny>>) -> bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _inside = self.take_inside(py, timeout)?;
        self.check_nested()?;
        let _appending = Appending::new(self);
        let ssl = self.ssl.bind(py);
        let result = function(ssl);
        let mut said = self.send_outgoing(py);
        if answers(&result) && self.lock().is_tls13 {
            let answered = call_method(ssl, intern!(py, "write"), (PyBytes::new(py, b""),));
            said = said.and(self.send_outgoing(py));
            // An error of OpenSSL comes again with the next call; what a signal handler raised does not.
            if let Err(error) = answered
                && result.is_ok()
                && !error.is_instance_of::<PyOSError>(py)
            {
                said = said.and(Err(error));
            }
        }
        // A connection that failed when something was said may still have something to read.
        match result {
            Ok(result) => match said {
                Err(error) if !error.is_instance_of::<PyOSError>(py) => Err(error),
                _ => Ok(result),
            },
            Err(error) => Err(error),
        }
    }

    /// Opens the probe that OpenSSL wrote, and goes on with the keys that it was written with. Returns those that the
    /// peer may write with.
    pub(super) fn prove(
        &self,
        py: Python<'_>,
        engine: &Arc<Engine>,
        candidates: handover::Candidates,
        params: &RecordParams,
    ) -> PyResult<Vec<handover::DirectionKeys>> {
        let is_tls13 = candidates.suite.version() == ktls_record::Version::Tls13;
        let verified = candidates
            .verify_probe(&self.read_outgoing(py)?)
            .map_err(|failed| HandoverError::new_err(failed.to_string()))?;
        if verified.index > 0 {
            install(py, engine, params, &verified.write)?;
        }
        let mut state = self.lock();
        release(&mut state);
        state.output = Output::Translated(verified.openssl);
        state.is_tls13 = is_tls13;
        Ok(verified.read)
    }

    pub(super) fn write_chunk(
        &self,
        py: Python<'_>,
        timeout: Timeout,
        chunk: &[u8],
    ) -> PyResult<usize> {
        let _inside = self.take_inside(py, timeout)?;
        self.check_nested()?;
        let _appending = Appending::new(self);
        let ssl = self.ssl.bind(py);
        let written = call_method(ssl, intern!(py, "write"), (PyBytes::new(py, chunk),));
        // Whatever a signal handler raised: OpenSSL has counted the record.
        self.send_outgoing(py)?;
        written?.extract()
    }

    /// A signal handler runs in its own thread when a function of OpenSSL has returned, and before this library has sent
    /// what that wrote. It may call OpenSSL as well: what both wrote leaves in order. Only the probe must not leave. A
    /// callback of the context runs inside a function of OpenSSL, which cannot be entered again.
    pub(super) fn check_nested(&self) -> PyResult<()> {
        let words = if self.in_callback.load(Ordering::Relaxed) {
            "a callback of the context runs in the middle of the handshake of its own thread; do this after the handshake"
        } else if self.lock().is_probing {
            "a signal handler runs in the middle of the hand-over of its own thread; do this after the handler"
        } else {
            return Ok(());
        };
        Err(PyOSError::new_err((EDEADLK, words)))
    }
}

pub(super) fn install(
    py: Python<'_>,
    engine: &Arc<Engine>,
    params: &RecordParams,
    direction: &handover::DirectionKeys,
) -> PyResult<()> {
    let new = params.write_state(direction)?;
    py.detach(|| engine.install(new))
        .map_err(|error| os_error(&error))
}
