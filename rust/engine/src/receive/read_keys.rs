//! The keys under which records are opened, and the number of the next one.

use std::sync::Arc;

use ktls_record::{Keys, Open, Suite, provider};

use crate::counters;

/// Keys that a stream is to open with.
pub struct NewReadKeys {
    suite: Suite,
    opener: Arc<dyn Open>,
    sequence: u64,
}

impl NewReadKeys {
    /// These keys in the hands of the provider of that name; `sequence` is the number of the next record.
    ///
    /// # Errors
    /// When the provider does not know the suite.
    pub fn new(
        keys: &Keys,
        sequence: u64,
        provider_name: &str,
    ) -> Result<Self, ktls_record::Error> {
        Ok(Self {
            suite: keys.suite(),
            opener: provider::opener(provider_name, keys)?,
            sequence,
        })
    }
}

/// See the head of this file.
pub(super) struct ReadKeys {
    pub(super) suite: Suite,
    pub(super) opener: Arc<dyn Open>,
    pub(super) sequence: u64,
}

impl ReadKeys {
    /// The first keys of a stream, which is a session from now on.
    pub(super) fn first(new: NewReadKeys) -> Self {
        counters::ACTIVE.add(1);
        Self {
            suite: new.suite,
            opener: new.opener,
            sequence: new.sequence,
        }
    }

    pub(super) fn replace(&mut self, new: NewReadKeys) {
        self.suite = new.suite;
        self.opener = new.opener;
        self.sequence = new.sequence;
    }
}
