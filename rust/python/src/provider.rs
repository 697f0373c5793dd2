//! `ktls._core.Provider`: who seals and opens, as the registry of backends hands it on, with its counts.

use std::sync::{Arc, Mutex, PoisonError};

use ktls_engine::{Backend, RecordCounts};
use ktls_record::provider;
use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::backends::native::Native;
use crate::backends::python::InPython;
use crate::errors::{EOPNOTSUPP, value_error};
use crate::keys::{Authentication, suite};
use crate::libcrypto::{self, Libcrypto};

/// What was sealed and opened under each name since the process began. Held for a moment, with the interpreter.
static COUNTS: Mutex<Vec<(String, Arc<RecordCounts>)>> = Mutex::new(Vec::new());

/// See the head of this file.
#[pyclass(frozen, module = "ktls._core")]
pub(crate) struct Provider {
    backend: Arc<Backend>,
    counted_as: String,
    is_python: bool,
}

#[pymethods]
impl Provider {
    #[staticmethod]
    #[pyo3(signature = (name, counted_as=None))]
    fn compiled_in(name: &str, counted_as: Option<String>) -> PyResult<Self> {
        let provider = provider::compiled_in(name).map_err(|error| value_error(&error))?;
        Ok(Self::new(
            provider,
            counted_as.unwrap_or_else(|| name.to_owned()),
        ))
    }

    /// The libcrypto that `ssl` uses. OSError EOPNOTSUPP says what is missing.
    #[staticmethod]
    fn libcrypto(py: Python<'_>) -> PyResult<Self> {
        let module = py.import(intern!(py, "_ssl"))?;
        // An interpreter that is one file has no such attribute.
        let file: Option<String> = module
            .getattr(intern!(py, "__file__"))
            .and_then(|file| file.extract())
            .ok();
        let found = Libcrypto::find(file.as_deref())
            .map_err(|why| PyOSError::new_err((EOPNOTSUPP, why)))?;
        Ok(Self::new(Arc::new(found), libcrypto::NAME.to_owned()))
    }

    /// A native backend, behind a capsule.
    #[staticmethod]
    fn native(name: &str, capsule: &Bound<'_, PyCapsule>) -> PyResult<Self> {
        let provider = Native::new(name, capsule)?;
        Ok(Self::new(Arc::new(provider), name.to_owned()))
    }

    /// A backend in Python, which has no keys itself.
    #[staticmethod]
    fn in_python(name: &str) -> Self {
        Self {
            is_python: true,
            ..Self::new(Arc::new(InPython::new(name, None)), name.to_owned())
        }
    }

    /// The same backend in Python for the keys of a session, of which `factory` makes ciphers.
    fn for_session(&self, factory: Py<PyAny>) -> Self {
        let provider = InPython::new(self.backend.provider().name(), Some(factory));
        Self {
            backend: self.backend.with_provider(Arc::new(provider)),
            counted_as: self.counted_as.clone(),
            is_python: true,
        }
    }

    #[getter]
    fn name(&self) -> &str {
        self.backend.provider().name()
    }

    #[getter]
    fn counted_as(&self) -> &str {
        &self.counted_as
    }

    #[getter]
    fn use_count(&self) -> u64 {
        self.backend.use_count()
    }

    /// Whether it does its work without the interpreter.
    #[getter]
    fn computes(&self) -> bool {
        !self.is_python
    }

    fn takes(&self, tls_vminor: u8, cipher_algorithm: u32, key_len: usize) -> bool {
        // For AES-CBC any MAC will do: who takes one takes all.
        let authentications = [
            Authentication::default(),
            Authentication {
                algorithm: crate::keys::CRYPTO_SHA1_HMAC,
                encrypt_then_mac: false,
            },
        ];
        authentications.into_iter().any(|authentication| {
            suite(tls_vminor, cipher_algorithm, key_len, authentication)
                .is_ok_and(|suite| self.backend.provider().takes(suite))
        })
    }

    fn __repr__(&self) -> String {
        format!("<ktls._core.Provider {:?}>", self.name())
    }
}

impl Provider {
    fn new(provider: Arc<dyn provider::Provider>, counted_as: String) -> Self {
        Self {
            backend: Backend::new(provider, counts_of(&counted_as)),
            counted_as,
            is_python: false,
        }
    }
}

/// A provider, or the name of one that is compiled in.
#[derive(FromPyObject)]
pub(crate) enum Named {
    Provider(Py<Provider>),
    Name(String),
}

impl Named {
    pub(crate) fn backend(&self) -> PyResult<Arc<Backend>> {
        match self {
            Self::Provider(provider) => Ok(Arc::clone(&provider.get().backend)),
            Self::Name(name) => Ok(Provider::compiled_in(name, None)?.backend),
        }
    }

    /// `ring` where nobody is named.
    pub(crate) fn or_ring(named: Option<Self>) -> PyResult<Arc<Backend>> {
        named
            .unwrap_or_else(|| Self::Name("ring".to_owned()))
            .backend()
    }
}

/// The counts of every name, as below `kern.ipc.tls`.
pub(crate) fn counters() -> Vec<(String, u64)> {
    let counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    counts
        .iter()
        .flat_map(|(name, counts)| {
            counts
                .snapshot()
                .map(move |(kind, count)| (format!("stats.{name}.{kind}"), count))
        })
        .collect()
}

fn counts_of(name: &str) -> Arc<RecordCounts> {
    let mut counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, counts)) = counts.iter().find(|(other, _)| other == name) {
        return Arc::clone(counts);
    }
    let new = Arc::<RecordCounts>::default();
    counts.push((name.to_owned(), Arc::clone(&new)));
    new
}
