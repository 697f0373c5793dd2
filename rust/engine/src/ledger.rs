//! Every key that ever sealed on a connection, however it came to be: none is installed twice, since its numbers would
//! come again (RFC 8446 §5.3).
//!
//! Keeps fingerprints, no keys. One ledger serves all that seals on a connection.

use std::collections::HashSet;

use ktls_record::Keys;
use ktls_record::schedule::{Hash, Prf};

use crate::error::{Error, Result};

/// Tells keys apart without keeping them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// That of the key alone: two nonces may be equal whatever the IVs are.
    pub(crate) fn of(keys: &Keys) -> Self {
        let mut out = [0; 16];
        Prf::Sha2(Hash::Sha256).derive(keys.key(), "fingerprint of a write key", &[], &mut out);
        Self(out)
    }
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Ledger(HashSet<Fingerprint>);

impl Ledger {
    /// Looks whether this key may be installed.
    ///
    /// # Errors
    /// [`Error::KeyReused`] when it has been before.
    pub(crate) fn check(&self, fingerprint: Fingerprint) -> Result<()> {
        if self.0.contains(&fingerprint) {
            return Err(Error::KeyReused);
        }
        Ok(())
    }

    /// Enters a key that is installed now.
    pub(crate) fn enter(&mut self, fingerprint: Fingerprint) {
        self.0.insert(fingerprint);
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, Fingerprint, Keys, Ledger};
    use ktls_record::{Algorithm, Suite, Version};

    fn keys(key: u8, iv: u8) -> Keys {
        let suite = Suite::new(Version::Tls13, Algorithm::Aes128Gcm).expect("a suite of TLS 1.3");
        Keys::new(suite, &[key; 16], &[iv; 12]).expect("lengths of the suite")
    }

    #[test]
    fn a_key_is_known_by_itself_whatever_its_iv_is() {
        let mut ledger = Ledger::default();
        let first = Fingerprint::of(&keys(1, 1));
        ledger.check(first).expect("nothing was entered");
        ledger.enter(first);
        let again = Fingerprint::of(&keys(1, 2));
        assert!(matches!(ledger.check(again), Err(Error::KeyReused)));
        ledger
            .check(Fingerprint::of(&keys(2, 1)))
            .expect("another key");
    }
}
