//! Suites and keys that the targets share. The keys are fixed: what is looked for does not depend on them.

use std::sync::Arc;

use ktls_record::{Algorithm, Keys, Open, Seal, Suite, Version, provider};

const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];
const ALGORITHMS: [Algorithm; 3] = [
    Algorithm::Aes128Gcm,
    Algorithm::Aes256Gcm,
    Algorithm::ChaCha20Poly1305,
];

/// The suite that a byte of the fuzzer chooses.
#[must_use]
pub fn suite(choice: u8) -> Suite {
    let choice = usize::from(choice);
    let algorithm = ALGORITHMS[choice / 2 % 3];
    Suite::new(VERSIONS[choice % 2], algorithm).expect("an AEAD exists in both versions")
}

/// The keys of a suite; another `generation` has others.
#[must_use]
pub fn keys(suite: Suite, generation: u8) -> Keys {
    let bytes: Vec<u8> = (0..64u8)
        .map(|byte| byte ^ generation.wrapping_mul(37))
        .collect();
    let (key, iv) = (&bytes[..suite.key_len()], &bytes[40..][..suite.iv_len()]);
    Keys::new(suite, key, iv).expect("the lengths are the suite's")
}

/// A write key of every provider.
#[must_use]
pub fn sealers(keys: &Keys, explicit_base: u64) -> Vec<Box<dyn Seal>> {
    let sealer = |name: &&str| provider::sealer(name, keys, explicit_base);
    provider::names()
        .iter()
        .map(|name| sealer(name).expect("the key fits"))
        .collect()
}

/// A read key of every provider.
#[must_use]
pub fn openers(keys: &Keys) -> Vec<Arc<dyn Open>> {
    let opener = |name: &&str| provider::opener(name, keys);
    provider::names()
        .iter()
        .map(|name| opener(name).expect("the key fits"))
        .collect()
}
