//! Protocol versions and ciphers as data: the lengths that every other file works with.
//!
//! A [`Suite`] is a pair that exists; whoever holds one need not ask again. It knows nothing of key exchange,
//! signatures or the 16-bit suite identifiers of the handshake.

use core::fmt;

use crate::error::Error;
use crate::frame::HEADER_LEN;

/// A TLS protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// TLS 1.0 (RFC 2246).
    Tls10,
    /// TLS 1.1 (RFC 4346).
    Tls11,
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl Version {
    /// The version whose second byte in the handshake is `minor`: 1 to 4 for TLS 1.0 to 1.3.
    #[must_use]
    pub const fn from_minor(minor: u8) -> Option<Self> {
        match minor {
            1 => Some(Self::Tls10),
            2 => Some(Self::Tls11),
            3 => Some(Self::Tls12),
            4 => Some(Self::Tls13),
            _ => None,
        }
    }

    /// The second byte of the version in the handshake: 1 to 4.
    #[must_use]
    pub const fn minor(self) -> u8 {
        match self {
            Self::Tls10 => 1,
            Self::Tls11 => 2,
            Self::Tls12 => 3,
            Self::Tls13 => 4,
        }
    }

    /// The two version bytes of a record header; TLS 1.3 records say 1.2 (RFC 8446 §5.1).
    #[must_use]
    pub const fn wire(self) -> [u8; 2] {
        match self {
            Self::Tls10 => [3, 1],
            Self::Tls11 => [3, 2],
            Self::Tls12 | Self::Tls13 => [3, 3],
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls10 => "TLS 1.0",
            Self::Tls11 => "TLS 1.1",
            Self::Tls12 => "TLS 1.2",
            Self::Tls13 => "TLS 1.3",
        })
    }
}

/// A cipher with its key length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// AES-128 in Galois/Counter mode (RFC 5288).
    Aes128Gcm,
    /// AES-256 in Galois/Counter mode (RFC 5288).
    Aes256Gcm,
    /// ChaCha20 with Poly1305 (RFC 7905).
    ChaCha20Poly1305,
}

impl Algorithm {
    /// Bytes of the cipher key.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aes128Gcm => "AES-128-GCM",
            Self::Aes256Gcm => "AES-256-GCM",
            Self::ChaCha20Poly1305 => "ChaCha20-Poly1305",
        })
    }
}

/// How the nonce of a record comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NonceForm {
    /// A salt of 4 bytes and 8 bytes that travel in the record (RFC 5288 §3).
    Explicit,
    /// The IV with the sequence number XORed into its end (RFC 7905 §2, RFC 8446 §5.3).
    Xor,
}

/// A version and a cipher that go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Suite {
    version: Version,
    algorithm: Algorithm,
}

impl Suite {
    /// The suite of a version and a cipher.
    ///
    /// # Errors
    /// [`Error::UnsupportedSuite`]: AEAD ciphers begin with TLS 1.2.
    pub const fn new(version: Version, algorithm: Algorithm) -> Result<Self, Error> {
        match version {
            Version::Tls12 | Version::Tls13 => Ok(Self { version, algorithm }),
            Version::Tls10 | Version::Tls11 => Err(Error::UnsupportedSuite { version, algorithm }),
        }
    }

    /// The protocol version.
    #[must_use]
    pub const fn version(self) -> Version {
        self.version
    }

    /// The cipher.
    #[must_use]
    pub const fn algorithm(self) -> Algorithm {
        self.algorithm
    }

    /// Bytes of the cipher key.
    #[must_use]
    pub const fn key_len(self) -> usize {
        self.algorithm.key_len()
    }

    /// Bytes of the implicit IV: 4 for TLS 1.2 AES-GCM, otherwise 12.
    #[must_use]
    pub const fn iv_len(self) -> usize {
        match self.nonce_form() {
            NonceForm::Explicit => SALT_LEN,
            NonceForm::Xor => NONCE_LEN,
        }
    }

    /// Bytes before the payload of a record: the record header and the explicit nonce, if any.
    #[must_use]
    pub const fn header_size(self) -> usize {
        match self.nonce_form() {
            NonceForm::Explicit => HEADER_LEN + EXPLICIT_LEN,
            NonceForm::Xor => HEADER_LEN,
        }
    }

    /// Bytes after a payload of `payload_len` bytes: inner content type and tag.
    #[must_use]
    pub const fn trailer_size(self, payload_len: usize) -> usize {
        let _ = payload_len; // an AEAD has no padding: every length has the same trailer
        self.inner_type_len() + TAG_LEN
    }

    /// The largest [`trailer_size`](Self::trailer_size) of any payload.
    #[must_use]
    pub const fn max_trailer_size(self) -> usize {
        self.inner_type_len() + TAG_LEN
    }

    /// Bytes on the wire of a record with `payload_len` payload bytes.
    ///
    /// # Panics
    /// When the sum overflows; a payload is at most [`MAX_FRAME_LEN`](crate::MAX_FRAME_LEN).
    #[must_use]
    pub const fn record_size(self, payload_len: usize) -> usize {
        self.header_size() + payload_len + self.trailer_size(payload_len)
    }

    /// Whether a record can be sealed only after the one before it (a chained IV, TLS 1.0 CBC).
    #[must_use]
    pub const fn sequential(self) -> bool {
        false // no AEAD chains; the CBC suites of TLS 1.0 will
    }

    /// One for TLS 1.3, whose content type travels encrypted (RFC 8446 §5.2), else zero.
    pub(crate) const fn inner_type_len(self) -> usize {
        match self.version {
            Version::Tls13 => 1,
            Version::Tls10 | Version::Tls11 | Version::Tls12 => 0,
        }
    }

    pub(crate) const fn nonce_form(self) -> NonceForm {
        match (self.version, self.algorithm) {
            (Version::Tls12, Algorithm::Aes128Gcm | Algorithm::Aes256Gcm) => NonceForm::Explicit,
            _ => NonceForm::Xor,
        }
    }
}

/// Bytes of the authentication tag, the same for every AEAD of TLS.
pub(crate) const TAG_LEN: usize = 16;
/// Bytes of the nonce that goes into the cipher.
pub(crate) const NONCE_LEN: usize = 12;
/// Bytes of the implicit part of an explicit nonce.
pub(crate) const SALT_LEN: usize = 4;
/// Bytes of the part that travels.
pub(crate) const EXPLICIT_LEN: usize = NONCE_LEN - SALT_LEN;
