//! Keys take the lengths of their suite only, and show nothing of themselves.

use ktls_record::{Error, Keys, provider};

use crate::sample::{keys, suites};

#[test]
fn wrong_lengths_are_named() {
    for suite in suites() {
        let (key_len, iv_len) = (suite.key_len(), suite.iv_len());
        for actual in [0, key_len - 1, key_len + 1, 24] {
            let error = Keys::new(suite, &vec![0; actual], &vec![0; iv_len]).expect_err("length");
            let expected = Error::KeyLen {
                algorithm: suite.algorithm(),
                expected: key_len,
                actual,
            };
            assert_eq!(error, expected);
            assert!(
                error
                    .to_string()
                    .contains(&format!("{key_len} bytes, not {actual}"))
            );
        }
        for actual in [0, iv_len - 1, iv_len + 1, 16] {
            let error = Keys::new(suite, &vec![0; key_len], &vec![0; actual]).expect_err("length");
            assert!(
                error
                    .to_string()
                    .contains(&format!("{iv_len} bytes, not {actual}"))
            );
            assert!(matches!(error, Error::IvLen { actual: found, .. } if found == actual));
        }
    }
}

#[test]
fn bytes_come_back_and_do_not_show() -> Result<(), Error> {
    for suite in suites() {
        let key = vec![0xa5; suite.key_len()];
        let iv = vec![0x5a; suite.iv_len()];
        let keys = Keys::new(suite, &key, &iv)?;
        assert_eq!((keys.suite(), keys.key(), keys.iv()), (suite, &*key, &*iv));
        let shown = format!("{keys:?}{:?}", keys.clone());
        assert!(
            !shown.contains("165") && !shown.to_lowercase().contains("a5"),
            "{shown}"
        );
        assert!(shown.contains("Keys"));
    }
    Ok(())
}

#[test]
fn unknown_providers_are_named() {
    let keys = keys(suites()[0]);
    let sealer = provider::sealer("opensll", &keys, 0)
        .err()
        .expect("no such provider");
    let opener = provider::opener("opensll", &keys)
        .err()
        .expect("no such provider");
    assert_eq!(sealer, opener);
    let text = sealer.to_string();
    assert!(text.contains("\"opensll\""), "{text}");
    assert!(
        provider::names().iter().all(|name| text.contains(name)),
        "{text}"
    );
}

#[test]
fn ring_is_always_there() {
    assert_eq!(provider::names()[0], "ring");
    assert_eq!(
        provider::names().contains(&"aws-lc"),
        cfg!(feature = "aws-lc")
    );
}
