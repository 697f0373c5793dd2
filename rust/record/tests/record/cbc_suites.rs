//! AES-CBC suites as data, and what their keys take.

use ktls_record::{Algorithm, Error, Keys, Mac, MacOrder, Suite, Version};

use crate::sample::{cbc_suites, keys, suites};

const LENS: [usize; 11] = [0, 1, 11, 12, 15, 16, 27, 28, 64, 16383, 16384];

const SHA1_1_0: [usize; 11] = [37, 37, 37, 53, 53, 53, 53, 69, 101, 16421, 16421];
const SHA1: [usize; 11] = [53, 53, 53, 69, 69, 69, 69, 85, 117, 16437, 16437];
const SHA256: [usize; 11] = [69, 69, 69, 69, 69, 85, 85, 85, 133, 16437, 16453];
const SHA384: [usize; 11] = [85, 85, 85, 85, 85, 101, 101, 101, 149, 16453, 16469];
/// Without the MAC: payload, its own padding, and 21 bytes before it.
const ENCRYPT_THEN_MAC: [usize; 11] = [37, 37, 37, 37, 37, 53, 53, 53, 101, 16405, 16421];

fn on_the_wire(suite: Suite) -> [usize; 11] {
    let mac = suite.mac().expect("a CBC suite");
    match (suite.mac_order(), suite.version(), mac) {
        (Some(MacOrder::MacThenEncrypt), Version::Tls10, _) => SHA1_1_0,
        (Some(MacOrder::MacThenEncrypt), _, Mac::HmacSha1) => SHA1,
        (Some(MacOrder::MacThenEncrypt), _, Mac::HmacSha256) => SHA256,
        (Some(MacOrder::MacThenEncrypt), _, Mac::HmacSha384) => SHA384,
        (_, Version::Tls10, _) => ENCRYPT_THEN_MAC.map(|size| size - 16 + mac.len()),
        _ => ENCRYPT_THEN_MAC.map(|size| size + mac.len()),
    }
}

#[test]
fn record_sizes() {
    assert_eq!(cbc_suites().len(), 20);
    for suite in cbc_suites() {
        let sizes = LENS.map(|len| suite.record_size(len));
        assert_eq!(sizes, on_the_wire(suite), "{suite:?}");
    }
}

#[test]
fn headers_trailers_and_ivs() {
    for suite in cbc_suites() {
        let (header, iv) = match suite.version() {
            Version::Tls10 => (5, 16),
            _ => (21, 0),
        };
        assert_eq!((suite.header_size(), suite.iv_len()), (header, iv));
        assert_eq!(suite.sequential(), suite.version() == Version::Tls10);
        let (mac_len, max_trailer) = match suite.mac() {
            Some(Mac::HmacSha1) => (20, 36),
            Some(Mac::HmacSha256) => (32, 48),
            _ => (48, 64),
        };
        assert_eq!(suite.mac_key_len(), mac_len);
        assert_eq!(suite.max_trailer_size(), max_trailer);
        // The rule of FreeBSD: the largest trailer, less what makes whole blocks of it.
        for len in 0..64 {
            let expected = match suite.mac_order() {
                Some(MacOrder::MacThenEncrypt) => max_trailer - ((len + max_trailer) & 15),
                _ => max_trailer - (len & 15),
            };
            assert_eq!(suite.trailer_size(len), expected, "{suite:?} {len}");
        }
    }
}

#[test]
fn aead_suites_have_no_mac() {
    for suite in suites() {
        assert_eq!((suite.mac(), suite.mac_order()), (None, None));
        assert_eq!(suite.mac_key_len(), 0);
    }
}

#[test]
fn suites_that_do_not_exist_are_named() {
    let algorithm = Algorithm::Aes128Cbc;
    let order = MacOrder::MacThenEncrypt;
    let error = Suite::cbc(Version::Tls13, algorithm, Mac::HmacSha1, order).expect_err("1.3");
    let version = Version::Tls13;
    assert_eq!(error, Error::UnsupportedSuite { version, algorithm });
    assert_eq!(
        error.to_string(),
        "AES-128-CBC is not defined for TLS 1.3; use TLS 1.0 to TLS 1.2"
    );
    for version in [Version::Tls10, Version::Tls11] {
        for mac in [Mac::HmacSha256, Mac::HmacSha384] {
            let error = Suite::cbc(version, algorithm, mac, order).expect_err("SHA-1 only");
            assert_eq!(error, Error::UnsupportedMac { version, mac });
            let text = error.to_string();
            assert!(text.contains(&version.to_string()) && text.contains(&mac.to_string()));
        }
    }
    for version in [Version::Tls10, Version::Tls12, Version::Tls13] {
        let error = Suite::new(version, Algorithm::Aes256Cbc).expect_err("no MAC");
        assert!(error.to_string().contains("AES-256-CBC needs a MAC"));
    }
    let aead = Algorithm::ChaCha20Poly1305;
    let error = Suite::cbc(Version::Tls12, aead, Mac::HmacSha1, order).expect_err("an AEAD");
    assert_eq!(
        error.to_string(),
        "ChaCha20-Poly1305 is an AEAD and takes no MAC"
    );
}

#[test]
fn wrong_key_lengths_are_named() {
    for suite in cbc_suites() {
        let (key, iv) = (vec![0; suite.key_len()], vec![0; suite.iv_len()]);
        let mac_key = vec![0; suite.mac_key_len()];
        let mac = suite.mac().expect("a CBC suite");
        for actual in [0, mac.len() - 1, mac.len() + 1, 64] {
            let error = Keys::with_mac(suite, &key, &iv, &vec![0; actual]).expect_err("length");
            let expected = format!("{mac} takes a key of {} bytes, not {actual}", mac.len());
            assert_eq!(error.to_string(), expected);
        }
        let error = Keys::with_mac(suite, &[0; 24], &iv, &mac_key).expect_err("length");
        assert!(error.to_string().ends_with("not 24"), "{error}");
        let error = Keys::with_mac(suite, &key, &[0; 12], &mac_key).expect_err("length");
        assert!(error.to_string().ends_with("not 12"), "{error}");
        assert!(matches!(
            Keys::new(suite, &key, &iv),
            Err(Error::MacKeyLen { actual: 0, .. })
        ));
    }
    for suite in suites() {
        let (key, iv) = (vec![0; suite.key_len()], vec![0; suite.iv_len()]);
        let error = Keys::with_mac(suite, &key, &iv, &[0; 20]).expect_err("an AEAD");
        let expected = format!("{} takes a MAC key of 0 bytes, not 20", suite.algorithm());
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn mac_keys_come_back_and_do_not_show() -> Result<(), Error> {
    for suite in cbc_suites() {
        let given = vec![0xa5; suite.mac_key_len()];
        let (key, iv) = (vec![0xa5; suite.key_len()], vec![0xa5; suite.iv_len()]);
        let keys = Keys::with_mac(suite, &key, &iv, &given)?;
        assert_eq!((keys.mac_key(), keys.key()), (&*given, &*key));
        let shown = format!("{keys:?}").to_lowercase();
        assert!(!shown.contains("165") && !shown.contains("a5"), "{shown}");
    }
    Ok(())
}

#[test]
fn another_iv_leaves_the_rest() -> Result<(), Error> {
    for suite in cbc_suites() {
        let (old, iv) = (keys(suite), vec![9; suite.iv_len()]);
        let new = old.with_iv(&iv)?;
        assert_eq!((new.suite(), new.iv()), (suite, &*iv));
        assert_eq!((new.key(), new.mac_key()), (old.key(), old.mac_key()));
        assert!(matches!(old.with_iv(&[0; 5]), Err(Error::IvLen { .. })));
    }
    Ok(())
}
