//! Suites, keys and payloads that the tests share.

use std::sync::Arc;

use ktls_record::{
    Algorithm, Error, Frame, Keys, Mac, MacOrder, Open, Seal, Suite, Version, provider,
};

use crate::vector_file::Case;

pub(crate) const ALGORITHMS: [Algorithm; 3] = [
    Algorithm::Aes128Gcm,
    Algorithm::Aes256Gcm,
    Algorithm::ChaCha20Poly1305,
];

/// Empty, around a cipher block, around a network packet, and up to a full record.
pub(crate) const PAYLOAD_LENS: [usize; 9] = [0, 1, 15, 16, 17, 64, 1350, 16383, 16384];

pub(crate) const APPLICATION_DATA: u8 = 23;

/// The explicit nonce of record 0.
pub(crate) const EXPLICIT_BASE: u64 = 0xbf17_cf38_058c_45ca;

/// Every AEAD suite there is.
pub(crate) fn suites() -> Vec<Suite> {
    let versions = [Version::Tls12, Version::Tls13];
    let pairs = versions
        .into_iter()
        .flat_map(|v| ALGORITHMS.map(|a| Suite::new(v, a)));
    pairs
        .collect::<Result<_, _>>()
        .expect("AEAD suites exist in both versions")
}

/// Every AES-CBC suite there is.
pub(crate) fn cbc_suites() -> Vec<Suite> {
    let macs = [
        (Version::Tls10, Mac::HmacSha1),
        (Version::Tls11, Mac::HmacSha1),
        (Version::Tls12, Mac::HmacSha1),
        (Version::Tls12, Mac::HmacSha256),
        (Version::Tls12, Mac::HmacSha384),
    ];
    let mut found = Vec::new();
    for (version, mac) in macs {
        for algorithm in [Algorithm::Aes128Cbc, Algorithm::Aes256Cbc] {
            for order in [MacOrder::MacThenEncrypt, MacOrder::EncryptThenMac] {
                found.push(Suite::cbc(version, algorithm, mac, order).expect("it exists"));
            }
        }
    }
    found
}

pub(crate) fn keys(suite: Suite) -> Keys {
    let bytes: Vec<u8> = (1..=128).collect();
    Keys::with_mac(
        suite,
        &bytes[..suite.key_len()],
        &bytes[32..][..suite.iv_len()],
        &bytes[64..][..suite.mac_key_len()],
    )
    .expect("the lengths are the suite's")
}

pub(crate) fn payload(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

pub(crate) fn sealer(name: &str, suite: Suite) -> Box<dyn Seal> {
    provider::sealer(name, &keys(suite), EXPLICIT_BASE).expect("the provider takes the key")
}

pub(crate) fn opener(name: &str, suite: Suite) -> Arc<dyn Open> {
    provider::opener(name, &keys(suite)).expect("the provider takes the key")
}

/// A record sealed by copy, of application data.
pub(crate) fn seal(sealer: &dyn Seal, sequence: u64, payload: &[u8]) -> Result<Vec<u8>, Error> {
    let frame = Frame {
        content_type: APPLICATION_DATA,
        sequence,
        payload_len: payload.len(),
        padding_len: 0,
    };
    let mut record = vec![0xee; sealer.suite().record_size(payload.len())];
    sealer.seal_from(frame, payload, &mut record)?;
    Ok(record)
}

/// The cipher that the section of a case names.
pub(crate) fn algorithm(case: &Case) -> Algorithm {
    match case.find("section") {
        Some("AES-128-GCM") => Algorithm::Aes128Gcm,
        Some("AES-256-GCM") => Algorithm::Aes256Gcm,
        Some("ChaCha20-Poly1305") => Algorithm::ChaCha20Poly1305,
        other => panic!("no such algorithm: {other:?}"),
    }
}
