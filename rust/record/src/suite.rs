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
    /// AES-128 in cipher block chaining mode, with a MAC (RFC 3268, RFC 5246 §6.2.3.2).
    Aes128Cbc,
    /// AES-256 in cipher block chaining mode, with a MAC (RFC 3268, RFC 5246 §6.2.3.2).
    Aes256Cbc,
}

impl Algorithm {
    /// Bytes of the cipher key.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm | Self::Aes128Cbc => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 | Self::Aes256Cbc => 32,
        }
    }

    /// The versions it is defined for, in words.
    pub(crate) const fn versions(self) -> &'static str {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm | Self::ChaCha20Poly1305 => "TLS 1.2 or TLS 1.3",
            Self::Aes128Cbc | Self::Aes256Cbc => "TLS 1.0 to TLS 1.2",
        }
    }

    const fn is_cbc(self) -> bool {
        matches!(self, Self::Aes128Cbc | Self::Aes256Cbc)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aes128Gcm => "AES-128-GCM",
            Self::Aes256Gcm => "AES-256-GCM",
            Self::ChaCha20Poly1305 => "ChaCha20-Poly1305",
            Self::Aes128Cbc => "AES-128-CBC",
            Self::Aes256Cbc => "AES-256-CBC",
        })
    }
}

/// The MAC of an AES-CBC suite: HMAC (RFC 2104) with one of three hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mac {
    /// With SHA-1, in TLS 1.0 to 1.2.
    HmacSha1,
    /// With SHA-256, in TLS 1.2.
    HmacSha256,
    /// With SHA-384, in TLS 1.2.
    HmacSha384,
}

impl Mac {
    /// Bytes of the MAC, and of its key (RFC 5246 appendix C).
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a constant of the algorithm, never zero"
    )]
    pub const fn len(self) -> usize {
        match self {
            Self::HmacSha1 => 20,
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
        }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HmacSha1 => "HMAC-SHA1",
            Self::HmacSha256 => "HMAC-SHA256",
            Self::HmacSha384 => "HMAC-SHA384",
        })
    }
}

/// What an AES-CBC suite authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MacOrder {
    /// The payload; the MAC is encrypted with it (RFC 5246 §6.2.3.2).
    MacThenEncrypt,
    /// What is encrypted; the MAC follows it in the clear (RFC 7366, a hello extension).
    EncryptThenMac,
}

/// How the nonce of a record comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NonceForm {
    /// A salt of 4 bytes and 8 bytes that travel in the record (RFC 5288 §3).
    Explicit,
    /// The IV with the sequence number XORed into its end (RFC 7905 §2, RFC 8446 §5.3).
    Xor,
    /// An unpredictable cipher block that travels in the record (RFC 4346 §6.2.3.2).
    Block,
    /// The last cipher block of the record before (RFC 2246 §6.2.3.2).
    Chained,
}

/// A version and a cipher that go together, with a MAC where the cipher needs one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Suite {
    version: Version,
    algorithm: Algorithm,
    mac: Option<(Mac, MacOrder)>,
}

impl Suite {
    /// The suite of a version and an AEAD cipher.
    ///
    /// # Errors
    /// [`Error::UnsupportedSuite`]: AEAD ciphers begin with TLS 1.2. [`Error::MacRequired`]: AES-CBC has
    /// [`Suite::cbc`].
    pub const fn new(version: Version, algorithm: Algorithm) -> Result<Self, Error> {
        if algorithm.is_cbc() {
            return Err(Error::MacRequired { algorithm });
        }
        match version {
            Version::Tls12 | Version::Tls13 => Ok(Self {
                version,
                algorithm,
                mac: None,
            }),
            Version::Tls10 | Version::Tls11 => Err(Error::UnsupportedSuite { version, algorithm }),
        }
    }

    /// The suite of a version, AES-CBC with a key length, and a MAC.
    ///
    /// # Errors
    /// [`Error::UnsupportedSuite`]: AES-CBC ends with TLS 1.2. [`Error::UnsupportedMac`]: before TLS 1.2 there is
    /// HMAC-SHA1 only. [`Error::MacUnexpected`]: the cipher is an AEAD and has [`Suite::new`].
    pub const fn cbc(
        version: Version,
        algorithm: Algorithm,
        mac: Mac,
        order: MacOrder,
    ) -> Result<Self, Error> {
        if !algorithm.is_cbc() {
            return Err(Error::MacUnexpected { algorithm });
        }
        match (version, mac) {
            (Version::Tls13, _) => Err(Error::UnsupportedSuite { version, algorithm }),
            (Version::Tls10 | Version::Tls11, Mac::HmacSha256 | Mac::HmacSha384) => {
                Err(Error::UnsupportedMac { version, mac })
            }
            (Version::Tls10 | Version::Tls11 | Version::Tls12, _) => Ok(Self {
                version,
                algorithm,
                mac: Some((mac, order)),
            }),
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

    /// The MAC; None for an AEAD.
    #[must_use]
    pub const fn mac(self) -> Option<Mac> {
        match self.mac {
            Some((mac, _)) => Some(mac),
            None => None,
        }
    }

    /// What the MAC covers; None for an AEAD.
    #[must_use]
    pub const fn mac_order(self) -> Option<MacOrder> {
        match self.mac {
            Some((_, order)) => Some(order),
            None => None,
        }
    }

    /// Bytes of the cipher key.
    #[must_use]
    pub const fn key_len(self) -> usize {
        self.algorithm.key_len()
    }

    /// Bytes of the MAC key; none for an AEAD.
    #[must_use]
    pub const fn mac_key_len(self) -> usize {
        match self.mac {
            Some((mac, _)) => mac.len(),
            None => 0,
        }
    }

    /// Bytes of the implicit IV: 4 for TLS 1.2 AES-GCM, 12 for the other AEADs, 16 for AES-CBC in TLS 1.0, none
    /// for AES-CBC from TLS 1.1, whose IVs travel.
    #[must_use]
    pub const fn iv_len(self) -> usize {
        match self.nonce_form() {
            NonceForm::Explicit => SALT_LEN,
            NonceForm::Xor => NONCE_LEN,
            NonceForm::Chained => BLOCK_LEN,
            NonceForm::Block => 0,
        }
    }

    /// Bytes before the payload of a record: the record header and the explicit nonce or IV, if any.
    #[must_use]
    pub const fn header_size(self) -> usize {
        match self.nonce_form() {
            NonceForm::Explicit => HEADER_LEN + EXPLICIT_LEN,
            NonceForm::Block => HEADER_LEN + BLOCK_LEN,
            NonceForm::Xor | NonceForm::Chained => HEADER_LEN,
        }
    }

    /// Bytes after a payload of `payload_len` bytes: inner content type and tag, or MAC and the least padding.
    #[must_use]
    pub const fn trailer_size(self, payload_len: usize) -> usize {
        let (mac_len, encrypted_len) = match self.mac {
            None => return self.inner_type_len() + TAG_LEN,
            Some((mac, MacOrder::MacThenEncrypt)) => (mac.len(), payload_len + mac.len()),
            Some((mac, MacOrder::EncryptThenMac)) => (mac.len(), payload_len),
        };
        mac_len + BLOCK_LEN - encrypted_len % BLOCK_LEN
    }

    /// The largest [`trailer_size`](Self::trailer_size) of any payload.
    #[must_use]
    pub const fn max_trailer_size(self) -> usize {
        match self.mac {
            None => self.inner_type_len() + TAG_LEN,
            Some((mac, _)) => mac.len() + BLOCK_LEN,
        }
    }

    /// Bytes on the wire of a record with `payload_len` payload bytes.
    ///
    /// # Panics
    /// When the sum overflows; a payload is at most [`MAX_FRAME_LEN`](crate::MAX_FRAME_LEN).
    #[must_use]
    #[inline]
    pub const fn record_size(self, payload_len: usize) -> usize {
        if matches!((self.version, self.mac), (Version::Tls13, None)) {
            // The suites of today, asked for every record.
            return payload_len + (HEADER_LEN + 1 + TAG_LEN);
        }
        self.header_size() + payload_len + self.trailer_size(payload_len)
    }

    /// Whether a record can be sealed only after the one before it (a chained IV, TLS 1.0 CBC).
    #[must_use]
    pub const fn sequential(self) -> bool {
        matches!(self.nonce_form(), NonceForm::Chained)
    }

    /// Bytes that a received record of TLS 1.0 to 1.2 may be longer than one that is sealed here: the padding of
    /// AES-CBC reaches 256 bytes, and whole blocks of it are left out when sealing (RFC 5246 §6.2.3.2).
    pub(crate) const fn extra_padding_len(self) -> usize {
        match self.mac {
            None => 0,
            Some(_) => MAX_PADDING_LEN - BLOCK_LEN,
        }
    }

    /// Bytes at the end of a record that are not encrypted: the tag of an AEAD, or the MAC of encrypt-then-MAC.
    pub(crate) const fn tag_len(self) -> usize {
        match self.mac {
            None => TAG_LEN,
            Some((mac, MacOrder::EncryptThenMac)) => mac.len(),
            Some((_, MacOrder::MacThenEncrypt)) => 0,
        }
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
            (Version::Tls10, Algorithm::Aes128Cbc | Algorithm::Aes256Cbc) => NonceForm::Chained,
            (_, Algorithm::Aes128Cbc | Algorithm::Aes256Cbc) => NonceForm::Block,
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
/// Bytes of an AES block, and of an IV in cipher block chaining mode.
pub(crate) const BLOCK_LEN: usize = 16;
/// The most padding bytes that a record can say, the one that counts them among them.
pub(crate) const MAX_PADDING_LEN: usize = 256;
