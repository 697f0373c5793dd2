//! `ktls._core.SendStream`.
//!
//! The engine is entered without the interpreter (`detach`), except by `try_send`, which does not wait: it would hold up
//! every thread of the program.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use ktls_engine::{
    Data, Deadline, Error, KeyUpdate, RecvStream as Receiver, SendStream as Engine, TcpTransport,
    Traffic, WriteFlags, words,
};
use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::async_write::AsyncWrite;
use crate::buffer::{self, Input};
use crate::call::{self, Outcome, Timeout, attempt, run};
use crate::cork::Cork;
use crate::errors::os_error;
use crate::process;
use crate::python_socket;
use crate::record_params::{DirectionKeys, RecordParams, check_frame_len};
use crate::waiting::{self, Event};

/// The flag of send(2): more follows at once.
pub(crate) const MSG_MORE: u32 = 0x8000;

/// The errno of a second session.
const EALREADY: i32 = 114;

/// The flag of send(2): this call does not wait.
pub(crate) const MSG_DONTWAIT: u32 = 0x40;

/// The send half of one connection.
#[pyclass(frozen, weakref, module = "ktls._core")]
pub(crate) struct SendStream {
    stream: RwLock<Option<Stream>>,
    /// Nanoseconds; negative: for ever.
    timeout: AtomicI64,
    session: Mutex<Session>,
    /// The stream after `close`, while it drains.
    draining: Mutex<Weak<Engine>>,
    /// A weak reference to what the program calls.
    face: Mutex<Option<Py<PyAny>>>,
    untouched: AtomicBool,
    /// The socket after `release`, until the last reference to this goes.
    released: Mutex<Option<Py<PyAny>>>,
}

/// What the program agreed on, kept beside the keys that it belongs to: both come to be in one step.
enum Session {
    None,
    Installing,
    Installed(Py<PyAny>),
}

/// The engine's two halves, and the descriptor that they share.
#[derive(Clone)]
pub(crate) struct Stream {
    pub(crate) engine: Arc<Engine>,
    pub(crate) receiver: Arc<Receiver>,
    pub(crate) transport: TcpTransport,
}

#[pymethods]
impl SendStream {
    #[new]
    #[pyo3(signature = (sock, queue=None))]
    fn new(sock: &Bound<'_, PyAny>, queue: Option<usize>) -> PyResult<Self> {
        let py = sock.py();
        let fd: i32 = sock.call_method0(intern!(py, "fileno"))?.extract()?;
        let socket = ktls_engine::duplicate(fd).map_err(|errno| {
            os_error(&Error::Resource {
                errno,
                wanted: "a descriptor of its own for the connection",
            })
        })?;
        let transport = TcpTransport::new(socket).map_err(|errno| {
            let why = format!("descriptor {fd} is not a TCP socket");
            PyOSError::new_err((errno.raw_os_error(), why))
        })?;
        // By the class of the C module, whose methods no signal handler can come into the middle of: from here on the old
        // number is nobody's.
        let class = python_socket::native_class(py)?;
        if sock.is_instance(&class)? {
            class.call_method1(intern!(py, "close"), (sock,))?;
        } else {
            // A socket of gevent or eventlet around one of those.
            sock.call_method0(intern!(py, "close"))?;
        }
        let engine = Engine::with_queue(Box::new(transport.clone()), process::pool(), queue);
        let receiver = Arc::new(Receiver::new(transport.clone()));
        let readiness: Weak<Receiver> = Arc::downgrade(&receiver);
        engine.set_read_readiness(readiness);
        let stream = Stream {
            engine,
            receiver,
            transport,
        };
        Ok(Self {
            stream: RwLock::new(Some(stream)),
            timeout: AtomicI64::new(-1),
            session: Mutex::new(Session::None),
            draining: Mutex::default(),
            face: Mutex::default(),
            untouched: AtomicBool::new(false),
            released: Mutex::default(),
        })
    }

    #[getter]
    fn session(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        match &*self.lock_session() {
            Session::Installed(session) => Some(session.clone_ref(py)),
            Session::None | Session::Installing => None,
        }
    }

    fn install(
        &self,
        py: Python<'_>,
        direction: &DirectionKeys,
        params: &RecordParams,
        session: Py<PyAny>,
    ) -> PyResult<()> {
        let new = params.write_state(direction.inner())?;
        self.install_session(py, session, |engine| {
            py.detach(|| engine.install(new))
                .map_err(|error| os_error(&error))
        })
    }

    #[pyo3(signature = (direction, params, *, announce=false))]
    fn rekey(
        &self,
        py: Python<'_>,
        direction: &DirectionKeys,
        params: &RecordParams,
        announce: bool,
    ) -> PyResult<()> {
        let new = params.write_state(direction.inner())?;
        let announced = if announce {
            KeyUpdate::NotRequested
        } else {
            KeyUpdate::Silent
        };
        let engine = self.engine()?;
        py.detach(|| engine.rekey(announced, new))
            .map_err(|error| os_error(&error))
    }

    #[pyo3(signature = (*, request=false))]
    fn update_key(&self, py: Python<'_>, request: bool) -> PyResult<()> {
        let announced = if request {
            KeyUpdate::Requested
        } else {
            KeyUpdate::NotRequested
        };
        let (engine, receiver) = self.halves()?;
        py.detach(|| {
            if request {
                // Before: another thread may read the answer at once.
                receiver.expect_key_update()?;
            }
            engine.update_key(announced)
        })
        .map_err(|error| os_error(&error))
    }

    fn set_max_frame_len(
        &self,
        py: Python<'_>,
        max_frame_len: usize,
        old: &Bound<'_, PyAny>,
        new: Py<PyAny>,
    ) -> PyResult<bool> {
        check_frame_len(max_frame_len)?;
        let engine = self.engine()?;
        py.detach(|| engine.set_max_frame_len(max_frame_len))
            .map_err(|error| os_error(&error))?;
        Ok(self.exchange_session(old, new))
    }

    fn exchange_session(&self, old: &Bound<'_, PyAny>, new: Py<PyAny>) -> bool {
        let before = {
            let mut place = self.lock_session();
            match &*place {
                Session::Installed(session) if session.is(old) => {
                    core::mem::replace(&mut *place, Session::Installed(new))
                }
                _ => return false,
            }
        };
        // Without the lock: what is dropped may run code of the program.
        drop(before);
        true
    }

    #[getter]
    fn queue(&self) -> usize {
        self.engine().map_or(0, |engine| engine.queue())
    }

    #[getter]
    fn sequence(&self) -> u64 {
        self.engine()
            .ok()
            .and_then(|engine| engine.sequence())
            .unwrap_or(0)
    }

    /// What was sent and received under the keys; of a stream that drains after `close`, what was sent.
    fn traffic<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let halves = self.halves().ok();
        let engine = match &halves {
            Some((engine, _)) => Some(Arc::clone(engine)),
            None => self.lock_draining().upgrade(),
        };
        let (sent, received) = py.detach(|| {
            let sent = engine.map(|engine| engine.traffic());
            (sent, halves.map(|(_, receiver)| receiver.traffic()))
        });
        let sent = traffic(py, &sent.unwrap_or_default())?;
        let received = traffic(py, &received.unwrap_or_default())?;
        PyTuple::new(py, [sent, received])
    }

    /// Both addresses, with a blank between; `-` for one that is not there.
    #[getter]
    fn endpoints(&self) -> String {
        let engine = self.engine().ok();
        let engine = engine.or_else(|| self.lock_draining().upgrade());
        engine.map_or_else(|| "- -".to_owned(), |engine| engine.endpoints())
    }

    #[getter]
    fn pending(&self) -> usize {
        self.engine().map_or(0, |engine| engine.pending())
    }

    #[getter]
    fn closed(&self) -> bool {
        self.stream().is_err()
    }

    /// Whether this process has still to close it.
    #[getter]
    fn is_unclosed(&self) -> bool {
        self.stream()
            .is_ok_and(|stream| stream.transport.check_process().is_ok())
    }

    fn check_process(&self) -> PyResult<()> {
        let checked = self.stream()?.transport.check_process();
        checked.map_err(|error| os_error(&error))
    }

    fn settimeout(&self, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let nanoseconds = match timeout {
            None => -1,
            Some(timeout) => call::timeout_nanoseconds(timeout)?,
        };
        self.timeout.store(nanoseconds, Ordering::Relaxed);
        Ok(())
    }

    fn gettimeout(&self) -> Option<f64> {
        let nanoseconds = u64::try_from(self.timeout.load(Ordering::Relaxed)).ok()?;
        Some(Duration::from_nanos(nanoseconds).as_secs_f64())
    }

    /// What a wait callback is given: the object that this weak reference is of.
    fn set_face(&self, face: Py<PyAny>) {
        let before = self.lock_face().replace(face);
        drop(before);
    }

    #[pyo3(signature = (data, content_type=23, flags=0))]
    fn send(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        content_type: u8,
        flags: u32,
    ) -> PyResult<usize> {
        let write_flags = WriteFlags {
            content_type,
            ..write_flags(flags)
        };
        let engine = self.engine()?;
        buffer::with_data(data, |data| {
            if let Some(count) = engine.try_send(&data, write_flags) {
                engine.note_write_end();
                return Ok(count);
            }
            let timeout = self.timeout("send", flags);
            let sent = self.write(py, &engine, data, write_flags, timeout);
            engine.note_write_end();
            sent.into_result()
        })?
    }

    #[pyo3(signature = (data, flags=0))]
    fn sendall(&self, py: Python<'_>, data: &Bound<'_, PyAny>, flags: u32) -> PyResult<()> {
        let write_flags = write_flags(flags);
        let engine = self.engine()?;
        buffer::with_data(data, |data| {
            if engine.try_send(&data, write_flags).is_some() {
                engine.note_write_end();
                return Ok(());
            }
            let timeout = self.timeout("sendall", flags);
            let sent = if timeout.is_cooperative() {
                let (accepted, ended) =
                    waiting::write(py, self, &engine, data, write_flags, timeout);
                ended.after(accepted as u64).into_result()
            } else {
                run(py, timeout, |deadline| {
                    engine.send_all(&data, write_flags, deadline)
                })
            };
            engine.note_write_end();
            sent
        })?
    }

    #[pyo3(signature = (buffers, content_type=23, flags=0, *, atomic=false))]
    fn sendmsg(
        &self,
        py: Python<'_>,
        buffers: Vec<Bound<'_, PyAny>>,
        content_type: u8,
        flags: u32,
        atomic: bool,
    ) -> PyResult<usize> {
        let write_flags = WriteFlags {
            content_type,
            atomic,
            ..write_flags(flags)
        };
        let engine = self.engine()?;
        let timeout = self.timeout("sendmsg", flags);
        let mut whole = Vec::new();
        for buffer in &buffers {
            whole.extend_from_slice(Input::new(buffer)?.as_slice());
        }
        let data = Data::Shared(Arc::new(whole));
        self.write(py, &engine, data, write_flags, timeout)
            .into_result()
    }

    fn async_write(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        future: Py<PyAny>,
    ) -> PyResult<Option<AsyncWrite>> {
        let engine = self.engine()?;
        let unended = buffer::with_data(data, |data| write_async(py, &engine, &data, future))??;
        Ok(unended.map(|id| AsyncWrite::new(&engine, id)))
    }

    fn cork(&self, py: Python<'_>) -> PyResult<Cork> {
        let engine = self.engine()?;
        // A context manager says what is wrong when it is made, as a call does.
        py.detach(|| engine.cork())
            .map_err(|error| os_error(&error))?;
        Ok(Cork::new(engine))
    }

    /// `accepted` is a list, to which the bytes accepted are appended even when a signal handler raises.
    fn send_counted(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        accepted: &Bound<'_, PyList>,
    ) -> PyResult<usize> {
        let before = accepted.extract::<Vec<u64>>()?.iter().sum();
        let engine = self.engine()?;
        let outcome = buffer::with_data(data, |data| {
            let timeout = self.timeout("sendfile", 0);
            self.write(py, &engine, data, WriteFlags::DATA, timeout)
                .after(before)
        })?;
        if let Ok(count) = &outcome.result {
            accepted.append(count)?;
        }
        outcome.into_result()
    }

    /// `before`: bytes that earlier parts of the same call had accepted.
    #[pyo3(signature = (fd, offset, count, file=None, before=0))]
    fn sendfile(
        &self,
        py: Python<'_>,
        fd: i32,
        offset: u64,
        count: u64,
        file: Option<&Bound<'_, PyAny>>,
        before: u64,
    ) -> PyResult<u64> {
        let descriptor = ktls_engine::duplicate(fd).map_err(|errno| {
            PyOSError::new_err((
                errno.raw_os_error(),
                format!("file descriptor {fd} cannot be used: {}", words(errno)),
            ))
        })?;
        let engine = self.engine()?;
        let descriptor = Arc::new(descriptor);
        let timeout = self.timeout("sendfile", 0);
        let send = |deadline: &mut Deadline<'_>| {
            engine.send_shared_file(&descriptor, offset, count, deadline)
        };
        let mut outcome = waiting::attempt(py, self, timeout, Event::Writable, send).after(before);
        if timeout.is_cooperative() && outcome.result.as_ref().is_ok_and(|sent| *sent == count) {
            let read = |deadline: &mut Deadline<'_>| engine.await_files(deadline);
            let ended = waiting::attempt(py, self, timeout, Event::Writable, read);
            outcome.raised = ended.raised;
            match ended.result {
                // What was accepted must not be offered again: too late is no error of this call any more.
                Err(error) if !error.leaves_connection() => outcome.result = Err(error),
                _ => {}
            }
        }
        // Here, and not in Python, where another signal could come between.
        if let (Ok(accepted), Some(file)) = (&outcome.result, file) {
            file.call_method1(intern!(py, "seek"), (offset.saturating_add(*accepted),))?;
        }
        outcome.into_result()
    }

    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        let engine = self.engine()?;
        py.detach(|| engine.poll_descriptor())
            .map_err(|error| os_error(&error))
    }

    /// The kernel was asked for a peer: the poll descriptor tells from now on.
    fn note_connect(&self, py: Python<'_>) {
        if let Ok(engine) = self.engine() {
            py.detach(|| engine.note_connect());
        }
    }

    /// The poll descriptor starts anew; `more`: plaintext is left above.
    fn set_readable(&self, more: bool) {
        if let Ok(engine) = self.engine() {
            engine.set_readable(more);
        }
    }

    #[pyo3(signature = (timeout=None))]
    fn flush(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let timeout = Timeout::within(timeout.map(call::timeout).transpose()?, "flush");
        let engine = self.engine()?;
        let mut accepted = None;
        waiting::attempt(py, self, timeout, Event::Writable, |deadline| {
            let so_far = match accepted {
                Some(so_far) => so_far,
                None => *accepted.insert(engine.accepted()?),
            };
            engine.flush_up_to(so_far, deadline)
        })
        .into_result()
    }

    fn shutdown_write(&self, py: Python<'_>) -> PyResult<()> {
        let engine = self.engine()?;
        py.detach(|| engine.shutdown_write())
            .map_err(|error| os_error(&error))
    }

    /// `discard`: what lies unread, such as a ticket, would have the kernel reset the connection and drop what the peer
    /// did not get yet.
    #[pyo3(signature = (*, discard=false))]
    fn close(&self, py: Python<'_>, discard: bool) -> PyResult<()> {
        let Some(Stream {
            engine,
            receiver,
            transport,
        }) = self.take()
        else {
            return Ok(());
        };
        *self.lock_draining() = Arc::downgrade(&engine);
        if self.untouched() {
            py.detach(|| let_go(&engine, &transport));
            return Ok(());
        }
        let linger = py.detach(|| {
            if discard {
                transport.discard_unread();
            }
            transport.close();
            drop(receiver);
            drop(transport);
            engine.close()
        });
        let Some(linger) = linger else {
            return Ok(());
        };
        let timeout = Timeout::within(Some(linger), "close");
        if timeout.is_cooperative() {
            return waiting::linger(py, &engine, timeout);
        }
        run(py, timeout, |deadline| engine.linger(deadline))
    }

    fn abort(&self, py: Python<'_>) {
        let engine = self
            .engine()
            .ok()
            .or_else(|| self.lock_draining().upgrade());
        if let Some(engine) = engine {
            py.detach(|| engine.abort());
        }
    }

    /// The descriptor as a `socket.socket` again, once everything was sent; closes this stream. The same again when it is
    /// called again: a signal handler may have raised before the socket was handed on.
    fn release(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if let Some(socket) = &*self.lock_released() {
            return Ok(socket.clone_ref(py));
        }
        let Stream {
            engine, transport, ..
        } = self.stream()?;
        let socket = duplicate(&transport)?;
        py.detach(|| engine.release())
            .map_err(|error| os_error(&error))?;
        drop(self.take());
        let socket = python_socket::new_python_socket(py, socket)?;
        *self.lock_released() = Some(socket.clone_ref(py));
        Ok(socket)
    }

    /// Whether `release` has been called with success.
    #[getter]
    fn is_released(&self) -> bool {
        self.lock_released().is_some()
    }

    /// A `_socket.socket` on a descriptor of its own, for a call that waits.
    fn duplicate(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let transport = self.own_transport()?;
        python_socket::new_socket(&python_socket::native_class(py)?, duplicate(&transport)?)
    }

    /// Calls with a `_socket.socket` for the time of the call, which needs no other descriptor.
    fn with_socket(&self, call: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let transport = self.own_transport()?;
        python_socket::with_borrowed(call, transport.socket())
    }

    /// Nothing was sent or received here: at the end nothing is said to the peer either.
    #[getter]
    fn untouched(&self) -> bool {
        self.untouched.load(Ordering::Relaxed)
    }

    #[setter]
    fn set_untouched(&self, untouched: bool) {
        self.untouched.store(untouched, Ordering::Relaxed);
    }

    /// Whether a forked child may have it by `inherit`.
    #[getter]
    fn is_inheritable(&self) -> bool {
        self.untouched()
            && self
                .stream()
                .is_ok_and(|stream| stream.transport.check_process().is_err())
    }

    /// In a forked child, the socket of a stream that its parent had not touched. Closes this.
    fn inherit(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let Stream { transport, .. } = self.stream()?;
        if !self.is_inheritable() {
            return Err(os_error(&Error::Internal(
                "only a forked child inherits, and only what was not touched",
            )));
        }
        let socket = python_socket::new_python_socket(py, duplicate(&transport)?)?;
        drop(self.take());
        Ok(socket)
    }

    fn __repr__(&self) -> String {
        self.engine().map_or_else(
            |_| "<ktls._core.SendStream closed>".to_owned(),
            |engine| format!("<ktls._core.SendStream {}>", engine.endpoints()),
        )
    }
}

impl SendStream {
    /// Makes the session with what `install` does, in one step. EALREADY when there is one.
    pub(crate) fn install_session(
        &self,
        py: Python<'_>,
        session: Py<PyAny>,
        install: impl FnOnce(Arc<Engine>) -> PyResult<()>,
    ) -> PyResult<()> {
        let engine = self.engine()?;
        {
            let mut place = self.lock_session();
            if !matches!(*place, Session::None) {
                return Err(PyOSError::new_err((
                    EALREADY,
                    "the socket has a session already; it stays",
                )));
            }
            *place = Session::Installing;
        }
        let installed = install(engine);
        let after = match &installed {
            Ok(()) => Session::Installed(session.clone_ref(py)),
            Err(_) => Session::None,
        };
        *self.lock_session() = after;
        installed
    }

    fn lock_released(&self) -> MutexGuard<'_, Option<Py<PyAny>>> {
        self.released.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the program calls, with a `fileno`.
    pub(crate) fn face<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let face = self.lock_face().as_ref().map(|face| face.clone_ref(py));
        let face = face.ok_or_else(|| os_error(&Error::Closed))?;
        face.into_bound(py).call0()
    }

    /// A write of which the call says how much was accepted.
    fn write(
        &self,
        py: Python<'_>,
        engine: &Arc<Engine>,
        data: Data<'_>,
        flags: WriteFlags,
        timeout: Timeout,
    ) -> Outcome<usize> {
        if !timeout.is_cooperative() {
            return attempt(py, timeout, |deadline| engine.send(&data, flags, deadline));
        }
        let (accepted, Outcome { result, raised }) =
            waiting::write(py, self, engine, data, flags, timeout);
        let result = match result {
            // The next call says so again; this one says what was accepted.
            Err(error) if accepted == 0 || !error.may_follow_a_part() => Err(error),
            _ => Ok(accepted),
        };
        Outcome { result, raised }
    }

    fn lock_face(&self) -> MutexGuard<'_, Option<Py<PyAny>>> {
        self.face.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_draining(&self) -> MutexGuard<'_, Weak<Engine>> {
        self.draining.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// EPERM in a forked child.
    fn own_transport(&self) -> PyResult<TcpTransport> {
        let Stream { transport, .. } = self.stream()?;
        transport
            .check_process()
            .map_err(|error| os_error(&error))?;
        Ok(transport)
    }

    pub(crate) fn stream(&self) -> PyResult<Stream> {
        let stream = self.stream.read().unwrap_or_else(PoisonError::into_inner);
        stream.clone().ok_or_else(|| os_error(&Error::Closed))
    }

    /// The engine's two halves.
    pub(crate) fn halves(&self) -> PyResult<(Arc<Engine>, Arc<Receiver>)> {
        let stream = self.stream.read().unwrap_or_else(PoisonError::into_inner);
        match &*stream {
            Some(stream) => Ok((Arc::clone(&stream.engine), Arc::clone(&stream.receiver))),
            None => Err(os_error(&Error::Closed)),
        }
    }

    pub(crate) fn engine(&self) -> PyResult<Arc<Engine>> {
        let stream = self.stream.read().unwrap_or_else(PoisonError::into_inner);
        match &*stream {
            Some(stream) => Ok(Arc::clone(&stream.engine)),
            None => Err(os_error(&Error::Closed)),
        }
    }

    fn take(&self) -> Option<Stream> {
        self.stream
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Whether a call may wait.
    pub(crate) fn may_wait(&self) -> bool {
        self.timeout.load(Ordering::Relaxed) != 0
    }

    /// The time that `call` has from now on.
    pub(crate) fn timeout(&self, call: &'static str, flags: u32) -> Timeout {
        match self.timeout.load(Ordering::Relaxed) {
            _ if flags & MSG_DONTWAIT != 0 => Timeout::NONBLOCKING,
            0 => Timeout::NONBLOCKING,
            nanoseconds => Timeout::within(
                u64::try_from(nanoseconds).ok().map(Duration::from_nanos),
                call,
            ),
        }
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        if let Some(Stream {
            engine, transport, ..
        }) = self.take()
        {
            let end = || {
                if self.untouched() {
                    return let_go(&engine, &transport);
                }
                transport.discard_unread();
                transport.close();
                // Nobody is left to wait for SO_LINGER: what was accepted drains in the background.
                engine.close();
            };
            if Python::try_attach(|py| py.detach(end)).is_none() {
                end();
            }
        }
    }
}

/// Hands a write to the engine with the future that it ends; returns its number. None: it has ended already.
pub(crate) fn write_async(
    py: Python<'_>,
    engine: &Arc<Engine>,
    data: &Data<'_>,
    future: Py<PyAny>,
) -> PyResult<Option<u64>> {
    let id = process::keep_future(future);
    let ended = py.detach(|| engine.async_write(id, data));
    match ended {
        Ok(false) => Ok(Some(id)),
        Ok(true) => {
            process::take_future(id);
            Ok(None)
        }
        Err(error) => {
            process::take_future(id);
            Err(os_error(&error))
        }
    }
}

/// Without a word to the peer, whom another process may have to itself.
fn let_go(engine: &Arc<Engine>, transport: &TcpTransport) {
    transport.close();
    // In a forked child there is nothing to let go of.
    let _ = engine.release();
}

fn duplicate(transport: &TcpTransport) -> PyResult<OwnedFd> {
    ktls_engine::duplicate(transport.socket().as_raw_fd()).map_err(|errno| {
        os_error(&Error::Resource {
            errno,
            wanted: "another descriptor of the socket",
        })
    })
}

/// The numbers by name.
fn traffic<'py>(py: Python<'py>, traffic: &Traffic) -> PyResult<Bound<'py, PyDict>> {
    let named = PyDict::new(py);
    named.set_item("records", traffic.records)?;
    named.set_item("payload_bytes", traffic.payload_bytes)?;
    named.set_item("wire_bytes", traffic.wire_bytes)?;
    named.set_item("errors", traffic.errors)?;
    named.set_item("key_changes", traffic.key_changes)?;
    named.set_item("queued_bytes", traffic.queued_bytes)?;
    named.set_item("sequence", traffic.sequence)?;
    Ok(named)
}

/// How flags of send(2) want application data framed.
fn write_flags(flags: u32) -> WriteFlags {
    WriteFlags {
        more: flags & MSG_MORE != 0,
        ..WriteFlags::DATA
    }
}
