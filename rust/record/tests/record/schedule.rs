//! Key derivation against published vectors and other implementations.

use ktls_record::schedule::{
    Hash, Prf, hkdf_expand_label, key_block, next_traffic_secret, traffic_keys,
};
use ktls_record::{Algorithm, Error, Suite, Version};

use crate::sample::algorithm;
use crate::vector_file::cases;

// rule: RFC 5246 5
#[test]
fn prf() {
    let cases = cases(include_str!("../data/tls_prf.txt"));
    assert_eq!(cases.len(), 4);
    for case in cases {
        let prf = match case.find("section") {
            Some("MD5-SHA1") => Prf::Md5Sha1,
            Some("SHA-256") => Prf::Sha2(Hash::Sha256),
            Some("SHA-384") => Prf::Sha2(Hash::Sha384),
            other => panic!("no such function: {other:?}"),
        };
        let label = case.find("Label").expect("a label");
        let (seed, expected) = (case.bytes("Seed"), case.bytes("Output"));
        let (before, after) = seed.split_at(seed.len() / 2);
        // A shorter output is the beginning of a longer one, wherever the seed is cut.
        for len in [0, 1, expected.len() - 1, expected.len()] {
            let mut out = vec![0xee; len];
            prf.derive(&case.bytes("Secret"), label, &[before, after], &mut out);
            assert_eq!(out, expected[..len], "{prf:?}");
        }
    }
}

#[test]
fn an_empty_secret_is_a_secret() {
    for prf in [
        Prf::Md5Sha1,
        Prf::Sha2(Hash::Sha256),
        Prf::Sha2(Hash::Sha384),
    ] {
        let mut out = [0; 32];
        prf.derive(b"", "label", &[], &mut out);
        assert_ne!(out, [0; 32]);
    }
}

// rule: RFC 5246 6.3
#[test]
fn tls12_key_block() -> Result<(), Error> {
    let cases = cases(include_str!("../data/tls12_key_block.txt"));
    assert_eq!(cases.len(), 4);
    for case in cases {
        let suite = Suite::new(Version::Tls12, algorithm(&case))?;
        let hash = match case.find("Hash") {
            Some("SHA384") => Hash::Sha384,
            _ => Hash::Sha256,
        };
        let random = |name| <[u8; 32]>::try_from(case.bytes(name)).expect("32 bytes");
        let (client, server) = (random("ClientRandom"), random("ServerRandom"));
        let block = key_block(suite, hash, &case.bytes("Master"), &client, &server)?;
        assert_eq!(block.client_write.key(), case.bytes("ClientKey"));
        assert_eq!(block.client_write.iv(), case.bytes("ClientIV"));
        assert_eq!(block.server_write.key(), case.bytes("ServerKey"));
        assert_eq!(block.server_write.iv(), case.bytes("ServerIV"));
        assert_eq!(format!("{block:?}"), "KeyBlock { .. }");
    }
    Ok(())
}

// rule: RFC 8446 7.3
#[test]
fn tls13_traffic_keys() -> Result<(), Error> {
    let cases = cases(include_str!("../data/tls13_traffic_keys.txt"));
    assert_eq!(cases.len(), 3);
    for case in cases {
        let secret = case.bytes("Secret");
        let keys = traffic_keys(Suite::new(Version::Tls13, algorithm(&case))?, &secret)?;
        assert_eq!(
            (keys.key(), keys.iv()),
            (&*case.bytes("Key"), &*case.bytes("IV"))
        );
        assert_eq!(*next_traffic_secret(&secret)?, case.bytes("Next"));
    }
    Ok(())
}

#[test]
fn each_version_has_its_own_schedule() -> Result<(), Error> {
    let new = Suite::new(Version::Tls13, Algorithm::Aes128Gcm)?;
    let old = Suite::new(Version::Tls12, Algorithm::Aes128Gcm)?;
    let error = key_block(new, Hash::Sha256, &[0; 48], &[0; 32], &[0; 32]).expect_err("1.3");
    assert!(error.to_string().contains("TLS 1.3") && error.to_string().contains("traffic_keys"));
    let error = traffic_keys(old, &[0; 32]).expect_err("1.2");
    assert!(error.to_string().contains("TLS 1.2") && error.to_string().contains("key_block"));
    Ok(())
}

#[test]
fn secrets_have_the_length_of_a_hash() {
    for actual in [0, 31, 33, 47, 49, 64] {
        let refused = Err(Error::SecretLen { actual });
        assert_eq!(
            hkdf_expand_label(&vec![0; actual], "key", b"", &mut [0; 16]),
            refused
        );
        assert_eq!(next_traffic_secret(&vec![0; actual]).map(|_| ()), refused);
    }
    assert_eq!(Hash::of_secret(&[0; 32]).map(Hash::output_len), Ok(32));
    assert_eq!(Hash::of_secret(&[0; 48]).map(Hash::output_len), Ok(48));
}

#[test]
fn labels_contexts_and_outputs_have_limits() {
    let long = "x".repeat(250);
    let expand = |label: &str, context: &[u8], len| {
        hkdf_expand_label(&[1; 32], label, context, &mut vec![0; len])
    };
    assert_eq!(expand(&long[..249], &[0; 255], 255 * 32), Ok(()));
    let refused = |label: &str, len| {
        Err(Error::DerivationLen {
            label: label.to_owned(),
            len,
        })
    };
    assert_eq!(expand(&long, b"", 16), refused(&long, 16));
    assert_eq!(expand("key", &[0; 256], 16), refused("key", 16));
    assert_eq!(
        expand("key", b"", 255 * 32 + 1),
        refused("key", 255 * 32 + 1)
    );
    assert_eq!(expand("key", b"", 65536), refused("key", 65536));
}
