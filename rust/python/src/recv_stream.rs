//! `ktls._core.RecvStream`: what a connection receives, as it is, and with keys what its records hold.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ktls_engine::{
    Deadline, Error, Message, PeerControl, RecvFlags, RecvStream as Receiver, SendStream as Engine,
};
use ktls_record::handover;
use pyo3::exceptions::{PyOSError, PyTimeoutError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffer::{Writable, new_bytes};
use crate::call::Timeout;
use crate::errors::os_error;
use crate::interpreter;
use crate::openssl::OpenSSLSide;
use crate::provider::Named;
use crate::record_params::{DirectionKeys, read_keys};
use crate::send_stream::{MSG_DONTWAIT, SendStream, Stream};
use crate::ssl_errors::ssl_error;
use crate::waiting::{self, Event};

/// Flags of recv(2): all of it is waited for; what is looked at stays.
const MSG_WAITALL: u32 = 0x100;
const MSG_PEEK: u32 = 0x2;
/// Flags that change nothing here: no signal is ever raised, no descriptor comes.
const MSG_NOSIGNAL: u32 = 0x4000;
const MSG_CMSG_CLOEXEC: u32 = 0x4000_0000;

const EOPNOTSUPP: i32 = 95;

/// Up to this size the result is made before anything is received; more, for what may be little, costs more than a copy.
const IN_PLACE_MAX: usize = 4096;

/// Type, version (major, minor) and plaintext length of a record.
type RecordInfo = (u8, u8, u8, usize);

/// The receive half of one connection. It shares the descriptor and the time-out of its send half.
#[pyclass(frozen, module = "ktls._core")]
pub(crate) struct RecvStream {
    send: Py<SendStream>,
    /// What the program agreed on, kept beside the keys.
    session: Mutex<Option<Py<PyAny>>>,
    /// Keys that came from a handshake: who else listens, or nobody. Errors are those of `ssl` then.
    taken_over: OnceLock<Option<Py<OpenSSLSide>>>,
}

/// What a stream whose keys came from a handshake belongs to.
pub(crate) struct TakenOver {
    pub(crate) session: Py<PyAny>,
    pub(crate) openssl: Option<Py<OpenSSLSide>>,
}

#[pymethods]
impl RecvStream {
    #[new]
    fn new(send: Py<SendStream>) -> Self {
        Self {
            send,
            session: Mutex::new(None),
            taken_over: OnceLock::new(),
        }
    }

    #[getter]
    fn session(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let session = self.lock_session();
        session.as_ref().map(|session| session.clone_ref(py))
    }

    fn install(
        &self,
        py: Python<'_>,
        direction: &DirectionKeys,
        provider: Named,
        session: Py<PyAny>,
    ) -> PyResult<()> {
        let new = read_keys(direction.inner(), &provider)?;
        let Stream {
            engine, receiver, ..
        } = self.stream()?;
        py.detach(|| {
            receiver.install(new)?;
            engine.note_read();
            Ok(())
        })
        .map_err(|error: Error| os_error(&error))?;
        *self.lock_session() = Some(session);
        Ok(())
    }

    fn rekey(&self, py: Python<'_>, direction: &DirectionKeys, provider: Named) -> PyResult<()> {
        let new = read_keys(direction.inner(), &provider)?;
        let Stream {
            engine, receiver, ..
        } = self.stream()?;
        py.detach(|| {
            receiver.rekey(new)?;
            engine.note_read();
            Ok(())
        })
        .map_err(|error: Error| os_error(&error))
    }

    #[getter]
    fn sequence(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        let receiver = self.stream()?.receiver;
        Ok(py.detach(|| receiver.sequence()))
    }

    #[getter]
    fn low_water(&self, py: Python<'_>) -> PyResult<usize> {
        let receiver = self.stream()?.receiver;
        Ok(py.detach(|| receiver.low_water()))
    }

    fn set_low_water(&self, py: Python<'_>, len: usize) -> PyResult<()> {
        let Stream {
            engine, receiver, ..
        } = self.stream()?;
        py.detach(|| {
            receiver.set_low_water(len)?;
            engine.note_read();
            Ok(())
        })
        .map_err(|error: Error| os_error(&error))
    }

    /// Bytes that `recv` returns without looking at the socket.
    #[getter]
    fn pending(&self, py: Python<'_>) -> PyResult<usize> {
        let receiver = self.stream()?.receiver;
        Ok(py.detach(|| receiver.pending()))
    }

    /// close_notify both ways. Said at once, whoever reads; then the peer's is waited for.
    fn unwrap(&self, py: Python<'_>) -> PyResult<()> {
        let Stream { engine, .. } = self.stream()?;
        py.detach(|| engine.send_close_notify())
            .map_err(|error| os_error(&error))?;
        let timeout = self.send.get().timeout("shutdown", 0);
        self.call(py, timeout, |_, receiver, deadline| {
            receiver.await_close(deadline)
        })
    }

    /// Tells OpenSSL what has come for it.
    fn hear(&self, py: Python<'_>) -> PyResult<()> {
        match self.taken_over.get() {
            Some(Some(openssl)) if self.stream()?.receiver.has_messages() => openssl.get().hear(py),
            _ => Ok(()),
        }
    }

    #[pyo3(signature = (size, flags=0))]
    fn recv<'py>(&self, py: Python<'py>, size: isize, flags: u32) -> PyResult<Bound<'py, PyBytes>> {
        let size = usize::try_from(size)
            .map_err(|_| PyValueError::new_err("negative buffersize in recv"))?;
        if (1..=IN_PLACE_MAX).contains(&size)
            || size > 0 && flags & MSG_WAITALL != 0 && waiting::is_set()
        {
            return new_bytes(py, size, |room| self.receive_into(py, "recv", room, flags));
        }
        let at_once = self.receive_at_once(py, size, flags, |receiver, may_wait| {
            receiver.recv_at_once(size, may_wait)
        })?;
        let received = match at_once {
            Some(received) => received,
            None => self.receive(
                py,
                self.timeout("recv", flags),
                flags,
                |receiver, flags, deadline| receiver.recv(size, flags, deadline),
            )?,
        };
        self.check_signals(py, flags, &received)?;
        Ok(PyBytes::new(py, &received))
    }

    #[pyo3(signature = (buffer, size=0, flags=0))]
    fn recv_into(
        &self,
        py: Python<'_>,
        buffer: &Bound<'_, PyAny>,
        size: isize,
        flags: u32,
    ) -> PyResult<usize> {
        let size = usize::try_from(size)
            .map_err(|_| PyValueError::new_err("negative buffersize in recv_into"))?;
        let mut buffer = Writable::new(buffer)?;
        if size > buffer.len() {
            return Err(PyValueError::new_err(
                "buffer too small for requested bytes",
            ));
        }
        let whole = buffer.as_mut_slice();
        let out = if size == 0 { whole } else { &mut whole[..size] };
        self.receive_into(py, "recv_into", out, flags)
    }

    /// Bytes of one record; what it is, when they are its first; whether they are its last. Raw bytes without keys.
    #[pyo3(signature = (size, flags=0, *, takes_type=false))]
    fn recvmsg<'py>(
        &self,
        py: Python<'py>,
        size: isize,
        flags: u32,
        takes_type: bool,
    ) -> PyResult<(Bound<'py, PyBytes>, Option<RecordInfo>, bool)> {
        let size = usize::try_from(size)
            .map_err(|_| PyValueError::new_err("negative buffer size in recvmsg()"))?;
        let (data, message) = self.receive_message(py, size, flags, takes_type)?;
        let (info, is_end) = told(message);
        Ok((PyBytes::new(py, &data), info, is_end))
    }

    #[pyo3(signature = (buffers, flags=0, *, takes_type=false))]
    fn recvmsg_into(
        &self,
        py: Python<'_>,
        buffers: Vec<Bound<'_, PyAny>>,
        flags: u32,
        takes_type: bool,
    ) -> PyResult<(usize, Option<RecordInfo>, bool)> {
        // Before anything is received: what finds no place would be lost.
        let mut buffers: Vec<_> = buffers.iter().map(Writable::new).collect::<PyResult<_>>()?;
        let size = buffers.iter().map(Writable::len).sum();
        let (data, message) = self.receive_message(py, size, flags, takes_type)?;
        let mut rest = &data[..];
        for buffer in &mut buffers {
            let (part, after) = rest.split_at(rest.len().min(buffer.len()));
            buffer.as_mut_slice()[..part.len()].copy_from_slice(part);
            rest = after;
        }
        let (info, is_end) = told(message);
        Ok((data.len(), info, is_end))
    }
}

impl RecvStream {
    fn receive_into(
        &self,
        py: Python<'_>,
        name: &'static str,
        out: &mut [u8],
        flags: u32,
    ) -> PyResult<usize> {
        if flags & MSG_WAITALL != 0 {
            let timeout = self.timeout(name, flags);
            if timeout.is_cooperative() {
                return self.receive_all(py, timeout, out, flags);
            }
        }
        let at_once = self.receive_at_once(py, out.len(), flags, |receiver, may_wait| {
            receiver.recv_into_at_once(out, may_wait)
        })?;
        let count = match at_once {
            Some(count) => count,
            None => self.receive(
                py,
                self.timeout(name, flags),
                flags,
                |receiver, flags, deadline| receiver.recv_into(out, flags, deadline),
            )?,
        };
        self.check_signals(py, flags, &out[..count])?;
        Ok(count)
    }

    /// Fills the buffer piece by piece, with the callback's waits in between.
    fn receive_all(
        &self,
        py: Python<'_>,
        timeout: Timeout,
        out: &mut [u8],
        flags: u32,
    ) -> PyResult<usize> {
        if flags & MSG_PEEK != 0 {
            return Err(PyOSError::new_err((
                EOPNOTSUPP,
                "MSG_PEEK with MSG_WAITALL is not supported with a wait callback, which is told of any data; \
                 peek without MSG_WAITALL",
            )));
        }
        let mut filled = 0;
        while filled < out.len() {
            let part = self.receive(
                py,
                timeout,
                flags & !MSG_WAITALL,
                |receiver, flags, deadline| receiver.recv_into(&mut out[filled..], flags, deadline),
            );
            match part {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if filled > 0 && error.is_instance_of::<PyTimeoutError>(py) => break,
                Err(error) => {
                    // The call cannot return them: they come again.
                    self.put_back(py, &out[..filled]);
                    return Err(error);
                }
            }
        }
        self.check_signals(py, flags, &out[..filled])?;
        Ok(filled)
    }

    /// Makes a call of the engine that takes what lies ready, with the interpreter held. None: the ordinary one is to be
    /// made.
    fn receive_at_once<T>(
        &self,
        py: Python<'_>,
        size: usize,
        flags: u32,
        mut call: impl FnMut(&Receiver, bool) -> Option<Result<T, Error>>,
    ) -> PyResult<Option<T>> {
        if flags != 0 || !interpreter::is_kept(size) {
            return Ok(None);
        }
        let (engine, receiver) = self.send.get().halves()?;
        let may_wait = self.send.get().may_wait();
        while let Some(result) = call(&receiver, may_wait) {
            if engine.is_polled() {
                py.detach(|| engine.note_read());
            }
            if let Some(received) = self.settle(py, result)? {
                engine.note_received();
                return Ok(Some(received));
            }
        }
        Ok(None)
    }

    fn receive_message(
        &self,
        py: Python<'_>,
        size: usize,
        flags: u32,
        takes_type: bool,
    ) -> PyResult<(Vec<u8>, Option<Message>)> {
        self.receive(
            py,
            self.timeout("recvmsg", flags),
            flags,
            |receiver, flags, deadline| receiver.recv_message(size, takes_type, flags, deadline),
        )
    }

    /// Runs signal handlers before data is returned rather than after: what one raises there costs the program the
    /// result of the call, while here the data can be put back.
    fn check_signals(&self, py: Python<'_>, flags: u32, received: &[u8]) -> PyResult<()> {
        if received.is_empty() || flags & MSG_PEEK != 0 || self.lock_session().is_none() {
            return Ok(());
        }
        py.check_signals()
            .inspect_err(|_| self.put_back(py, received))
    }

    /// Has data come again that a call cannot return; without a session it is lost, as a plain socket's.
    fn put_back(&self, py: Python<'_>, received: &[u8]) {
        if received.is_empty() || self.lock_session().is_none() {
            return;
        }
        if let Ok((engine, receiver)) = self.send.get().halves() {
            py.detach(|| {
                // In a forked child nothing comes again.
                let _ = receiver.put_back(received);
                engine.note_read();
            });
        }
    }

    /// The time that a call has from now on, which has the name that `ssl` gives it.
    fn timeout(&self, name: &'static str, flags: u32) -> Timeout {
        let name = self.taken_over.get().map_or(name, |_| "read");
        self.send.get().timeout(name, flags)
    }

    /// Makes a call of the engine, after which the poll descriptor says what is left.
    fn receive<T: Send>(
        &self,
        py: Python<'_>,
        timeout: Timeout,
        flags: u32,
        mut call: impl FnMut(&Receiver, RecvFlags, &mut Deadline<'_>) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        const OURS: u32 = MSG_PEEK | MSG_WAITALL | MSG_DONTWAIT | MSG_NOSIGNAL | MSG_CMSG_CLOEXEC;
        if flags & !OURS != 0 && self.lock_session().is_some() {
            return Err(PyOSError::new_err((
                EOPNOTSUPP,
                format!(
                    "receive flags {:#x} are not supported with a session; MSG_PEEK, MSG_WAITALL and MSG_DONTWAIT are",
                    flags & !OURS
                ),
            )));
        }
        let flags = RecvFlags {
            peek: flags & MSG_PEEK != 0,
            wait_all: flags & MSG_WAITALL != 0,
            raw: flags & !(MSG_PEEK | MSG_WAITALL),
        };
        let mut wanted = None;
        let received = self.call(py, timeout, |engine, receiver, deadline| {
            let result = call(receiver, flags, deadline);
            if result.is_ok() {
                engine.note_received();
            }
            engine.note_read();
            wanted = Some(interpreter::Wanted::now());
            result
        });
        if let Some(wanted) = wanted {
            wanted.got();
        }
        received
    }

    /// The same, again after OpenSSL was told what came for it.
    fn call<T: Send>(
        &self,
        py: Python<'_>,
        timeout: Timeout,
        mut call: impl FnMut(&Engine, &Receiver, &mut Deadline<'_>) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        let (engine, receiver) = self.send.get().halves()?;
        loop {
            let outcome =
                waiting::attempt(py, self.send.get(), timeout, Event::Readable, |deadline| {
                    call(&engine, &receiver, deadline)
                });
            if let Some(raised) = outcome.raised {
                return Err(raised);
            }
            if let Some(result) = self.settle(py, outcome.result)? {
                return Ok(result);
            }
        }
    }

    /// What a call came to. None: it is to be made again, after OpenSSL was told what came for it.
    fn settle<T>(&self, py: Python<'_>, result: Result<T, Error>) -> PyResult<Option<T>> {
        match (result, self.taken_over.get()) {
            (Ok(result), _) => Ok(Some(result)),
            (Err(Error::MessageWaits), Some(Some(openssl))) => {
                openssl.get().hear(py)?;
                Ok(None)
            }
            (Err(error), Some(_)) => Err(ssl_error(&error)),
            (Err(error), None) => Err(os_error(&error)),
        }
    }

    /// Opens what comes with the keys of a handshake.
    pub(crate) fn take_over(
        &self,
        py: Python<'_>,
        keys: &handover::DirectionKeys,
        provider: &Named,
        control: PeerControl,
        ahead: Vec<u8>,
        TakenOver { session, openssl }: TakenOver,
    ) -> PyResult<()> {
        let new = read_keys(keys, provider)?;
        let Stream {
            engine, receiver, ..
        } = self.stream()?;
        let replies = Box::new(Arc::downgrade(&engine));
        py.detach(|| {
            receiver.take_over(new, control, replies, ahead)?;
            engine.note_read();
            Ok(())
        })
        .map_err(|error: Error| os_error(&error))?;
        let _ = self.taken_over.set(openssl);
        *self.lock_session() = Some(session);
        Ok(())
    }

    fn stream(&self) -> PyResult<Stream> {
        self.send.get().stream()
    }

    fn lock_session(&self) -> MutexGuard<'_, Option<Py<PyAny>>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn told(message: Option<Message>) -> (Option<RecordInfo>, bool) {
    let Some(message) = message else {
        return (None, false);
    };
    let [major, minor] = message.version;
    let info = message
        .record_len
        .map(|len| (message.content_type, major, minor, len));
    (info, message.is_end)
}
