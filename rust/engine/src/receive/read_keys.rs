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
    /// The number that these keys began with, records under those before them, and how often they changed.
    first: u64,
    past_records: u64,
    changes: u64,
    /// Payload of all that opened.
    pub(super) payload: u64,
}

impl ReadKeys {
    /// The first keys of a stream, which is a session from now on.
    pub(super) fn first(new: NewReadKeys) -> Self {
        counters::ACTIVE.add(1);
        Self {
            suite: new.suite,
            opener: new.opener,
            sequence: new.sequence,
            first: new.sequence,
            past_records: 0,
            changes: 0,
            payload: 0,
        }
    }

    pub(super) fn replace(&mut self, new: NewReadKeys) {
        self.suite = new.suite;
        self.go_on(new.opener, new.sequence);
    }

    /// The next keys of the same suite.
    pub(super) fn go_on(&mut self, opener: Arc<dyn Open>, sequence: u64) {
        self.past_records = self.record_count();
        self.changes += 1;
        self.opener = opener;
        self.sequence = sequence;
        self.first = sequence;
    }

    /// Records taken so far, under whatever keys.
    pub(super) fn record_count(&self) -> u64 {
        self.past_records + (self.sequence - self.first)
    }

    /// How often the keys changed.
    pub(super) fn change_count(&self) -> u64 {
        self.changes
    }
}
