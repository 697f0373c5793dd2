//! The keying material of one direction, checked against its suite and wiped when dropped.

use core::fmt;

use zeroize::Zeroizing;

use crate::error::Error;
use crate::suite::Suite;

/// Suite, cipher key and implicit IV of one direction.
///
/// `Debug` shows the suite only. The bytes are on the heap, so that moving the value leaves no copy behind.
#[derive(Clone)]
pub struct Keys {
    suite: Suite,
    key: Zeroizing<Box<[u8]>>,
    iv: Zeroizing<Box<[u8]>>,
}

impl Keys {
    /// The keys of one direction.
    ///
    /// # Errors
    /// [`Error::KeyLen`] or [`Error::IvLen`] when a length is not the suite's.
    pub fn new(suite: Suite, key: &[u8], iv: &[u8]) -> Result<Self, Error> {
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
        Ok(Self {
            suite,
            key: Zeroizing::new(key.into()),
            iv: Zeroizing::new(iv.into()),
        })
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
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}
