//! `ktls._core.Opener`.

use std::sync::{Arc, Mutex, PoisonError};

use ktls_record::Open;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffer;
use crate::errors::{bad_record, value_error};
use crate::keys::Keys;
use crate::provider::Named;
use crate::sealer::refuse_waiting;

struct State {
    sequence: u64,
    explicit_nonce: Option<u64>,
}

/// Opens records one after another.
#[pyclass(frozen, module = "ktls._core")]
pub(crate) struct Opener {
    open: Arc<dyn Open>,
    state: Mutex<State>,
}

#[pymethods]
impl Opener {
    #[new]
    #[pyo3(signature = (keys, sequence=0, provider=None))]
    fn new(keys: &Keys, sequence: u64, provider: Option<Named>) -> PyResult<Self> {
        let open = Named::or_ring(provider)?
            .opener(&keys.0)
            .map_err(|error| value_error(&error))?;
        refuse_waiting(open.may_wait())?;
        Ok(Self {
            open,
            state: Mutex::new(State {
                sequence,
                explicit_nonce: None,
            }),
        })
    }

    fn open<'py>(
        &self,
        py: Python<'py>,
        record: &Bound<'py, PyAny>,
    ) -> PyResult<(u8, Bound<'py, PyBytes>)> {
        let mut record = buffer::copy(record)?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let explicit = ktls_record::explicit_nonce(self.open.suite(), &record);
        let opened = self
            .open
            .open_in_place(state.sequence, &mut record)
            .map_err(|error| bad_record(&error))?;
        state.sequence += 1;
        state.explicit_nonce = explicit;
        Ok((opened.content_type, PyBytes::new(py, opened.payload)))
    }

    fn clone(&self) -> Self {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = State {
            sequence: state.sequence,
            explicit_nonce: state.explicit_nonce,
        };
        Self {
            open: Arc::clone(&self.open).clone_state(),
            state: Mutex::new(copy),
        }
    }

    #[getter]
    fn sequence(&self) -> u64 {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .sequence
    }

    #[getter]
    fn chained_iv<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.open.chained_iv().map(|iv| PyBytes::new(py, &iv))
    }

    #[getter]
    fn explicit_nonce(&self) -> Option<u64> {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .explicit_nonce
    }
}
