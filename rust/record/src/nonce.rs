//! The nonce of an AEAD record from the IV of its key, its sequence number and, in TLS 1.2 AES-GCM, the record
//! itself. The IVs of AES-CBC are made in `cipher::iv`.
//!
//! Uniqueness rests on the sequence number alone: explicit nonces are a base plus the sequence number, so they
//! repeat exactly when a sequence number does.

use zeroize::Zeroizing;

use crate::keys::Keys;
use crate::suite::{EXPLICIT_LEN, NONCE_LEN, NonceForm, SALT_LEN, Suite};

/// The explicit nonce that a record carries, or None where the suite has none or the record is too short.
#[must_use]
pub fn explicit_nonce(suite: Suite, record: &[u8]) -> Option<u64> {
    match suite.nonce_form() {
        NonceForm::Explicit => {
            let header = record.get(..suite.header_size())?;
            Some(u64::from_be_bytes(*header.last_chunk::<EXPLICIT_LEN>()?))
        }
        NonceForm::Xor | NonceForm::Block | NonceForm::Chained => None,
    }
}

/// Makes the nonces of one key; holds its IV.
pub(crate) struct Nonces {
    form: NonceForm,
    /// The IV, or the salt followed by zeros.
    iv: Zeroizing<[u8; NONCE_LEN]>,
}

impl Nonces {
    pub(crate) fn new(keys: &Keys) -> Self {
        let mut iv = Zeroizing::new([0; NONCE_LEN]);
        iv[..keys.iv().len()].copy_from_slice(keys.iv());
        Self {
            form: keys.suite().nonce_form(),
            iv,
        }
    }

    /// The nonce of a record; `explicit` is used only where the suite has explicit nonces.
    pub(crate) fn nonce(&self, sequence: u64, explicit: u64) -> [u8; NONCE_LEN] {
        let mut nonce = *self.iv;
        // In the explicit form the last eight bytes of `iv` are zero, so that one XOR does for both.
        let varying = match self.form {
            NonceForm::Explicit => explicit,
            NonceForm::Xor | NonceForm::Block | NonceForm::Chained => sequence,
        };
        for (byte, other) in nonce[SALT_LEN..].iter_mut().zip(varying.to_be_bytes()) {
            *byte ^= other;
        }
        nonce
    }
}
