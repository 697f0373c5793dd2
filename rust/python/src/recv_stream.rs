//! `ktls._core.RecvStream`: what a connection receives, as it is.

use ktls_engine::Error;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffer;
use crate::call::run;
use crate::send_stream::SendStream;

/// Bytes read at once at the most: a call that asks for more gets less.
const RECV_MAX: usize = 1 << 18;

/// Flags of recv(2): all of it is waited for; what is looked at stays.
const MSG_WAITALL: u32 = 0x100;
const MSG_PEEK: u32 = 0x2;

/// The receive half of one connection. It shares the descriptor and the time-out of its send half.
#[pyclass(frozen, module = "ktls._core")]
pub(crate) struct RecvStream {
    send: Py<SendStream>,
}

#[pymethods]
impl RecvStream {
    #[new]
    fn new(send: Py<SendStream>) -> Self {
        Self { send }
    }

    #[pyo3(signature = (size, flags=0))]
    fn recv<'py>(&self, py: Python<'py>, size: usize, flags: u32) -> PyResult<Bound<'py, PyBytes>> {
        let received = self.receive(py, size, flags)?;
        Ok(PyBytes::new(py, &received))
    }

    #[pyo3(signature = (buffer, size, flags=0))]
    fn recv_into(
        &self,
        py: Python<'_>,
        buffer: &Bound<'_, PyAny>,
        size: usize,
        flags: u32,
    ) -> PyResult<usize> {
        // Looked at first: what was received and finds no place would be lost.
        buffer::fill(buffer, size, |_| Ok(()))?;
        let received = self.receive(py, size, flags)?;
        buffer::fill(buffer, received.len(), |out| {
            out.copy_from_slice(&received);
            Ok(received.len())
        })
    }
}

impl RecvStream {
    fn receive(&self, py: Python<'_>, size: usize, flags: u32) -> PyResult<Vec<u8>> {
        let send = self.send.get();
        let stream = send.stream()?;
        let timeout = send.timeout(flags);
        run(py, timeout, |deadline| {
            let waits_all = flags & MSG_WAITALL != 0 && flags & MSG_PEEK == 0;
            let mut received = Vec::new();
            loop {
                let before = received.len();
                received.resize(before + RECV_MAX.min(size - before), 0);
                let out = &mut received[before..];
                let count =
                    ktls_engine::receive(&stream.transport, out, flags & !MSG_WAITALL, deadline);
                if count.is_ok() || matches!(count, Err(Error::NothingReceived)) {
                    stream.engine.set_readable(false);
                }
                received.truncate(before + count.as_ref().map_or(0, |count| *count));
                match count {
                    Err(error) if received.is_empty() => return Err(error),
                    Ok(1..) if waits_all && received.len() < size => {}
                    _ => return Ok(received),
                }
            }
        })
    }
}
