//! `ktls._core.OpenSSLSide`: OpenSSL between two memory BIOs, and the socket around it.
//!
//! OpenSSL makes the handshake, which the tap watches, and keeps both directions where the keys cannot be taken over;
//! after the switch it still reads where the read keys cannot be, and elsewhere sees what only it understands. Each step (records off the socket, into OpenSSL, what it wrote into the send
//! stream) is made inside one call, so that a signal handler that raises finds nothing half done. A record that OpenSSL
//! writes after the switch never reaches the wire: it is opened, and said again under the keys of the stream.

mod calls;
mod inbox;
mod input;
mod output;
mod reading;
mod turn;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ktls_engine::{Data, SendStream as Engine};
use ktls_record::control::Side;
use ktls_record::handover::{self, HandshakeTap, Role};
use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use self::calls::install;
use self::inbox::Inbox;
use self::input::as_ssl;
use self::output::{Appending, Output, State, release};
pub(crate) use self::reading::Reading;
use self::turn::{Held, Turn};
use crate::async_write::AsyncWrite;
use crate::buffer::Input;
use crate::call::Timeout;
use crate::errors::{HandoverDeclined, HandoverError, os_error};
use crate::handover::Handover;
use crate::key_log::KeyLog;
use crate::python_call::call_method;
use crate::record_params::RecordParams;
use crate::send_stream::{self, SendStream};
use crate::ssl_errors::SSLWantReadError;
use crate::waiting::{self, Event};

/// Bytes of one write of OpenSSL: a record.
const WRITE_LEN: usize = 16384;

/// See the head of this file.
#[pyclass(frozen, weakref, module = "ktls._core")]
pub(crate) struct OpenSSLSide {
    /// The object of the C module, whose calls no signal handler can come into the middle of.
    ssl: Py<PyAny>,
    incoming: Py<PyAny>,
    outgoing: Py<PyAny>,
    send: Py<SendStream>,
    side: Side,
    /// Who is inside OpenSSL.
    inside: Turn,
    /// Who takes records off the socket.
    reading: Turn,
    inbox: Inbox,
    has_shaken_hands: AtomicBool,
    /// A callback of the context runs, inside a function of OpenSSL.
    in_callback: AtomicBool,
    state: Mutex<State>,
}

#[pymethods]
impl OpenSSLSide {
    #[new]
    #[pyo3(signature = (ssl, incoming, outgoing, send, *, server_side))]
    fn new(
        ssl: Py<PyAny>,
        incoming: Py<PyAny>,
        outgoing: Py<PyAny>,
        send: Py<SendStream>,
        server_side: bool,
    ) -> PyResult<Self> {
        let owner = send.get().stream()?.transport.owner();
        let (role, side) = if server_side {
            (Role::Server, Side::Server)
        } else {
            (Role::Client, Side::Client)
        };
        Ok(Self {
            ssl,
            incoming,
            outgoing,
            send,
            side,
            inside: Turn::new(owner),
            reading: Turn::new(owner),
            inbox: Inbox::default(),
            has_shaken_hands: AtomicBool::new(false),
            in_callback: AtomicBool::new(false),
            state: Mutex::new(State {
                output: Output::Tapped(Box::new(HandshakeTap::new(role))),
                logs: Vec::new(),
                randoms: Vec::new(),
                appending: 0,
                released: Vec::new(),
                read: None,
                is_probing: false,
                is_tls13: false,
            }),
        })
    }

    /// Reads this key log for the secrets of the handshake; more than one where an SNI callback puts another context in
    /// place.
    fn follow(&self, log: Py<KeyLog>) -> PyResult<()> {
        let mut state = self.lock();
        if state.logs.iter().any(|known| known.is(&log)) {
            return Ok(());
        }
        for random in &state.randoms {
            log.get().register(*random)?;
        }
        // An SNI callback comes here in the middle of a call.
        for _ in 0..state.appending {
            log.get().enter();
        }
        state.logs.push(log);
        Ok(())
    }

    /// Calls a callback of the context, in which this connection cannot be used.
    #[pyo3(signature = (callback, *arguments))]
    fn call_back<'py>(
        &self,
        callback: &Bound<'py, PyAny>,
        arguments: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.in_callback.store(true, Ordering::Relaxed);
        let answer = callback.call1(arguments);
        self.in_callback.store(false, Ordering::Relaxed);
        answer
    }

    /// Leaves the connection to OpenSSL, unless another thread has just switched it over.
    fn decline(&self, py: Python<'_>) -> PyResult<()> {
        let _inside = self.take_inside(py, Timeout::FOREVER)?;
        self.release_logs();
        Ok(())
    }

    /// Wants nothing of the key logs any more, and follows the handshake no further.
    fn release_logs(&self) {
        let mut state = self.lock();
        release(&mut state);
        if matches!(state.output, Output::Tapped(_)) {
            state.output = Output::Passed;
        }
    }

    /// Makes an end with OpenSSL, which nobody needs any more. It believes that it has said close_notify, since it takes
    /// the session of a connection that ends without one for spoiled.
    fn let_go(&self, py: Python<'_>) -> PyResult<()> {
        let _inside = self.take_inside(py, Timeout::FOREVER)?;
        self.check_nested()?;
        self.release_logs();
        self.lock().output = Output::Dropped;
        // It waits for the peer's, or a signal handler raised: the record is made before.
        let shut_down = call_method(
            self.ssl.bind(py),
            intern!(py, "shutdown"),
            PyTuple::empty(py),
        );
        self.read_outgoing(py)?;
        match shut_down {
            Err(error) if !error.is_instance_of::<PyOSError>(py) => Err(error),
            _ => Ok(()),
        }
    }

    fn do_handshake<'py>(&self, py: Python<'py>) -> PyResult<()> {
        let send = self.send.get();
        waiting::repeat(py, send, send.timeout("handshake", 0), |timeout| {
            self.shake_hands(py, timeout)
        })
    }

    /// What the handshake has agreed on, with the keys of both directions; None: another thread has switched over.
    /// HandoverDeclined: OpenSSL keeps it.
    fn find(&self, py: Python<'_>, cipher_name: Option<&str>) -> PyResult<Option<Handover>> {
        // A switch that is under way ends first, its session with it.
        let _inside = self.take_inside(py, Timeout::FOREVER)?;
        let state = self.lock();
        let tap = match &state.output {
            Output::Tapped(tap) => tap,
            Output::Passed => return Err(not_followed()),
            Output::Translated(_) | Output::Dropped => return Ok(None),
        };
        let mut secrets = Vec::new();
        if let Some(random) = tap.client_random() {
            for log in &state.logs {
                if state.randoms.contains(&random) {
                    secrets.extend(log.get().secrets(random)?);
                }
            }
        }
        handover::find(tap, &secrets, cipher_name)
            .map(|found| Some(Handover::new(found)))
            .map_err(|declined| HandoverDeclined::new_err(declined.to_string()))
    }

    /// From here on the stream seals what the program sends, and `reading` is how what is received is opened; None:
    /// OpenSSL goes on with that. False: that was so before. An error of the installation changes nothing;
    /// HandoverError, when the keys are not OpenSSL's, resets the connection.
    #[pyo3(signature = (handover, params, session, reading=None))]
    fn switch(
        slf: &Bound<'_, Self>,
        handover: &Handover,
        params: &RecordParams,
        session: Py<PyAny>,
        reading: Option<&Reading>,
    ) -> PyResult<bool> {
        let (this, py) = (slf.get(), slf.py());
        let _inside = this.take_inside(py, Timeout::FOREVER)?;
        match this.lock().output {
            Output::Tapped(_) => {}
            Output::Passed => return Err(not_followed()),
            Output::Translated(_) | Output::Dropped => return Ok(false),
        }
        let mut raised = Ok(());
        this.send.get().install_session(py, session, |engine| {
            let candidates = handover.take()?;
            let first = candidates
                .write
                .first()
                .ok_or_else(|| HandoverError::new_err("the hand-over has no key"))?;
            install(py, &engine, params, first)?;
            // From the probe on OpenSSL is one record ahead of the wire: a failure is final. What a signal handler
            // raises meanwhile is raised at the end.
            this.lock().is_probing = true;
            let zero = (PyBytes::new(py, &[0]),);
            raised = call_method(this.ssl.bind(py), intern!(py, "write"), zero).map(drop);
            let switched = this
                .prove(py, &engine, candidates, params)
                .and_then(|read| this.take_over_reading(slf, read, reading));
            this.lock().is_probing = false;
            if switched.is_err() {
                py.detach(|| engine.abort());
            }
            switched
        })?;
        raised.map(|()| true)
    }

    /// At most `size` bytes of plaintext, or their number when they go into `buffer`.
    #[pyo3(signature = (size, buffer=None))]
    fn read<'py>(
        &self,
        py: Python<'py>,
        size: usize,
        buffer: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let send = self.send.get();
        waiting::repeat(py, send, send.timeout("read", 0), |timeout| {
            self.read_within(py, timeout, size, buffer)
        })
    }

    /// Seals by OpenSSL, one record for `send`; returns how many bytes were accepted.
    /// `before`: bytes that earlier parts of the same `sendfile` had accepted.
    #[pyo3(signature = (data, *, all, before=None))]
    fn write(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        all: bool,
        before: Option<u64>,
    ) -> PyResult<usize> {
        let call = match before {
            Some(_) => "sendfile",
            None if all => "sendall",
            None => "send",
        };
        let timeout = self.send.get().timeout(call, 0);
        let input = Input::new(data)?;
        let data = input.as_slice();
        let engine = self.engine()?;
        let mut accepted = 0;
        while accepted < data.len() {
            waiting::attempt(py, self.send.get(), timeout, Event::Writable, |deadline| {
                engine.wait_for_any_space(deadline)
            })
            .after(before.unwrap_or(0) + accepted as u64)
            .into_result()?;
            let end = data.len().min(accepted + WRITE_LEN);
            accepted += self.write_chunk(py, timeout, &data[accepted..end])?;
            if !all {
                break;
            }
            py.check_signals()?;
        }
        Ok(accepted)
    }

    /// Seals by OpenSSL now, without waiting for space, and has the future end when TCP has taken everything. It is not
    /// taken back: OpenSSL has counted its records.
    fn async_write(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        future: Py<PyAny>,
    ) -> PyResult<Option<AsyncWrite>> {
        let input = Input::new(data)?;
        let _inside = self.take_inside(py, Timeout::FOREVER)?;
        self.check_nested()?;
        let _appending = Appending::new(self);
        let ssl = self.ssl.bind(py);
        let engine = self.engine()?;
        let mut chunks = input.as_slice().chunks(WRITE_LEN).peekable();
        while let Some(chunk) = chunks.next() {
            let written = call_method(ssl, intern!(py, "write"), (PyBytes::new(py, chunk),));
            // All but the last record go ahead at once: a signal handler may write between any two.
            if written.is_err() || chunks.peek().is_some() {
                self.send_outgoing(py)?;
            }
            written?;
        }
        let records = self.read_outgoing(py)?;
        let unended =
            send_stream::write_async(py, &engine, &Data::Shared(Arc::new(records)), future)?;
        Ok(unended.map(AsyncWrite::final_one))
    }

    /// close_notify both ways. Said at once, whoever reads; then the peer's is waited for.
    fn unwrap(&self, py: Python<'_>) -> PyResult<()> {
        let send = self.send.get();
        waiting::repeat(py, send, send.timeout("shutdown", 0), |timeout| {
            self.unwrap_within(py, timeout)
        })
    }

    /// Asks the client for a certificate; the request leaves at once.
    fn verify_client_post_handshake<'py>(&self, py: Python<'py>) -> PyResult<()> {
        let timeout = Timeout::FOREVER;
        let receiver = self.send.get().stream()?.receiver;
        receiver
            .expect_certificate()
            .map_err(|error| os_error(&error))?;
        let request = |ssl: &Bound<'py, PyAny>| {
            call_method(
                ssl,
                intern!(py, "verify_client_post_handshake"),
                PyTuple::empty(py),
            )
        };
        self.call_then(py, timeout, request, |_| true).map(drop)
    }

    /// Whether plaintext, or something to be looked at, lies here.
    fn has_more(&self, py: Python<'_>) -> PyResult<bool> {
        let fed: usize = self
            .incoming
            .bind(py)
            .getattr(intern!(py, "pending"))?
            .extract()?;
        let open: usize = self
            .ssl
            .bind(py)
            .call_method0(intern!(py, "pending"))?
            .extract()?;
        Ok(fed > 0 || open > 0)
    }
}

impl OpenSSLSide {
    fn shake_hands<'py>(&self, py: Python<'py>, timeout: Timeout) -> PyResult<()> {
        let has_shaken_hands = || self.has_shaken_hands.load(Ordering::Acquire);
        // The thread that made the handshake may be reading already when this one is woken.
        let _reading = self
            .reading
            .take_unless(py, timeout, has_shaken_hands)
            .map_err(|error| as_ssl(py, error))?;
        while !has_shaken_hands() {
            let step = |ssl: &Bound<'py, PyAny>| {
                call_method(ssl, intern!(py, "do_handshake"), PyTuple::empty(py))
            };
            match self.call(py, timeout, step) {
                Err(error) if error.is_instance_of::<SSLWantReadError>(py) => {
                    self.feed_answer(py, timeout)?;
                }
                Err(error) => return Err(error),
                Ok(_) => {
                    self.has_shaken_hands.store(true, Ordering::Release);
                    // What the peer said was read: it is no news to a poller any more.
                    if let Ok(engine) = self.engine() {
                        engine.set_readable(self.has_more(py)?);
                    }
                }
            }
        }
        Ok(())
    }

    /// Gives OpenSSL the answer to what it has just said. Where that could not be sent nobody answers, but what the peer
    /// said before, perhaps an alert, is heard.
    fn feed_answer(&self, py: Python<'_>, timeout: Timeout) -> PyResult<()> {
        match self.engine()?.check_messages() {
            Ok(()) => self.feed_record(py, timeout),
            Err(error) => self
                .feed_record(py, Timeout::NONBLOCKING)
                .map_err(|_| os_error(&error)),
        }
    }

    fn read_within<'py>(
        &self,
        py: Python<'py>,
        timeout: Timeout,
        size: usize,
        buffer: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let _reading = self.take_reading(py, timeout)?;
        loop {
            if self.needs_input(py)? {
                self.feed_record(py, timeout)?;
            }
            self.inbox.forget_need();
            let read = |ssl: &Bound<'py, PyAny>| match buffer {
                None => call_method(ssl, intern!(py, "read"), (size,)),
                Some(buffer) => call_method(ssl, intern!(py, "read"), (size, buffer)),
            };
            let got = self.call_then(py, timeout, read, PyResult::is_err);
            match got {
                Err(error) if error.is_instance_of::<SSLWantReadError>(py) => {
                    // There was a record, and it held no data.
                    self.inbox.need();
                }
                Err(error) => return Err(error),
                Ok(got) => {
                    if size > 0 && is_end(&got) {
                        self.inbox.note_end();
                    }
                    if self.send.get().stream().is_ok() {
                        self.engine()?.set_readable(self.has_more(py)?);
                    }
                    return Ok(got.unbind());
                }
            }
        }
    }

    fn unwrap_within<'py>(&self, py: Python<'py>, timeout: Timeout) -> PyResult<()> {
        let shutdown =
            |ssl: &Bound<'py, PyAny>| call_method(ssl, intern!(py, "shutdown"), PyTuple::empty(py));
        match self.call(py, timeout, shutdown) {
            Err(error) if error.is_instance_of::<SSLWantReadError>(py) => {}
            other => return other.map(drop),
        }
        let _reading = self.take_reading(py, timeout)?;
        loop {
            match self.call(py, timeout, shutdown) {
                Err(error) if error.is_instance_of::<SSLWantReadError>(py) => {
                    self.feed_record(py, timeout)?;
                }
                other => return other.map(drop),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn engine(&self) -> PyResult<Arc<Engine>> {
        Ok(self.send.get().stream()?.engine)
    }

    fn take_inside(&self, py: Python<'_>, timeout: Timeout) -> PyResult<Held<'_>> {
        self.inside.take(py, timeout)
    }

    fn take_reading(&self, py: Python<'_>, timeout: Timeout) -> PyResult<Held<'_>> {
        self.reading
            .take(py, timeout)
            .map_err(|error| as_ssl(py, error))
    }
}

impl Drop for OpenSSLSide {
    fn drop(&mut self) {
        release(self.state.get_mut().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Whether OpenSSL read nothing, which it does after a close_notify only.
fn is_end(got: &Bound<'_, PyAny>) -> bool {
    got.is_truthy().is_ok_and(|has_data| !has_data)
}

fn not_followed() -> PyErr {
    HandoverDeclined::new_err("the handshake was not followed")
}
