//! What OpenSSL is given to read: whole records off the socket.

use ktls_engine::Error;
use pyo3::exceptions::PyBlockingIOError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::OpenSSLSide;
use super::output::{Output, note_random};
use super::turn::Held;
use crate::call::{Timeout, attempt};
use crate::ssl_errors::{ssl_error, want_read};

impl OpenSSLSide {
    pub(super) fn needs_input(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(!self.inbox.has_ended() && (self.inbox.is_needed() || !self.has_more(py)?))
    }

    /// Gives OpenSSL the next record, or the end of the stream.
    pub(super) fn feed_record(&self, py: Python<'_>, timeout: Timeout) -> PyResult<()> {
        let transport = self.send.get().stream()?.transport;
        let outcome = attempt(py, timeout, |deadline| {
            self.inbox.next_record(&transport, deadline)
        });
        let record = match (outcome.raised, outcome.result) {
            (Some(raised), _) => return Err(raised),
            (None, Err(error)) => return Err(self.of_reading(&error)),
            (None, Ok(record)) => record,
        };
        // Before the record counts as seen.
        let _inside = self.take_inside_for(py, timeout, &record)?;
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
        let _inside = self.take_inside_for(py, timeout, records)?;
        let incoming = self.incoming.bind(py);
        if records.is_empty() {
            incoming.call_method0(intern!(py, "write_eof"))?;
        } else {
            incoming.call_method1(intern!(py, "write"), (PyBytes::new(py, records),))?;
        }
        Ok(())
    }

    /// Waits until OpenSSL can be given these records, which come again when that is not to be: a signal handler may
    /// raise and the time may pass while another thread writes.
    fn take_inside_for(
        &self,
        py: Python<'_>,
        timeout: Timeout,
        records: &[u8],
    ) -> PyResult<Held<'_>> {
        let inside = self.take_inside(py, timeout);
        if inside.is_err() {
            self.inbox.put_back(records);
        }
        inside
    }

    fn of_reading(&self, error: &Error) -> PyErr {
        if error.is_would_block()
            && let Ok(engine) = self.engine()
        {
            engine.set_readable(false);
        }
        ssl_error(error)
    }
}

/// The errors of a socket as those of `ssl`.
pub(super) fn as_ssl(py: Python<'_>, error: PyErr) -> PyErr {
    if error.is_instance_of::<PyBlockingIOError>(py) {
        return want_read();
    }
    error
}
