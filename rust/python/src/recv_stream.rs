//! `ktls._core.RecvStream`: what a connection receives, as it is.

use ktls_engine::Error;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffer;
use crate::call::run;
use crate::send_stream::SendStream;

/// Bytes read at once at the most: a call that asks for more gets less.
const RECV_MAX: usize = 1 << 18;

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
    fn recv<'py>(
        &self,
        py: Python<'py>,
        size: usize,
        flags: u32,
    ) -> PyResult<Bound<'py, PyBytes>> {
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
        let outcome = run(py, timeout, |deadline| {
            let mut out = vec![0; size.min(RECV_MAX)];
            let count = ktls_engine::receive(&stream.transport, &mut out, flags, deadline);
            if count.is_ok() || matches!(count, Err(Error::WouldBlock)) {
                stream.engine.set_readable(false);
            }
            out.truncate(count?);
            Ok(out)
        });
        outcome
    }
}
