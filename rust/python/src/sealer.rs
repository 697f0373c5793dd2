//! `ktls._core.Sealer`, and how a key is put into a provider's hands.

use std::sync::{Mutex, PoisonError};

use ktls_record::{Frame, MAX_FRAME_LEN, Seal, Suite, provider};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffer::{self, Input};
use crate::errors::value_error;
use crate::keys::Keys;
use crate::provider::Named;

/// Names of the providers compiled in.
#[pyfunction]
pub(crate) fn providers() -> Vec<&'static str> {
    provider::names().to_vec()
}

/// The explicit nonce of record 0 where nobody has begun to count, as FreeBSD begins (D22117).
pub(crate) fn random_nonce_base() -> PyResult<u64> {
    let mut random = [0; 8];
    provider::random(&mut random).map_err(|error| value_error(&error))?;
    Ok(u64::from_be_bytes(random))
}

/// A lock is held while a record is sealed or opened here.
pub(crate) fn refuse_waiting(may_wait: bool) -> PyResult<()> {
    if may_wait {
        return Err(pyo3::exceptions::PyValueError::new_err(
            "a backend in Python seals and opens for sockets only",
        ));
    }
    Ok(())
}

/// Seals records one after another, without I/O.
#[pyclass(frozen, module = "ktls._core")]
pub(crate) struct Sealer {
    seal: Box<dyn Seal>,
    sequence: Mutex<u64>,
}

#[pymethods]
impl Sealer {
    #[new]
    #[pyo3(signature = (keys, sequence=0, explicit_nonce=None, provider=None))]
    fn new(
        keys: &Keys,
        sequence: u64,
        explicit_nonce: Option<u64>,
        provider: Option<Named>,
    ) -> PyResult<Self> {
        let base = match explicit_nonce {
            Some(first) => first.wrapping_sub(sequence),
            None => random_nonce_base()?,
        };
        let seal = Named::or_ring(provider)?
            .sealer(&keys.0, base)
            .map_err(|error| value_error(&error))?;
        refuse_waiting(seal.may_wait())?;
        Ok(Self {
            seal,
            sequence: Mutex::new(sequence),
        })
    }

    #[pyo3(signature = (data, content_type=23))]
    fn seal<'py>(
        &self,
        py: Python<'py>,
        data: &Bound<'py, PyAny>,
        content_type: u8,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let input = Input::new(data)?;
        let size = wire_size(self.seal.suite(), input.as_slice().len());
        PyBytes::new_with(py, size, |out| {
            self.seal_records(input.as_slice(), content_type, out)
        })
    }

    #[pyo3(signature = (data, out, content_type=23))]
    fn seal_into(
        &self,
        data: &Bound<'_, PyAny>,
        out: &Bound<'_, PyAny>,
        content_type: u8,
    ) -> PyResult<usize> {
        let input = Input::new(data)?;
        let size = wire_size(self.seal.suite(), input.as_slice().len());
        let seal = |out: &mut [u8]| self.seal_records(input.as_slice(), content_type, out);
        buffer::fill(out, size, seal).map(|()| size)
    }

    #[getter]
    fn sequence(&self) -> u64 {
        *self.sequence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sealer {
    fn seal_records(&self, data: &[u8], content_type: u8, out: &mut [u8]) -> PyResult<()> {
        let mut sequence = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        let suite = self.seal.suite();
        let mut rest = out;
        let mut data = data;
        loop {
            let (payload, after) = data.split_at(data.len().min(MAX_FRAME_LEN));
            let (record, remaining) = rest.split_at_mut(suite.record_size(payload.len()));
            let frame = Frame {
                content_type,
                sequence: *sequence,
                payload_len: payload.len(),
                padding_len: 0,
            };
            self.seal
                .seal_from(frame, payload, record)
                .map_err(|error| value_error(&error))?;
            *sequence += 1;
            if after.is_empty() {
                return Ok(());
            }
            data = after;
            rest = remaining;
        }
    }
}

/// Bytes of the records that `len` payload bytes make; no bytes make one empty record.
fn wire_size(suite: Suite, len: usize) -> usize {
    let (full, rest) = (len / MAX_FRAME_LEN, len % MAX_FRAME_LEN);
    let last = if rest > 0 || len == 0 {
        suite.record_size(rest)
    } else {
        0
    };
    full * suite.record_size(MAX_FRAME_LEN) + last
}
