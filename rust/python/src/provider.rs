//! `ktls._core.Provider`: who seals and opens, as the registry of backends hands it on, with its counts.

use std::sync::{Arc, Mutex, PoisonError};

use ktls_engine::{Backend, RecordCounts};
use ktls_record::provider;
use pyo3::prelude::*;

use crate::errors::value_error;
use crate::keys::{Authentication, suite};

/// What was sealed and opened under each name since the process began. Held for a moment, with the interpreter.
static COUNTS: Mutex<Vec<(String, Arc<RecordCounts>)>> = Mutex::new(Vec::new());

/// See the head of this file.
#[pyclass(frozen, module = "ktls._core")]
pub(crate) struct Provider(Arc<Backend>);

#[pymethods]
impl Provider {
    #[staticmethod]
    fn compiled_in(name: &str) -> PyResult<Self> {
        let provider = provider::compiled_in(name).map_err(|error| value_error(&error))?;
        Ok(Self(Backend::new(provider, counts_of(name))))
    }

    #[getter]
    fn name(&self) -> &str {
        self.0.provider().name()
    }

    #[getter]
    fn use_count(&self) -> u64 {
        self.0.use_count()
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
                .is_ok_and(|suite| self.0.provider().takes(suite))
        })
    }

    fn __repr__(&self) -> String {
        format!("<ktls._core.Provider {:?}>", self.name())
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
            Self::Provider(provider) => Ok(Arc::clone(&provider.get().0)),
            Self::Name(name) => Ok(Provider::compiled_in(name)?.0),
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
