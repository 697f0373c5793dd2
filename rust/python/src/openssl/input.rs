//! What OpenSSL is given to read: whole records off the socket.

use pyo3::exceptions::PyBlockingIOError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::OpenSSLSide;
use super::output::{Output, note_random};
use crate::call::{Timeout, run};
use crate::ssl_errors::{SSLWantReadError, want_read};

impl OpenSSLSide {
    pub(super) fn needs_input(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(!self.inbox.has_ended() && (self.inbox.is_needed() || !self.has_more(py)?))
    }

    /// Gives OpenSSL the next record, or the end of the stream.
    pub(super) fn feed_record(&self, py: Python<'_>, timeout: Timeout) -> PyResult<()> {
        let transport = self.send.get().stream()?.transport;
        let taken = run(py, timeout, |deadline| {
            self.inbox.next_record(&transport, deadline)
        });
        let record = taken.map_err(|error| self.of_reading(py, error))?;
        {
            let mut state = self.lock();
            let state = &mut *state;
            if let Output::Tapped(tap) = &mut state.output
                && !record.is_empty()
            {
                tap.peer_record(&record);
                note_random(tap.client_random(), &state.logs, &mut state.randoms)?;
            }
        }
        self.feed(py, timeout, &record)
    }

    pub(super) fn feed(&self, py: Python<'_>, timeout: Timeout, records: &[u8]) -> PyResult<()> {
        let _inside = self.take_inside(py, timeout)?;
        let incoming = self.incoming.bind(py);
        if records.is_empty() {
            incoming.call_method0(intern!(py, "write_eof"))?;
        } else {
            incoming.call_method1(intern!(py, "write"), (PyBytes::new(py, records),))?;
        }
        Ok(())
    }

    pub(super) fn of_reading(&self, py: Python<'_>, error: PyErr) -> PyErr {
        let error = as_ssl(py, error);
        if error.is_instance_of::<SSLWantReadError>(py)
            && let Ok(engine) = self.engine()
        {
            engine.set_readable(false);
        }
        error
    }
}

/// The errors of a socket as those of `ssl`.
pub(super) fn as_ssl(py: Python<'_>, error: PyErr) -> PyErr {
    if error.is_instance_of::<PyBlockingIOError>(py) {
        return want_read();
    }
    error
}
