//! Reading after the switch: how it is taken over, and what OpenSSL is still told of it.

use ktls_engine::PeerControl;
use ktls_record::control::Settings;
use ktls_record::handover::{DirectionKeys, OpensslReadState};
use pyo3::intern;
use pyo3::prelude::*;

use super::OpenSSLSide;
use crate::call::Timeout;
use crate::errors::{HandoverError, SSLError, os_error, value_error};
use crate::provider::Named;
use crate::python_call::call_method;
use crate::recv_stream::{RecvStream, TakenOver};
use crate::ssl_errors::SSLWantReadError;

/// `ktls._core.Reading`: how what is received is to be opened after a hand-over.
#[pyclass(frozen, module = "ktls._core")]
pub(crate) struct Reading {
    stream: Py<RecvStream>,
    provider: Named,
    session: Py<PyAny>,
    keeps_tickets: bool,
    post_handshake_auth: bool,
}

#[pymethods]
impl Reading {
    #[new]
    #[pyo3(signature = (stream, provider, session, *, keeps_tickets, post_handshake_auth))]
    fn new(
        stream: Py<RecvStream>,
        provider: Named,
        session: Py<PyAny>,
        keeps_tickets: bool,
        post_handshake_auth: bool,
    ) -> Self {
        Self {
            stream,
            provider,
            session,
            keeps_tickets,
            post_handshake_auth,
        }
    }
}

impl OpenSSLSide {
    /// Has the stream open what comes, unless it cannot be known which of several keys the peer uses, or OpenSSL has
    /// something that was not read.
    pub(super) fn take_over_reading(
        &self,
        slf: &Bound<'_, Self>,
        read: Vec<DirectionKeys>,
        reading: Option<&Reading>,
    ) -> PyResult<()> {
        let py = slf.py();
        let (Some(reading), [keys]) = (reading, &read[..]) else {
            return Ok(());
        };
        if self.has_more(py)? {
            return Ok(());
        }
        let version = keys.keys.suite().version();
        let settings = Settings {
            version,
            side: self.side,
            keeps_tickets: reading.keeps_tickets,
            offered_post_handshake_auth: reading.post_handshake_auth,
        };
        let listens = reading.keeps_tickets || reading.post_handshake_auth;
        if listens {
            let state = OpensslReadState::new(keys)
                .map_err(|error| HandoverError::new_err(error.to_string()))?;
            self.lock().read = Some(state);
        }
        let control = PeerControl::new(settings, keys.secret.clone());
        reading.stream.get().take_over(
            py,
            keys,
            &reading.provider,
            control,
            self.inbox.take(),
            TakenOver {
                session: reading.session.clone_ref(py),
                openssl: listens.then(|| slf.clone().unbind()),
            },
        )
    }

    /// Tells OpenSSL what waits for it. One that it answers is answered before this returns.
    pub(crate) fn hear<'py>(&self, py: Python<'py>) -> PyResult<()> {
        let timeout = Timeout::FOREVER;
        let _inside = self.take_inside(py, timeout)?;
        let receiver = self.send.get().stream()?.receiver;
        let messages = receiver.take_messages().map_err(|error| os_error(&error))?;
        let mut records = Vec::new();
        if let Some(state) = &mut self.lock().read {
            for message in &messages {
                records.extend(state.seal(message).map_err(|error| value_error(&error))?);
            }
        }
        if records.is_empty() {
            return Ok(());
        }
        self.feed(py, timeout, &records)?;
        let look = |ssl: &Bound<'py, PyAny>| call_method(ssl, intern!(py, "read"), (1,));
        match self.call_then(py, timeout, look, |_| true) {
            Err(error) if error.is_instance_of::<SSLWantReadError>(py) => Ok(()),
            Err(error) => {
                // What it refuses ends the connection for it, and so for us: nothing behind that is genuine.
                if error.is_instance_of::<SSLError>(py) {
                    receiver.end().map_err(|error| os_error(&error))?;
                }
                Err(error)
            }
            Ok(_) => Ok(()),
        }
    }
}
