//! `ktls._core.Stream`.
//!
//! The engine is entered without the interpreter (`detach`), except by `try_send`, which does not wait: while one thread
//! forks, others wait for it inside the engine, and it needs the interpreter to go on.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ktls_engine::{Data, HostSocket, Manner, Stream as Engine};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::aio_write::AioWrite;
use crate::buffer::{self, Input};
use crate::errors::os_error;
use crate::keys::Keys;
use crate::limit::{self, Limit, attempt, run};
use crate::new_key::{Origin, check_frame_len, new_key};
use crate::secret::Secret;
use crate::send_all::send_all;
use crate::{pool, sealer};

/// The flag of send(2): more follows at once.
pub(crate) const MSG_MORE: u32 = 0x8000;

/// The errno of a closed descriptor.
const EBADF: i32 = 9;

/// The flag of send(2): this call does not wait.
const MSG_DONTWAIT: u32 = 0x40;

/// The send side of one connection.
#[pyclass(frozen, weakref, module = "ktls._core")]
pub(crate) struct Stream {
    engine: RwLock<Option<Arc<Engine>>>,
    /// Nanoseconds; negative: for ever.
    timeout: AtomicI64,
    provider: RwLock<Option<String>>,
}

#[pymethods]
impl Stream {
    #[new]
    fn new(fd: i32) -> PyResult<Self> {
        let refused = |errno: i32, why: String| PyOSError::new_err((errno, why));
        let socket = ktls_engine::duplicate(fd).map_err(|errno| {
            refused(errno.raw_os_error(), format!("descriptor {fd} is not open"))
        })?;
        let output = HostSocket::new(socket).map_err(|errno| {
            refused(
                errno.raw_os_error(),
                format!("descriptor {fd} is not a TCP socket"),
            )
        })?;
        let engine = Engine::new(Box::new(output), pool::pool());
        Ok(Self {
            engine: RwLock::new(Some(engine)),
            timeout: AtomicI64::new(-1),
            provider: RwLock::new(None),
        })
    }

    #[pyo3(signature = (keys, sequence, *, explicit_nonce=None, provider=None, max_frame_len=16384, pad_to=0, record_limit=None, secret=None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "all that is known of a key, named by the caller"
    )]
    fn install(
        &self,
        py: Python<'_>,
        keys: &Keys,
        sequence: u64,
        explicit_nonce: Option<u64>,
        provider: Option<&str>,
        max_frame_len: usize,
        pad_to: usize,
        record_limit: Option<u64>,
        secret: Option<&Secret>,
    ) -> PyResult<()> {
        let origin = Origin { provider, secret };
        let seal = sealer::seal(keys, sequence, explicit_nonce, provider)?;
        let new =
            new_key(keys, seal, sequence, max_frame_len, record_limit, origin)?.padded_to(pad_to);
        let engine = self.engine()?;
        py.detach(|| engine.install(new))
            .map_err(|error| os_error(&error))?;
        *self
            .provider
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(provider.unwrap_or("ring").to_owned());
        Ok(())
    }

    #[pyo3(signature = (keys, sequence=0, *, message=None, provider=None, max_frame_len=16384, pad_to=0, record_limit=None, secret=None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "all that is known of a key, named by the caller"
    )]
    fn rekey(
        &self,
        py: Python<'_>,
        keys: &Keys,
        sequence: u64,
        message: Option<&[u8]>,
        provider: Option<&str>,
        max_frame_len: usize,
        pad_to: usize,
        record_limit: Option<u64>,
        secret: Option<&Secret>,
    ) -> PyResult<()> {
        let origin = Origin { provider, secret };
        let seal = sealer::seal(keys, sequence, None, provider)?;
        let new =
            new_key(keys, seal, sequence, max_frame_len, record_limit, origin)?.padded_to(pad_to);
        let engine = self.engine()?;
        py.detach(|| engine.rekey(message.unwrap_or_default(), new))
            .map_err(|error| os_error(&error))
    }

    fn update_key(&self, py: Python<'_>, message: &[u8]) -> PyResult<()> {
        let engine = self.engine()?;
        py.detach(|| engine.update_key(message))
            .map_err(|error| os_error(&error))
    }

    fn set_max_frame_len(&self, py: Python<'_>, max_frame_len: usize) -> PyResult<()> {
        check_frame_len(max_frame_len)?;
        let engine = self.engine()?;
        py.detach(|| engine.set_max_frame_len(max_frame_len))
            .map_err(|error| os_error(&error))
    }

    #[getter]
    fn installed(&self) -> bool {
        self.engine()
            .is_ok_and(|engine| engine.sequence().is_some())
    }

    #[getter]
    fn provider(&self) -> Option<String> {
        self.provider
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    #[getter]
    fn sequence(&self) -> u64 {
        self.engine()
            .ok()
            .and_then(|engine| engine.sequence())
            .unwrap_or(0)
    }

    #[getter]
    fn pending(&self) -> usize {
        self.engine().map_or(0, |engine| engine.pending())
    }

    fn settimeout(&self, timeout: Option<f64>) -> PyResult<()> {
        let nanoseconds = match timeout {
            None => -1,
            Some(seconds) => {
                i64::try_from(limit::duration(seconds)?.as_nanos()).unwrap_or(i64::MAX)
            }
        };
        self.timeout.store(nanoseconds, Ordering::Relaxed);
        Ok(())
    }

    #[pyo3(signature = (data, content_type=23, flags=0))]
    fn send(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        content_type: u8,
        flags: u32,
    ) -> PyResult<usize> {
        let manner = Manner {
            content_type,
            ..manner(flags)
        };
        let engine = self.engine()?;
        buffer::with_data(data, |data| {
            if let Some(count) = engine.try_send(&data, manner) {
                engine.note_write_end();
                return Ok(count);
            }
            let sent = run(py, self.limit(flags), |patience| {
                engine.send(&data, manner, patience)
            });
            engine.note_write_end();
            sent
        })?
    }

    fn send_counted(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        accepted: &Bound<'_, PyList>,
    ) -> PyResult<usize> {
        let engine = self.engine()?;
        let (sent, raised) = buffer::with_data(data, |data| {
            attempt(py, self.limit(0), |patience| {
                engine.send(&data, Manner::DATA, patience)
            })
        })?;
        if let Ok(count) = sent {
            accepted.append(count)?;
        }
        match raised {
            Some(raised) => Err(raised),
            None => sent.map_err(|error| os_error(&error)),
        }
    }

    #[pyo3(signature = (data, flags=0))]
    fn sendall(&self, py: Python<'_>, data: &Bound<'_, PyAny>, flags: u32) -> PyResult<()> {
        let manner = manner(flags);
        let engine = self.engine()?;
        buffer::with_data(data, |data| {
            if engine.try_send(&data, manner).is_some() {
                engine.note_write_end();
                return Ok(());
            }
            let sent = run(py, self.limit(flags), |patience| {
                send_all(&engine, &data, manner, patience)
            });
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
        let manner = Manner {
            content_type,
            whole: atomic,
            ..manner(flags)
        };
        let engine = self.engine()?;
        let limit = self.limit(flags);
        let mut whole = Vec::new();
        for buffer in &buffers {
            whole.extend_from_slice(Input::new(buffer)?.as_slice());
        }
        let data = Data::Shared(Arc::new(whole));
        run(py, limit, |patience| engine.send(&data, manner, patience))
    }

    #[pyo3(signature = (id, data, lead=None))]
    fn aio_write(
        &self,
        py: Python<'_>,
        id: u64,
        data: &Bound<'_, PyAny>,
        lead: Option<usize>,
    ) -> PyResult<Option<AioWrite>> {
        let engine = self.engine()?;
        let ended = buffer::with_data(data, |data| {
            py.detach(|| engine.aio_write(id, &data, lead))
                .map_err(|error| os_error(&error))
        })??;
        Ok((!ended).then_some(AioWrite { engine, id }))
    }

    fn cork(&self, py: Python<'_>) -> PyResult<()> {
        let engine = self.engine()?;
        py.detach(|| engine.cork())
            .map_err(|error| os_error(&error))
    }

    fn uncork(&self, py: Python<'_>) {
        if let Ok(engine) = self.engine() {
            py.detach(|| engine.uncork());
        }
    }

    #[getter]
    fn has_open_record(&self, py: Python<'_>) -> bool {
        self.engine()
            .is_ok_and(|engine| py.detach(|| engine.has_open_record()))
    }

    #[pyo3(signature = (fd, offset, count, file=None))]
    fn sendfile(
        &self,
        py: Python<'_>,
        fd: i32,
        offset: u64,
        count: u64,
        file: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        let descriptor = ktls_engine::duplicate(fd).map_err(|errno| {
            PyOSError::new_err((
                errno.raw_os_error(),
                format!("file descriptor {fd} is not open"),
            ))
        })?;
        let engine = self.engine()?;
        let (sent, raised) = attempt(py, self.limit(0), |patience| {
            engine.send_file(descriptor, offset, count, patience)
        });
        // Here, and not in Python, where another signal could come between.
        let positioned = match (&sent, file) {
            (Ok(accepted), Some(file)) => file
                .call_method1("seek", (offset.saturating_add(*accepted),))
                .map(drop),
            _ => Ok(()),
        };
        if let Some(raised) = raised {
            return Err(raised);
        }
        positioned?;
        sent.map_err(|error| os_error(&error))
    }

    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        let engine = self.engine()?;
        py.detach(|| engine.poll_descriptor())
            .map_err(|error| os_error(&error))
    }

    fn consumed(&self, py: Python<'_>, more: bool) {
        if let Ok(engine) = self.engine() {
            py.detach(|| engine.consumed(more));
        }
    }

    #[pyo3(signature = (timeout=None))]
    fn flush(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let limit = Limit::waiting(timeout.map(limit::duration).transpose()?);
        let engine = self.engine()?;
        run(py, limit, |patience| engine.flush(patience))
    }

    fn shutdown_write(&self, py: Python<'_>) -> PyResult<()> {
        let engine = self.engine()?;
        py.detach(|| engine.shutdown_write())
            .map_err(|error| os_error(&error))
    }

    fn close(&self, py: Python<'_>) {
        let engine = self
            .engine
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(engine) = engine {
            py.detach(|| engine.close());
        }
    }

    fn release(&self, py: Python<'_>) -> PyResult<()> {
        let engine = self.engine()?;
        py.detach(|| engine.release())
            .map_err(|error| os_error(&error))?;
        self.engine
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        Ok(())
    }

    fn abort(&self, py: Python<'_>) {
        if let Ok(engine) = self.engine() {
            py.detach(|| engine.abort());
        }
    }

    fn __repr__(&self) -> String {
        self.engine().map_or_else(
            |_| "<ktls._core.Stream closed>".to_owned(),
            |engine| format!("<ktls._core.Stream {}>", engine.route()),
        )
    }
}

impl Stream {
    fn engine(&self) -> PyResult<Arc<Engine>> {
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        engine
            .clone()
            .ok_or_else(|| PyOSError::new_err((EBADF, "the socket is closed")))
    }

    fn limit(&self, flags: u32) -> Limit {
        match self.timeout.load(Ordering::Relaxed) {
            _ if flags & MSG_DONTWAIT != 0 => Limit::AT_ONCE,
            0 => Limit::AT_ONCE,
            nanoseconds => {
                Limit::waiting(u64::try_from(nanoseconds).ok().map(Duration::from_nanos))
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        Python::attach(|py| self.close(py));
    }
}

/// How flags of send(2) want application data framed.
fn manner(flags: u32) -> Manner {
    Manner {
        more: flags & MSG_MORE != 0,
        ..Manner::DATA
    }
}
