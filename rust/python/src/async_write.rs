//! `ktls._core.AsyncWrite`: a write that has not ended, for taking it back.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use ktls_engine::SendStream as Engine;
use pyo3::prelude::*;

/// Keeps nothing alive: a stream that still has the write to send is kept by the pool.
#[pyclass(frozen, module = "ktls._core")]
pub(crate) struct AsyncWrite {
    engine: Weak<Engine>,
    id: u64,
    /// Every caller gets the same answer.
    is_cancelled: Mutex<bool>,
}

impl AsyncWrite {
    pub(crate) fn new(engine: &Arc<Engine>, id: u64) -> Self {
        Self {
            engine: Arc::downgrade(engine),
            id,
            is_cancelled: Mutex::new(false),
        }
    }

    /// One that is not taken back.
    pub(crate) const fn final_one(id: u64) -> Self {
        Self {
            engine: Weak::new(),
            id,
            is_cancelled: Mutex::new(false),
        }
    }
}

#[pymethods]
impl AsyncWrite {
    fn cancel(&self, py: Python<'_>) -> bool {
        py.detach(|| {
            let mut is_cancelled = self
                .is_cancelled
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *is_cancelled = *is_cancelled
                || self
                    .engine
                    .upgrade()
                    .is_some_and(|engine| engine.cancel_async_write(self.id));
            *is_cancelled
        })
    }
}
