//! The cipher suites whose keys can be taken over, by the 16-bit number of the ServerHello.
//!
//! A number that is not in the table (CCM, ARIA, Camellia, PSK, static DH) stays with OpenSSL. Whether a suite is
//! wanted is not decided here.

use crate::schedule::Hash::{self, Sha256, Sha384};
use crate::suite::Algorithm::{self, Aes128Cbc, Aes128Gcm, Aes256Cbc, Aes256Gcm, ChaCha20Poly1305};
use crate::suite::Mac::{self, HmacSha1, HmacSha256, HmacSha384};
use crate::suite::{MacOrder, Suite, Version};

/// A cipher suite of the handshake, with what the key schedule and the record layer need of it.
pub(super) struct NamedSuite {
    number: u16,
    /// OpenSSL's name, as `SSL_CIPHER_get_name` gives it.
    pub(super) name: &'static str,
    /// The hash of the key schedule; TLS 1.0 and 1.1 have a fixed one.
    pub(super) hash: Hash,
    algorithm: Algorithm,
    /// The MAC of a CBC suite; None for an AEAD.
    mac: Option<Mac>,
    tls13: bool,
}

impl NamedSuite {
    /// The suite of this number, if the table has it.
    pub(super) fn find(number: u16) -> Option<&'static Self> {
        SUITES.iter().find(|suite| suite.number == number)
    }

    /// The record layer's suite in `version`; None when the two do not go together. An AEAD ignores `order`, as
    /// RFC 7366 §3 has it.
    pub(super) fn in_version(&self, version: Version, order: MacOrder) -> Option<Suite> {
        if self.tls13 != (version == Version::Tls13) {
            return None;
        }
        match self.mac {
            None => Suite::new(version, self.algorithm).ok(),
            Some(mac) => Suite::cbc(version, self.algorithm, mac, order).ok(),
        }
    }
}

const fn tls13(number: u16, name: &'static str, algorithm: Algorithm, hash: Hash) -> NamedSuite {
    NamedSuite {
        number,
        name,
        hash,
        algorithm,
        mac: None,
        tls13: true,
    }
}

const fn aead(number: u16, name: &'static str, algorithm: Algorithm, hash: Hash) -> NamedSuite {
    NamedSuite {
        number,
        name,
        hash,
        algorithm,
        mac: None,
        tls13: false,
    }
}

const fn cbc(number: u16, name: &'static str, algorithm: Algorithm, mac: Mac) -> NamedSuite {
    NamedSuite {
        number,
        name,
        // RFC 5246 §5: SHA-256 where the suite does not say another one.
        hash: match mac {
            HmacSha1 | HmacSha256 => Sha256,
            HmacSha384 => Sha384,
        },
        algorithm,
        mac: Some(mac),
        tls13: false,
    }
}

const SUITES: &[NamedSuite] = &[
    // RFC 8446 §B.4
    tls13(0x1301, "TLS_AES_128_GCM_SHA256", Aes128Gcm, Sha256),
    tls13(0x1302, "TLS_AES_256_GCM_SHA384", Aes256Gcm, Sha384),
    tls13(
        0x1303,
        "TLS_CHACHA20_POLY1305_SHA256",
        ChaCha20Poly1305,
        Sha256,
    ),
    // RFC 5288, RFC 5289
    aead(0x009c, "AES128-GCM-SHA256", Aes128Gcm, Sha256),
    aead(0x009d, "AES256-GCM-SHA384", Aes256Gcm, Sha384),
    aead(0x009e, "DHE-RSA-AES128-GCM-SHA256", Aes128Gcm, Sha256),
    aead(0x009f, "DHE-RSA-AES256-GCM-SHA384", Aes256Gcm, Sha384),
    aead(0xc02b, "ECDHE-ECDSA-AES128-GCM-SHA256", Aes128Gcm, Sha256),
    aead(0xc02c, "ECDHE-ECDSA-AES256-GCM-SHA384", Aes256Gcm, Sha384),
    aead(0xc02f, "ECDHE-RSA-AES128-GCM-SHA256", Aes128Gcm, Sha256),
    aead(0xc030, "ECDHE-RSA-AES256-GCM-SHA384", Aes256Gcm, Sha384),
    // RFC 7905
    aead(
        0xcca8,
        "ECDHE-RSA-CHACHA20-POLY1305",
        ChaCha20Poly1305,
        Sha256,
    ),
    aead(
        0xcca9,
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        ChaCha20Poly1305,
        Sha256,
    ),
    aead(
        0xccaa,
        "DHE-RSA-CHACHA20-POLY1305",
        ChaCha20Poly1305,
        Sha256,
    ),
    // RFC 5246 §A.5, RFC 8422 §6, RFC 5289 §3.1
    cbc(0x002f, "AES128-SHA", Aes128Cbc, HmacSha1),
    cbc(0x0035, "AES256-SHA", Aes256Cbc, HmacSha1),
    cbc(0x0033, "DHE-RSA-AES128-SHA", Aes128Cbc, HmacSha1),
    cbc(0x0039, "DHE-RSA-AES256-SHA", Aes256Cbc, HmacSha1),
    cbc(0xc009, "ECDHE-ECDSA-AES128-SHA", Aes128Cbc, HmacSha1),
    cbc(0xc00a, "ECDHE-ECDSA-AES256-SHA", Aes256Cbc, HmacSha1),
    cbc(0xc013, "ECDHE-RSA-AES128-SHA", Aes128Cbc, HmacSha1),
    cbc(0xc014, "ECDHE-RSA-AES256-SHA", Aes256Cbc, HmacSha1),
    cbc(0x003c, "AES128-SHA256", Aes128Cbc, HmacSha256),
    cbc(0x003d, "AES256-SHA256", Aes256Cbc, HmacSha256),
    cbc(0x0067, "DHE-RSA-AES128-SHA256", Aes128Cbc, HmacSha256),
    cbc(0x006b, "DHE-RSA-AES256-SHA256", Aes256Cbc, HmacSha256),
    cbc(0xc023, "ECDHE-ECDSA-AES128-SHA256", Aes128Cbc, HmacSha256),
    cbc(0xc024, "ECDHE-ECDSA-AES256-SHA384", Aes256Cbc, HmacSha384),
    cbc(0xc027, "ECDHE-RSA-AES128-SHA256", Aes128Cbc, HmacSha256),
    cbc(0xc028, "ECDHE-RSA-AES256-SHA384", Aes256Cbc, HmacSha384),
];
