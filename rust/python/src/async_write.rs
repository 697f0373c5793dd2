//! `ktls._core.AsyncWrite`: a write that has not ended, for taking it back.

use std::sync::{Arc, Weak};

use ktls_engine::SendStream as Engine;
use pyo3::prelude::*;

/// Keeps nothing alive: a stream that still has the write to send is kept by the pool.
#[pyclass(frozen, module = "ktls._core")]
pub(crate) struct AsyncWrite {
    engine: Weak<Engine>,
    id: u64,
}

impl AsyncWrite {
    pub(crate) fn new(engine: &Arc<Engine>, id: u64) -> Self {
        Self {
            engine: Arc::downgrade(engine),
            id,
        }
    }
}

#[pymethods]
impl AsyncWrite {
    fn cancel(&self, py: Python<'_>) -> bool {
        py.detach(|| {
            self.engine
                .upgrade()
                .is_some_and(|engine| engine.cancel_async_write(self.id))
        })
    }
}
