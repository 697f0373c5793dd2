//! The keying material of one direction, checked against its suite and wiped when dropped.

use core::fmt;

use zeroize::Zeroizing;

use crate::error::Error;
use crate::suite::Suite;

/// Suite, cipher key, implicit IV and MAC key of one direction.
///
/// `Debug` shows the suite only. The bytes are on the heap, so that moving the value leaves no copy behind.
#[derive(Clone)]
pub struct Keys {
    suite: Suite,
    key: Zeroizing<Box<[u8]>>,
    iv: Zeroizing<Box<[u8]>>,
    mac_key: Zeroizing<Box<[u8]>>,
}

impl Keys {
    /// The keys of one direction of an AEAD suite.
    ///
    /// # Errors
    /// [`Error::KeyLen`] or [`Error::IvLen`] when a length is not the suite's; [`Error::MacKeyLen`] when the suite
    /// has a MAC.
    pub fn new(suite: Suite, key: &[u8], iv: &[u8]) -> Result<Self, Error> {
        Self::with_mac(suite, key, iv, &[])
    }

    /// The keys of one direction of an AES-CBC suite. In TLS 1.0 `iv` is that of the first record: from the key block,
    /// or the last cipher block of the record that somebody else sealed before; later versions have none.
    ///
    /// # Errors
    /// [`Error::KeyLen`], [`Error::IvLen`] or [`Error::MacKeyLen`] when a length is not the suite's.
    pub fn with_mac(suite: Suite, key: &[u8], iv: &[u8], mac_key: &[u8]) -> Result<Self, Error> {
        if key.len() != suite.key_len() {
            return Err(Error::KeyLen {
                algorithm: suite.algorithm(),
                expected: suite.key_len(),
                actual: key.len(),
            });
        }
        if iv.len() != suite.iv_len() {
            return Err(Error::IvLen {
                algorithm: suite.algorithm(),
                version: suite.version(),
                expected: suite.iv_len(),
                actual: iv.len(),
            });
        }
        if mac_key.len() != suite.mac_key_len() {
            return Err(Error::MacKeyLen {
                algorithm: suite.algorithm(),
                mac: suite.mac(),
                actual: mac_key.len(),
            });
        }
        Ok(Self {
            suite,
            key: Zeroizing::new(key.into()),
            iv: Zeroizing::new(iv.into()),
            mac_key: Zeroizing::new(mac_key.into()),
        })
    }

    /// The same keys with another implicit IV: in TLS 1.0, to go on after a record that was sealed elsewhere.
    ///
    /// # Errors
    /// [`Error::IvLen`].
    pub fn with_iv(&self, iv: &[u8]) -> Result<Self, Error> {
        Self::with_mac(self.suite, &self.key, iv, &self.mac_key)
    }

    /// The suite.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// The cipher key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The implicit IV.
    #[must_use]
    pub fn iv(&self) -> &[u8] {
        &self.iv
    }

    /// The MAC key; empty for an AEAD.
    #[must_use]
    pub fn mac_key(&self) -> &[u8] {
        &self.mac_key
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}
