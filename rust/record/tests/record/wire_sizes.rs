//! The lengths of every suite: header and trailer, and the size on the wire by payload length.

use ktls_record::{Algorithm, Error, MAX_FRAME_LEN, Suite, Version};

use crate::sample::{ALGORITHMS, suites};

const LENS: [usize; 11] = [0, 1, 11, 12, 15, 16, 27, 28, 64, 16383, 16384];

const GCM_1_2: [usize; 11] = [29, 30, 40, 41, 44, 45, 56, 57, 93, 16412, 16413];
const CHACHA_1_2: [usize; 11] = [21, 22, 32, 33, 36, 37, 48, 49, 85, 16404, 16405];
const ANY_1_3: [usize; 11] = [22, 23, 33, 34, 37, 38, 49, 50, 86, 16405, 16406];

fn on_the_wire(suite: Suite) -> [usize; 11] {
    match (suite.version(), suite.algorithm()) {
        (Version::Tls13, _) => ANY_1_3,
        (_, Algorithm::ChaCha20Poly1305) => CHACHA_1_2,
        _ => GCM_1_2,
    }
}

#[test]
fn record_sizes() {
    assert_eq!(suites().len(), 6);
    for suite in suites() {
        assert_eq!(
            LENS.map(|len| suite.record_size(len)),
            on_the_wire(suite),
            "{suite:?}"
        );
    }
}

// rule: RFC 5288 3, RFC 7905 2, RFC 8446 5.3
#[test]
fn headers_trailers_and_ivs() -> Result<(), Error> {
    let lens = |version, algorithm| -> Result<_, Error> {
        let suite = Suite::new(version, algorithm)?;
        assert_eq!(suite.trailer_size(MAX_FRAME_LEN), suite.max_trailer_size());
        Ok((
            suite.key_len(),
            suite.iv_len(),
            suite.header_size(),
            suite.max_trailer_size(),
        ))
    };
    assert_eq!(lens(Version::Tls12, Algorithm::Aes128Gcm)?, (16, 4, 13, 16));
    assert_eq!(lens(Version::Tls12, Algorithm::Aes256Gcm)?, (32, 4, 13, 16));
    assert_eq!(
        lens(Version::Tls12, Algorithm::ChaCha20Poly1305)?,
        (32, 12, 5, 16)
    );
    assert_eq!(lens(Version::Tls13, Algorithm::Aes128Gcm)?, (16, 12, 5, 17));
    assert_eq!(lens(Version::Tls13, Algorithm::Aes256Gcm)?, (32, 12, 5, 17));
    assert_eq!(
        lens(Version::Tls13, Algorithm::ChaCha20Poly1305)?,
        (32, 12, 5, 17)
    );
    Ok(())
}

#[test]
fn no_aead_suite_is_sequential() {
    assert!(suites().iter().all(|suite| !suite.sequential()));
}

#[test]
fn aead_suites_begin_with_tls_1_2() {
    for version in [Version::Tls10, Version::Tls11] {
        for algorithm in ALGORITHMS {
            let error = Suite::new(version, algorithm).expect_err("no such suite");
            assert_eq!(error, Error::UnsupportedSuite { version, algorithm });
            let text = error.to_string();
            assert!(text.contains(&version.to_string()) && text.contains(&algorithm.to_string()));
        }
    }
}

// rule: RFC 5246 6.2.1, RFC 8446 5.1
#[test]
fn versions_by_their_second_byte() {
    let wire = [[3, 1], [3, 2], [3, 3], [3, 3]];
    for (minor, wire) in (1..=4).zip(wire) {
        let version = Version::from_minor(minor).expect("1 to 4 are versions");
        assert_eq!((version.minor(), version.wire()), (minor, wire));
    }
    assert!(
        [0, 5, 255]
            .map(Version::from_minor)
            .iter()
            .all(Option::is_none)
    );
}
