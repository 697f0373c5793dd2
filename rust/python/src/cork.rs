//! `ktls._core.Cork`: a cork that is pulled when it goes, whatever a signal handler raises.

use std::sync::{Arc, Mutex, PoisonError};

use ktls_engine::SendStream as Engine;
use pyo3::prelude::*;

/// Holds one of the corks of a stream, as a context manager.
#[pyclass(frozen, module = "ktls._core")]
pub(crate) struct Cork(Mutex<Option<Arc<Engine>>>);

#[pymethods]
impl Cork {
    fn __enter__(&self) {}

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) {
        self.pull(py);
    }
}

impl Cork {
    /// Takes over a cork that the stream has counted.
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self(Mutex::new(Some(engine)))
    }

    fn pull(&self, py: Python<'_>) {
        let engine = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(engine) = engine {
            py.detach(|| engine.uncork());
        }
    }
}

impl Drop for Cork {
    fn drop(&mut self) {
        // None: at the end of the interpreter the stream is closed, too.
        let _ = Python::try_attach(|py| self.pull(py));
    }
}
