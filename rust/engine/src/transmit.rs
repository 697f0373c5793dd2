//! What the next record is written with: the key, its number, how many more the key may seal, and where the key after
//! it comes from (RFC 8446 §7.2).
//!
//! Says nothing of when a key changes; that is `stream/rekey.rs`.

use std::sync::Arc;

use rustix::io::Errno;
use zeroize::Zeroizing;

use ktls_record::schedule::{self, Hash, Prf};
use ktls_record::{Keys, Seal, Suite, Version, provider};

use crate::error::{Error, Result};
use crate::frames::{APPLICATION_DATA, Layout, WriteKey};

/// Records beyond the limit for what must be said even then: alerts, a KeyUpdate.
const SPARE: u64 = 1024;

/// Tells keys apart without keeping them.
pub(crate) type Fingerprint = [u8; 16];

/// A key to seal with from a number on, and what is known of it.
pub struct NewKey {
    seal: Box<dyn Seal>,
    sequence: u64,
    layout: Layout,
    record_limit: u64,
    renewal: Option<Renewal>,
    pub(crate) fingerprint: Option<Fingerprint>,
}

impl NewKey {
    /// A key whose first record has the number `sequence`; records carry at most `max_frame_len` bytes.
    #[must_use]
    pub fn new(seal: Box<dyn Seal>, sequence: u64, max_frame_len: usize) -> Self {
        Self {
            seal,
            sequence,
            layout: Layout {
                max_frame_len,
                pad_to: 0,
            },
            record_limit: u64::MAX,
            renewal: None,
            fingerprint: None,
        }
    }

    /// Pads records to a multiple of so many payload bytes, where the version knows padding (RFC 8446 §5.4).
    #[must_use]
    pub fn padded_to(mut self, multiple: usize) -> Self {
        if self.seal.suite().version() == Version::Tls13 {
            self.layout.pad_to = multiple;
        }
        self
    }

    /// Records of application data that it may seal (RFC 8446 §5.5), at least one, and each key after it.
    #[must_use]
    pub fn limited_to(mut self, records: u64) -> Self {
        self.record_limit = records.max(1);
        self
    }

    /// Notes which keys these are, so that they are refused if they come again.
    #[must_use]
    pub fn known_as(mut self, keys: &Keys) -> Self {
        self.fingerprint = Some(fingerprint(keys));
        self
    }

    /// Notes where the next key comes from.
    #[must_use]
    pub fn renewed_by(mut self, renewal: Renewal) -> Self {
        self.renewal = Some(renewal);
        self
    }
}

/// The TLS 1.3 traffic secret of the key in use. Wiped when dropped.
pub struct Renewal {
    suite: Suite,
    secret: Zeroizing<Vec<u8>>,
    provider: String,
}

impl Renewal {
    /// `secret` is that of the key in use; `provider` seals under those that follow.
    #[must_use]
    pub fn new(suite: Suite, secret: Zeroizing<Vec<u8>>, provider: &str) -> Self {
        Self {
            suite,
            secret,
            provider: provider.to_owned(),
        }
    }

    fn next(&self) -> core::result::Result<(Box<dyn Seal>, Self), ktls_record::Error> {
        let secret = schedule::next_traffic_secret(&self.secret)?;
        let keys = schedule::traffic_keys(self.suite, &secret)?;
        // Explicit nonces ended with TLS 1.2.
        let seal = provider::sealer(&self.provider, &keys, 0)?;
        Ok((seal, Self::new(self.suite, secret, &self.provider)))
    }
}

/// See the head of this file.
pub(crate) struct Transmit {
    pub(crate) key: Arc<WriteKey>,
    pub(crate) layout: Layout,
    pub(crate) sequence: u64,
    /// The first number that application data may not have; the last of all is never used, so that the next one always
    /// exists (RFC 8446 §5.3).
    end: u64,
    record_limit: u64,
    renewal: Option<Renewal>,
}

impl Transmit {
    pub(crate) fn new(new: NewKey) -> Self {
        Self {
            key: Arc::new(WriteKey::new(new.seal)),
            layout: new.layout,
            sequence: new.sequence,
            end: new.sequence.saturating_add(new.record_limit),
            record_limit: new.record_limit,
            renewal: new.renewal,
        }
    }

    /// The key after this one, from record 0. None: its secret is not known here.
    pub(crate) fn next(&self) -> Option<Result<NewKey>> {
        let made = self.renewal.as_ref()?.next();
        Some(match made {
            Ok((seal, renewal)) => Ok(NewKey::new(seal, 0, self.layout.max_frame_len)
                .padded_to(self.layout.pad_to)
                .limited_to(self.record_limit)
                .renewed_by(renewal)),
            Err(error) => {
                let why = format!("the next key could not be made: {error}");
                Err(Error::new(Errno::IO, why))
            }
        })
    }

    /// Whether the key after this one can be made here.
    pub(crate) fn is_renewable(&self) -> bool {
        self.renewal.is_some()
    }

    /// Records of application data that the key may still seal.
    pub(crate) fn records_left(&self) -> u64 {
        self.end.saturating_sub(self.sequence)
    }

    /// Whether the key may seal a write of so many bytes whole.
    pub(crate) fn may_seal(&self, len: usize) -> bool {
        self.records_left() >= self.layout.record_count(len as u64)
    }

    /// Bytes on the wire of a write of so many bytes.
    pub(crate) fn wire_size(&self, len: usize) -> usize {
        self.layout.wire_size(self.key.suite(), len)
    }

    /// Whether a key may ever seal so many.
    pub(crate) fn is_within_limit(&self, records: u64) -> bool {
        records <= self.record_limit
    }

    /// Takes the numbers of `count` records; returns the first.
    pub(crate) fn take_numbers(&mut self, count: u64, content_type: u8) -> Result<u64> {
        let first = self.sequence;
        let spare = if content_type == APPLICATION_DATA {
            0
        } else {
            SPARE
        };
        match first.checked_add(count) {
            Some(next) if next <= self.end.saturating_add(spare) => {
                self.sequence = next;
                Ok(first)
            }
            _ => Err(self.used_up()),
        }
    }

    /// The error of a write for which the key may seal nothing more.
    #[cold]
    pub(crate) fn used_up(&self) -> Error {
        if self.end == u64::MAX {
            return Error::new(
                Errno::BADMSG,
                format!(
                    "sequence number {} leaves no room for more records; rekey or open a new connection",
                    self.sequence
                ),
            );
        }
        let suite = self.key.suite();
        let remedy = if suite.version() == Version::Tls13 {
            "rekey with the next traffic secret, or open a new connection"
        } else {
            "there is no key update before TLS 1.3: open a new connection"
        };
        Error::new(
            Errno::KEYEXPIRED,
            format!(
                "{} records were sealed with one {} key, as many as it may seal (kern.ipc.tls.records_per_key, \
                 RFC 8446 5.5); {remedy}",
                self.record_limit,
                suite.algorithm(),
            ),
        )
    }
}

fn fingerprint(keys: &Keys) -> Fingerprint {
    let mut out = Fingerprint::default();
    Prf::Sha2(Hash::Sha256).derive(keys.key(), "fingerprint of a write key", &[], &mut out);
    out
}
