//! The write state (RFC 5246 §6.1): the key that the next record is written with, its number, how many more the key may
//! seal, and where the key after it comes from (RFC 8446 §7.2).
//!
//! Says nothing of when a key changes; that is `key_change.rs`.

use std::sync::Arc;

use zeroize::Zeroizing;

use ktls_record::schedule;
use ktls_record::{Keys, Seal, Suite, Version};

use super::fragmenter::{Fragmenter, RecordSplit};
use super::run::{APPLICATION_DATA, WriteKey};
use crate::backend::{Backend, InUse};
use crate::error::{Error, Result};
use crate::ledger::Fingerprint;

/// Records beyond the limit for what must be said even then: alerts, a KeyUpdate.
const CONTROL_RECORD_RESERVE: u64 = 1024;

/// A key to seal with from a number on, and what is known of it.
pub struct NewWriteState {
    seal: Box<dyn Seal>,
    sequence: u64,
    fragmenter: Fragmenter,
    record_limit: u64,
    update_secret: Option<UpdateSecret>,
    backend: Option<InUse>,
    pub(super) fingerprint: Fingerprint,
}

impl NewWriteState {
    /// Keys whose first record has the number `sequence`, and what seals with them; records carry at most
    /// `max_frame_len` bytes.
    #[must_use]
    pub fn new(keys: &Keys, seal: Box<dyn Seal>, sequence: u64, max_frame_len: usize) -> Self {
        Self {
            seal,
            sequence,
            fragmenter: Fragmenter {
                max_frame_len,
                block_padding: 0,
                split: RecordSplit::None,
            },
            record_limit: u64::MAX,
            update_secret: None,
            backend: None,
            fingerprint: Fingerprint::of(keys),
        }
    }

    /// Pads records to a multiple of so many payload bytes, where the version knows padding (RFC 8446 §5.4).
    #[must_use]
    pub fn with_padding(mut self, multiple: usize) -> Self {
        if self.seal.suite().version() == Version::Tls13 {
            self.fragmenter.block_padding = multiple;
        }
        self
    }

    /// What precedes the data of each write.
    #[must_use]
    pub fn with_record_split(mut self, split: RecordSplit) -> Self {
        self.fragmenter.split = split;
        self
    }

    /// Records of application data that it may seal (RFC 8446 §5.5), at least one, and each key after it.
    #[must_use]
    pub fn with_record_limit(mut self, records: u64) -> Self {
        self.record_limit = records.max(1);
        self
    }

    /// Notes in whose hands the key is, who counts what it seals.
    #[must_use]
    pub fn with_backend(self, backend: &Arc<Backend>) -> Self {
        self.in_use(InUse::new(backend))
    }

    fn in_use(mut self, backend: InUse) -> Self {
        self.backend = Some(backend);
        self
    }

    /// Notes where the next key comes from.
    #[must_use]
    pub fn with_update_secret(mut self, secret: UpdateSecret) -> Self {
        self.update_secret = Some(secret);
        self
    }
}

/// The TLS 1.3 traffic secret of the key in use. Wiped when dropped.
pub struct UpdateSecret {
    suite: Suite,
    secret: Zeroizing<Vec<u8>>,
    backend: Arc<Backend>,
}

impl UpdateSecret {
    /// `secret` is that of the key in use; `backend` seals under those that follow.
    #[must_use]
    pub fn new(suite: Suite, secret: Zeroizing<Vec<u8>>, backend: &Arc<Backend>) -> Self {
        Self {
            suite,
            secret,
            backend: Arc::clone(backend),
        }
    }

    fn next(&self) -> core::result::Result<(Keys, Box<dyn Seal>, Self), ktls_record::Error> {
        let secret = schedule::next_traffic_secret(&self.secret)?;
        let keys = schedule::traffic_keys(self.suite, &secret)?;
        // Explicit nonces ended with TLS 1.2.
        let seal = self.backend.sealer(&keys, 0)?;
        Ok((keys, seal, Self::new(self.suite, secret, &self.backend)))
    }
}

/// See the head of this file.
pub(super) struct WriteState {
    pub(super) key: Arc<WriteKey>,
    pub(super) fragmenter: Fragmenter,
    pub(super) sequence: u64,
    /// The number that it began with.
    first: u64,
    /// The first number that application data may not have; the last of all is never used, so that the next one always
    /// exists (RFC 8446 §5.3).
    end: u64,
    record_limit: u64,
    update_secret: Option<UpdateSecret>,
}

impl WriteState {
    pub(super) fn new(new: NewWriteState) -> Self {
        Self {
            key: Arc::new(WriteKey::new(new.seal, new.backend)),
            fragmenter: new.fragmenter,
            sequence: new.sequence,
            first: new.sequence,
            end: new.sequence.saturating_add(new.record_limit),
            record_limit: new.record_limit,
            update_secret: new.update_secret,
        }
    }

    /// The state after this one, from record 0. None: its secret is not known here.
    pub(super) fn next(&self) -> Option<Result<NewWriteState>> {
        let made = self.update_secret.as_ref()?.next();
        Some(match made {
            Ok((keys, seal, secret)) => {
                let backend = &secret.backend;
                let in_use = match &self.key.backend {
                    Some(in_use) if Arc::ptr_eq(in_use.backend(), backend) => in_use.clone(),
                    _ => InUse::new(backend),
                };
                let new = NewWriteState::new(&keys, seal, 0, self.fragmenter.max_frame_len)
                    .in_use(in_use)
                    .with_padding(self.fragmenter.block_padding)
                    .with_record_limit(self.record_limit)
                    .with_update_secret(secret);
                Ok(new)
            }
            Err(error) => Err(Error::NoNextKey(error.to_string().into())),
        })
    }

    /// Whether the key after this one can be made here.
    pub(super) fn is_renewable(&self) -> bool {
        self.update_secret.is_some()
    }

    /// Records framed with the key.
    pub(super) fn record_count(&self) -> u64 {
        self.sequence - self.first
    }

    /// Records of application data that the key may still seal.
    pub(super) fn records_left(&self) -> u64 {
        self.end.saturating_sub(self.sequence)
    }

    /// Whether the key may seal a write of so many bytes whole.
    pub(super) fn may_seal(&self, len: usize) -> bool {
        self.records_left() >= self.fragmenter.record_count(len as u64)
    }

    /// Whether a key may ever seal so many.
    pub(super) fn is_within_limit(&self, records: u64) -> bool {
        records <= self.record_limit
    }

    /// Takes the numbers of `count` records; returns the first.
    pub(super) fn take_numbers(&mut self, count: u64, content_type: u8) -> Result<u64> {
        let first = self.sequence;
        let reserve = if content_type == APPLICATION_DATA {
            0
        } else {
            CONTROL_RECORD_RESERVE
        };
        match first.checked_add(count) {
            Some(next) if next <= self.end.saturating_add(reserve) => {
                self.sequence = next;
                Ok(first)
            }
            _ => Err(self.used_up()),
        }
    }

    /// The error of a write for which the key may seal nothing more.
    #[cold]
    pub(super) fn used_up(&self) -> Error {
        if self.end == u64::MAX {
            return Error::NumbersUsedUp(self.sequence);
        }
        let suite = self.key.suite();
        Error::KeyUsedUp {
            records: self.record_limit,
            algorithm: suite.algorithm(),
            renewable: suite.version() == Version::Tls13,
        }
    }
}
