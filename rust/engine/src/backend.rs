//! A provider as the engine uses it: with a count of the sessions that it has, and of what it sealed and opened.
//!
//! The counts have upstream's kinds (`kern.ipc.tls.stats.ocf`). Who is chosen for a session is policy, and not here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ktls_record::provider::{self, Provider};
use ktls_record::{Algorithm, Error as RecordError, Keys, Open, Seal, Suite, Version};

use crate::counters::Counter;

/// Names of what is counted, without its direction.
const KINDS: [&str; 6] = [
    "tls10_cbc",
    "tls11_cbc",
    "tls12_gcm",
    "tls12_chacha20",
    "tls13_gcm",
    "tls13_chacha20",
];

/// Records sealed and opened, by kind. They outlive the backend, for the next one of its name.
#[derive(Debug, Default)]
pub struct RecordCounts {
    sealed: [Counter; KINDS.len()],
    opened: [Counter; KINDS.len()],
}

impl RecordCounts {
    /// Every count with its name: of `tls13_gcm_encrypts` that of the records of AES-GCM in TLS 1.3 that were sealed.
    pub fn snapshot(&self) -> impl Iterator<Item = (String, u64)> {
        let named = |(kind, (sealed, opened)): (&&str, (&Counter, &Counter))| {
            [
                (format!("{kind}_encrypts"), sealed.read()),
                (format!("{kind}_decrypts"), opened.read()),
            ]
        };
        KINDS
            .iter()
            .zip(self.sealed.iter().zip(&self.opened))
            .flat_map(named)
    }
}

/// See the head of this file.
pub struct Backend {
    provider: Arc<dyn Provider>,
    counts: Arc<RecordCounts>,
    use_count: Arc<AtomicU64>,
}

impl Backend {
    /// A backend that seals and opens by this provider, and goes on with these counts.
    #[must_use]
    pub fn new(provider: Arc<dyn Provider>, counts: Arc<RecordCounts>) -> Arc<Self> {
        Arc::new(Self {
            provider,
            counts,
            use_count: Arc::default(),
        })
    }

    /// The same backend, with a provider for one session.
    #[must_use]
    pub fn with_provider(&self, provider: Arc<dyn Provider>) -> Arc<Self> {
        Arc::new(Self {
            provider,
            counts: Arc::clone(&self.counts),
            use_count: Arc::clone(&self.use_count),
        })
    }

    /// That of a provider compiled in.
    ///
    /// # Errors
    /// [`RecordError::UnknownProvider`].
    pub fn compiled_in(name: &str) -> Result<Arc<Self>, RecordError> {
        Ok(Self::new(provider::compiled_in(name)?, Arc::default()))
    }

    /// The provider.
    #[must_use]
    pub fn provider(&self) -> &dyn Provider {
        &*self.provider
    }

    /// What was sealed and opened.
    #[must_use]
    pub fn counts(&self) -> &Arc<RecordCounts> {
        &self.counts
    }

    /// Sessions that have keys in its hands, each direction for itself.
    #[must_use]
    pub fn use_count(&self) -> u64 {
        self.use_count.load(Ordering::Acquire)
    }

    /// A write key in its hands; as [`Provider::sealer`].
    ///
    /// # Errors
    /// As [`Provider::sealer`].
    pub fn sealer(&self, keys: &Keys, explicit_base: u64) -> Result<Box<dyn Seal>, RecordError> {
        self.provider.sealer(keys, explicit_base)
    }

    /// A read key in its hands.
    ///
    /// # Errors
    /// As [`Provider::opener`].
    pub fn opener(&self, keys: &Keys) -> Result<Arc<dyn Open>, RecordError> {
        self.provider.opener(keys)
    }
}

/// A session that has keys in a backend's hands, for as long as it lives; later keys of the session share it.
#[derive(Clone)]
pub(crate) struct InUse(Arc<Use>);

struct Use(Arc<Backend>);

impl InUse {
    pub(crate) fn new(backend: &Arc<Backend>) -> Self {
        backend.use_count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::new(Use(Arc::clone(backend))))
    }

    pub(crate) fn backend(&self) -> &Arc<Backend> {
        &self.0.0
    }

    pub(crate) fn count_sealed(&self, kind: Kind, records: u64) {
        if let Some(count) = self.backend().counts.sealed.get(kind.0) {
            count.add(records);
        }
    }

    pub(crate) fn count_opened(&self, kind: Kind, records: u64) {
        if let Some(count) = self.backend().counts.opened.get(kind.0) {
            count.add(records);
        }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.0.use_count.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What is counted together, as its place in [`KINDS`].
#[derive(Clone, Copy)]
pub(crate) struct Kind(usize);

impl Kind {
    /// TLS 1.1 and 1.2 are one for AES-CBC, as upstream.
    pub(crate) fn of(suite: Suite) -> Self {
        Self(match (suite.version(), suite.algorithm()) {
            (Version::Tls10, _) => 0,
            (_, Algorithm::Aes128Cbc | Algorithm::Aes256Cbc) => 1,
            (Version::Tls13, Algorithm::ChaCha20Poly1305) => 5,
            (Version::Tls13, _) => 4,
            (_, Algorithm::ChaCha20Poly1305) => 3,
            (_, _) => 2,
        })
    }
}
