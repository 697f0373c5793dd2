//! What a peer may send only so often before application data with a payload comes: records that cost this side work,
//! or an answer, and bring nothing.
//!
//! Each limit is the most that is taken; one more is refused. Where OpenSSL starts a count again at any other record,
//! these counts go on, so that no mixture goes on for ever.

use super::Refusal;
use crate::alert;

/// Empty records of application data: MAX_EMPTY_RECORDS of OpenSSL (`ssl/record/methods/tls_common.c`), kMaxEmptyRecords
/// of BoringSSL.
const MAX_EMPTY_RECORDS: u8 = 32;
/// Alerts that are ignored: OpenSSL refuses number MAX_WARN_ALERT_COUNT, which is 5 (`ssl/record/record.h`).
const MAX_WARNINGS: u8 = 4;
/// KeyUpdates: kMaxKeyUpdates of BoringSSL (`ssl/tls13_both.cc`), MAX_KEY_UPDATE_MESSAGES of OpenSSL 1.1.1's first
/// versions; later ones have no limit.
const MAX_KEY_UPDATES: u8 = 32;
/// Attempts to renegotiate, each of which is answered. OpenSSL has no limit; this is that of the warnings.
const MAX_RENEGOTIATIONS: u8 = 4;

/// Counts since application data with a payload came.
#[derive(Debug, Default)]
pub(super) struct Floods {
    empty_records: u8,
    warnings: u8,
    key_updates: u8,
    renegotiations: u8,
}

impl Floods {
    /// Application data came.
    pub(super) fn data(&mut self, len: usize) -> Result<(), Refusal> {
        if len == 0 {
            return count(&mut self.empty_records, MAX_EMPTY_RECORDS, EMPTY_RECORDS);
        }
        *self = Self::default();
        Ok(())
    }

    /// An alert came that is ignored.
    pub(super) fn warning(&mut self) -> Result<(), Refusal> {
        count(&mut self.warnings, MAX_WARNINGS, WARNINGS)
    }

    /// A KeyUpdate came.
    pub(super) fn key_update(&mut self) -> Result<(), Refusal> {
        count(&mut self.key_updates, MAX_KEY_UPDATES, KEY_UPDATES)
    }

    /// The peer wanted to renegotiate.
    pub(super) fn renegotiation(&mut self) -> Result<(), Refusal> {
        count(&mut self.renegotiations, MAX_RENEGOTIATIONS, RENEGOTIATIONS)
    }
}

fn count(counter: &mut u8, most: u8, refusal: Refusal) -> Result<(), Refusal> {
    if *counter == most {
        return Err(refusal);
    }
    *counter += 1;
    Ok(())
}

const EMPTY_RECORDS: Refusal = Refusal {
    alert: alert::UNEXPECTED_MESSAGE,
    reason: "the peer sent too many empty records and no data",
};
const WARNINGS: Refusal = Refusal {
    alert: alert::UNEXPECTED_MESSAGE,
    reason: "the peer sent too many warnings and no data",
};
const KEY_UPDATES: Refusal = Refusal {
    alert: alert::UNEXPECTED_MESSAGE,
    reason: "the peer sent too many KeyUpdates and no data",
};
const RENEGOTIATIONS: Refusal = Refusal {
    alert: alert::UNEXPECTED_MESSAGE,
    reason: "the peer asked to renegotiate too often",
};
