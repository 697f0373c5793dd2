//! The keys under which records are opened, and the number of the next one.

use std::sync::Arc;

use ktls_record::{Keys, Open, Opened, RecordHeader, Suite};

use super::opening::{OpenedAhead, Opening};
use crate::backend::{Backend, InUse, Kind};
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
    /// What was opened before its turn, where the key may wait for others.
    pub(super) ahead: OpenedAhead,
    may_wait: bool,
    kind: Kind,
    backend: InUse,
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
            may_wait: new.opener.may_wait(),
            kind: Kind::of(new.suite),
            opener: new.opener,
            sequence: new.sequence,
            ahead: OpenedAhead::default(),
            backend: new.backend,
            first: new.sequence,
            past_records: 0,
            changes: 0,
            payload: 0,
        }
    }

    pub(super) fn replace(&mut self, new: NewReadKeys) {
        self.suite = new.suite;
        self.may_wait = new.opener.may_wait();
        self.ahead.clear();
        self.kind = Kind::of(new.suite);
        self.backend = new.backend;
        self.go_on(new.opener, new.sequence);
    }

    /// The keys that follow by a KeyUpdate, in the same hands.
    pub(super) fn renew(&mut self, keys: &Keys) -> Result<(), ktls_record::Error> {
        let opener = self.backend.backend().opener(keys)?;
        self.may_wait = opener.may_wait();
        self.ahead.clear();
        self.go_on(opener, 0);
        Ok(())
    }

    fn go_on(&mut self, opener: Arc<dyn Open>, sequence: u64) {
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

    /// Whether opening may wait for others, so that it is done in batches, without a lock.
    pub(super) fn may_wait(&self) -> bool {
        self.may_wait
    }

    /// Opens the next record into `out`.
    pub(super) fn open_into<'o>(
        &mut self,
        record: &[u8],
        out: &'o mut [u8],
    ) -> Result<Opened<'o>, ktls_record::Error> {
        if self.may_wait {
            return self.ahead.next_into(out);
        }
        self.opener.open_into(self.sequence, record, out)
    }

    /// Opens the next record where it is.
    pub(super) fn open_in_place<'r>(
        &mut self,
        header: RecordHeader,
        record: &'r mut [u8],
    ) -> Result<Opened<'r>, ktls_record::Error> {
        if self.may_wait {
            let header_size = self.suite.header_size();
            return self.ahead.next_in_place(header, header_size, record);
        }
        self.opener.open_in_place(self.sequence, record)
    }

    /// Takes in what was opened of a batch.
    pub(super) fn take_in(&mut self, opening: Opening) {
        self.ahead.take_in(opening, &self.opener, self.sequence);
    }

    /// Counts records that were opened, or were not because they are false.
    pub(super) fn count(&self, records: u64) {
        self.backend.count_opened(self.kind, records);
    }
}
