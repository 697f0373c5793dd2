//! What OpenSSL writes: passed on as it is, or opened and said again under the keys of the stream.

use std::sync::Arc;

use ktls_engine::{AfterMessage, Error, KeyUpdate, SendStream as Engine};
use ktls_record::handover::{HandshakeTap, Message, OpensslReadState, OpensslWriteState};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::OpenSSLSide;
use super::inbox::split;
use crate::errors::{HandoverError, os_error};
use crate::key_log::KeyLog;

/// What becomes of the records that OpenSSL writes.
pub(super) enum Output {
    /// They leave as they are.
    Passed,
    /// They leave as they are, and the tap sees them.
    Tapped(Box<HandshakeTap>),
    /// They are opened, and what they say is said again.
    Translated(OpensslWriteState),
    /// OpenSSL was let go: they are dropped.
    Dropped,
}

pub(super) struct State {
    pub(super) output: Output,
    /// Where the secrets of this handshake are logged, and under which randoms.
    pub(super) logs: Vec<Py<KeyLog>>,
    pub(super) randoms: Vec<[u8; 32]>,
    /// Calls of OpenSSL under way, which may append to them; more than one where a signal handler makes another.
    pub(super) appending: usize,
    /// Logs that it follows no longer, and to which OpenSSL still appends: the secrets after a KeyUpdate.
    pub(super) released: Vec<Py<KeyLog>>,
    /// How messages are sealed for OpenSSL, where it is kept for them.
    pub(super) read: Option<OpensslReadState>,
    /// OpenSSL writes the probe, which must not leave.
    pub(super) is_probing: bool,
    pub(super) is_tls13: bool,
}

/// What OpenSSL wrote, as it leaves.
enum Says {
    Records(Vec<u8>),
    Messages(Vec<Message>),
    /// It must not be said, for this reason.
    Refused(String),
}

impl OpenSSLSide {
    pub(super) fn read_outgoing(&self, py: Python<'_>) -> PyResult<Vec<u8>> {
        let read = self.outgoing.bind(py).call_method0(intern!(py, "read"))?;
        Ok(read.cast::<PyBytes>()?.as_bytes().to_vec())
    }

    /// Puts what OpenSSL wrote into the send stream.
    pub(super) fn send_outgoing(&self, py: Python<'_>) -> PyResult<()> {
        let records = self.read_outgoing(py)?;
        if records.is_empty() {
            return Ok(());
        }
        let engine = self.engine()?;
        let says = {
            let mut state = self.lock();
            let state = &mut *state;
            match &mut state.output {
                Output::Dropped => return Ok(()),
                Output::Passed => Says::Records(records),
                Output::Tapped(tap) => {
                    for record in split(&records) {
                        tap.own_record(record);
                    }
                    note_random(tap.client_random(), &state.logs, &mut state.randoms)?;
                    Says::Records(records)
                }
                Output::Translated(openssl) => match openssl.translate(&records) {
                    Ok(messages) => Says::Messages(messages),
                    Err(error) => Says::Refused(error.to_string()),
                },
            }
        };
        let said = py.detach(|| match says {
            Says::Records(records) => engine.send_records(records).map(|()| None),
            Says::Messages(messages) => messages
                .into_iter()
                .try_for_each(|message| say(&engine, message))
                .map(|()| None),
            Says::Refused(why) => {
                engine.abort();
                Ok(Some(why))
            }
        });
        match said {
            Ok(None) => Ok(()),
            Ok(Some(why)) => Err(HandoverError::new_err(why)),
            Err(error) => Err(os_error(&error)),
        }
    }
}

fn say(engine: &Arc<Engine>, message: Message) -> Result<(), Error> {
    if message.ends_in_key_update {
        return engine.update_key(KeyUpdate::NotRequested);
    }
    let after = if message.ends_data {
        AfterMessage::Nothing
    } else {
        AfterMessage::Data
    };
    engine.send_message(message.content_type, message.payload.to_vec(), after)
}

/// Registers a client random before OpenSSL can log a secret under it.
pub(super) fn note_random(
    random: Option<[u8; 32]>,
    logs: &[Py<KeyLog>],
    randoms: &mut Vec<[u8; 32]>,
) -> PyResult<()> {
    if let Some(random) = random
        && !randoms.contains(&random)
    {
        randoms.push(random);
        for log in logs {
            log.get().register(random)?;
        }
    }
    Ok(())
}

/// A call of OpenSSL, which may append to the logs. Dropped, it wipes what nobody follows.
pub(super) struct Appending<'a> {
    side: &'a OpenSSLSide,
}

impl<'a> Appending<'a> {
    pub(super) fn new(side: &'a OpenSSLSide) -> Self {
        let mut state = side.lock();
        state.appending += 1;
        for log in &state.logs {
            log.get().enter();
        }
        Self { side }
    }
}

impl Drop for Appending<'_> {
    fn drop(&mut self) {
        let mut state = self.side.lock();
        state.appending -= 1;
        for log in &state.logs {
            log.get().leave();
        }
        for log in &state.released {
            // What cannot be swept now is swept later.
            let _ = log.get().sweep();
        }
    }
}

pub(super) fn release(state: &mut State) {
    for log in core::mem::take(&mut state.logs) {
        for _ in 0..state.appending {
            log.get().leave();
        }
        for random in &state.randoms {
            // Not registered there: nothing to forget.
            let _ = log.get().release(*random);
        }
        if !state.released.iter().any(|known| known.is(&log)) {
            state.released.push(log);
        }
    }
    state.randoms.clear();
}
