//! `ktls._core.AioWrite`: a write that has not ended, for taking it back.

use std::sync::Arc;

use ktls_engine::Stream as Engine;
use pyo3::prelude::*;

/// Keeps the engine's stream, which goes on sending after the Python one is closed.
#[pyclass(frozen, module = "ktls._core")]
pub(crate) struct AioWrite {
    pub(crate) engine: Arc<Engine>,
    pub(crate) id: u64,
}

#[pymethods]
impl AioWrite {
    fn cancel(&self, py: Python<'_>) -> bool {
        py.detach(|| self.engine.cancel_aio(self.id))
    }
}
