//! Opens the records of one direction in order and counts them.
//!
//! For the few records of a handshake and what OpenSSL says later: it copies every record. It derives no keys.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::DirectionKeys;
use crate::cipher::Open;
use crate::error::Error;
use crate::keys::Keys;
use crate::nonce::explicit_nonce;
use crate::provider;

/// Any provider does: few records are opened here.
const PROVIDER: &str = "ring";

/// The keys of one direction, at the next record.
pub(super) struct CountingOpener {
    keys: Keys,
    open: Arc<dyn Open>,
    sequence: u64,
    last_explicit_nonce: Option<u64>,
}

impl CountingOpener {
    /// An opener whose next record has number `sequence`.
    pub(super) fn new(keys: Keys, sequence: u64) -> Result<Self, Error> {
        let open = provider::opener(PROVIDER, &keys)?;
        Ok(Self {
            keys,
            open,
            sequence,
            last_explicit_nonce: None,
        })
    }

    /// Open the next record: its content type and payload. A record that is refused is not counted.
    pub(super) fn open(&mut self, record: &[u8]) -> Result<(u8, Vec<u8>), Error> {
        let mut bytes = record.to_vec();
        let opened = self.open.open_in_place(self.sequence, &mut bytes)?;
        let result = (opened.content_type, opened.payload.to_vec());
        self.sequence += 1;
        self.last_explicit_nonce = explicit_nonce(self.keys.suite(), record);
        Ok(result)
    }

    /// Whether the next record would open; nothing is counted. Not for chained IVs.
    pub(super) fn opens(&self, record: &[u8]) -> bool {
        self.open
            .open_in_place(self.sequence, &mut record.to_vec())
            .is_ok()
    }

    /// Open all of `records`; None when one is refused.
    pub(super) fn open_all<R: AsRef<[u8]>>(&mut self, records: &[R]) -> Option<Vec<(u8, Vec<u8>)>> {
        records
            .iter()
            .map(|record| self.open(record.as_ref()).ok())
            .collect()
    }

    /// Records opened so far under these keys, those before this opener included.
    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// What another sealer or opener needs to go on after the last record opened here.
    pub(super) fn into_direction_keys(
        self,
        secret: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<DirectionKeys, Error> {
        let keys = match self.open.chained_iv() {
            Some(iv) => self.keys.with_iv(&iv)?,
            None => self.keys,
        };
        Ok(DirectionKeys {
            keys,
            sequence: self.sequence,
            explicit_nonce: self.last_explicit_nonce.map(|last| last.wrapping_add(1)),
            secret,
        })
    }
}
