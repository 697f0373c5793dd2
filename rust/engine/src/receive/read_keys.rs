//! The keys under which records are opened, and the number of the next one.

use std::sync::Arc;

use ktls_record::{Keys, Open, Suite};

use crate::backend::{Backend, InUse};
use crate::counters;

/// Keys that a stream is to open with.
pub struct NewReadKeys {
    suite: Suite,
    opener: Arc<dyn Open>,
    sequence: u64,
    backend: InUse,
}

impl NewReadKeys {
    /// These keys in the hands of a backend; `sequence` is the number of the next record.
    ///
    /// # Errors
    /// When the backend refuses them.
    pub fn new(
        keys: &Keys,
        sequence: u64,
        backend: &Arc<Backend>,
    ) -> Result<Self, ktls_record::Error> {
        Ok(Self {
            suite: keys.suite(),
            opener: backend.opener(keys)?,
            sequence,
            backend: InUse::new(backend),
        })
    }
}

/// See the head of this file.
pub(super) struct ReadKeys {
    pub(super) suite: Suite,
    pub(super) opener: Arc<dyn Open>,
    pub(super) sequence: u64,
    backend: InUse,
}

impl ReadKeys {
    /// The first keys of a stream, which is a session from now on.
    pub(super) fn first(new: NewReadKeys) -> Self {
        counters::ACTIVE.add(1);
        Self {
            suite: new.suite,
            opener: new.opener,
            sequence: new.sequence,
            backend: new.backend,
        }
    }

    pub(super) fn replace(&mut self, new: NewReadKeys) {
        self.suite = new.suite;
        self.opener = new.opener;
        self.sequence = new.sequence;
        self.backend = new.backend;
    }

    /// The keys that follow by a KeyUpdate, in the same hands.
    pub(super) fn renew(&mut self, keys: &Keys) -> Result<(), ktls_record::Error> {
        self.opener = self.backend.backend().opener(keys)?;
        self.sequence = 0;
        Ok(())
    }

    /// Counts records that were opened, or were not because they are false.
    pub(super) fn count(&self, records: u64) {
        self.backend.count_opened(self.suite, records);
    }
}
