//! What must not be sealed, and what must not open.

use ktls_record::{Algorithm, Error, Frame, Suite, Version, provider};
use ring::aead;

use crate::sample::{APPLICATION_DATA, keys, opener, payload, seal, sealer, suites};

/// A TLS 1.3 record around any inner plaintext, made without the crate under test.
fn record_around(suite: Suite, sequence: u64, inner: &[u8]) -> Vec<u8> {
    let algorithm = match suite.algorithm() {
        Algorithm::Aes128Gcm => &aead::AES_128_GCM,
        Algorithm::Aes256Gcm => &aead::AES_256_GCM,
        _ => &aead::CHACHA20_POLY1305,
    };
    let keys = keys(suite);
    let key = aead::UnboundKey::new(algorithm, keys.key()).expect("a key of the right length");
    let mut nonce: [u8; 12] = keys.iv().try_into().expect("12 bytes");
    for (byte, other) in nonce[4..].iter_mut().zip(sequence.to_be_bytes()) {
        *byte ^= other;
    }
    let length = u16::try_from(inner.len() + 16).expect("fits").to_be_bytes();
    let header = [APPLICATION_DATA, 3, 3, length[0], length[1]];
    let mut sealed = inner.to_vec();
    let nonce = aead::Nonce::assume_unique_for_key(nonce);
    aead::LessSafeKey::new(key)
        .seal_in_place_append_tag(nonce, aead::Aad::from(header), &mut sealed)
        .expect("sealed");
    [&header[..], &sealed].concat()
}

fn each_opener(mut check: impl FnMut(Suite, &dyn ktls_record::Open)) {
    for suite in suites() {
        for name in provider::names() {
            check(suite, opener(name, suite).as_ref());
        }
    }
}

fn tls13() -> impl Iterator<Item = Suite> {
    suites()
        .into_iter()
        .filter(|suite| suite.version() == Version::Tls13)
}

// rule: RFC 5246 6.2.3.3, RFC 8446 5.2
#[test]
fn every_changed_bit_is_refused_and_leaves_nothing() -> Result<(), Error> {
    for suite in suites() {
        let record = seal(sealer("ring", suite).as_ref(), 9, &payload(20))?;
        for name in provider::names() {
            let opener = opener(name, suite);
            for at in 0..record.len() {
                for bit in 0..8 {
                    let mut changed = record.clone();
                    changed[at] ^= 1 << bit;
                    let header = changed[..suite.header_size()].to_vec();
                    let error = opener.open_in_place(9, &mut changed).expect_err("changed");
                    let in_length = (3..5).contains(&at);
                    let in_version = (1..3).contains(&at);
                    match error {
                        Error::BadRecord => {
                            assert!(!in_length && !in_version);
                            assert_eq!(changed[..header.len()], header);
                            assert!(changed[header.len()..].iter().all(|&byte| byte == 0));
                        }
                        Error::WrongVersion { .. } => assert!(in_version),
                        Error::OuterType { .. } => {
                            assert!(at == 0 && suite.version() == Version::Tls13);
                        }
                        Error::RecordSize { .. }
                        | Error::RecordTooShort { .. }
                        | Error::RecordOverflow { .. } => assert!(in_length),
                        other => panic!("{other}"),
                    }
                }
            }
        }
    }
    Ok(())
}

// rule: RFC 8446 6.2
#[test]
fn a_failed_tag_says_nothing_more() {
    assert_eq!(
        Error::BadRecord.to_string(),
        "the record could not be opened"
    );
    assert_eq!(format!("{:?}", Error::BadRecord), "BadRecord");
    assert_eq!(Error::BadRecord.alert(), Some(20));
}

// rule: RFC 8446 5.3
#[test]
fn another_sequence_number_or_key_is_refused() -> Result<(), Error> {
    for suite in suites() {
        let record = seal(sealer("ring", suite).as_ref(), 9, &payload(20))?;
        let mut wrong_number = record.clone();
        let opened = opener("ring", suite).open_in_place(10, &mut wrong_number);
        assert_eq!(opened, Err(Error::BadRecord));

        let (key, iv) = (vec![0; suite.key_len()], vec![0; suite.iv_len()]);
        let other = ktls_record::Keys::new(suite, &key, &iv)?;
        let mut wrong_key = record;
        let opener = provider::opener("ring", &other)?;
        assert_eq!(
            opener.open_in_place(9, &mut wrong_key),
            Err(Error::BadRecord)
        );
    }
    Ok(())
}

#[test]
fn a_shorter_buffer_than_the_record_is_refused() -> Result<(), Error> {
    for suite in suites() {
        let record = seal(sealer("ring", suite).as_ref(), 0, &payload(3))?;
        for len in 0..record.len() {
            let mut cut_short = record[..len].to_vec();
            let error = opener("ring", suite).open_in_place(0, &mut cut_short);
            let too_short = Err(Error::RecordTooShort {
                actual: len,
                minimum: suite.record_size(0),
            });
            let cut = Err(Error::RecordSize {
                expected: record.len(),
                actual: len,
            });
            assert_eq!(error, if len < 5 { too_short } else { cut });
        }
    }
    Ok(())
}

#[test]
fn length_fields_below_an_empty_record_are_refused() {
    each_opener(|suite, opener| {
        let minimum = suite.record_size(0);
        for length in 0..minimum - 5 {
            let low = u8::try_from(length).expect("short");
            let mut record = vec![APPLICATION_DATA, 3, 3, 0, low];
            record.resize(5 + length, 0);
            let error = opener.open_in_place(0, &mut record).expect_err("too short");
            assert_eq!(
                error,
                Error::RecordTooShort {
                    actual: 5 + length,
                    minimum
                }
            );
            assert_eq!(error.alert(), Some(20));
        }
    });
}

// rule: RFC 5246 6.2.3, RFC 8446 5.2
#[test]
fn length_fields_above_the_limit_are_refused() {
    each_opener(|suite, opener| {
        let maximum = match suite.version() {
            Version::Tls13 => 16384 + 256,
            _ => suite.record_size(16384) - 5,
        };
        for length in [maximum, maximum + 1, 0xffff] {
            let [high, low] = u16::try_from(length).expect("two bytes").to_be_bytes();
            let mut record = vec![APPLICATION_DATA, 3, 3, high, low];
            record.resize(5 + length, 0);
            let error = opener
                .open_in_place(0, &mut record)
                .expect_err("not a record");
            if length == maximum {
                assert_eq!(error, Error::BadRecord);
            } else {
                assert_eq!(
                    error,
                    Error::RecordOverflow {
                        actual: length,
                        maximum
                    }
                );
                assert_eq!(error.alert(), Some(22));
            }
        }
    });
}

// rule: RFC 8446 5.4
#[test]
fn tls13_padding_is_taken_off() -> Result<(), Error> {
    for suite in tls13() {
        for name in provider::names() {
            for padding in [0, 1, 100] {
                let inner = [b"padded\x00\x15".as_slice(), &vec![0; padding]].concat();
                let mut record = record_around(suite, 4, &inner);
                let opener = opener(name, suite);
                let opened = opener.open_in_place(4, &mut record)?;
                assert_eq!(
                    (opened.content_type, &*opened.payload),
                    (21, &b"padded\0"[..])
                );
            }
        }
    }
    Ok(())
}

// rule: RFC 8446 5.4
#[test]
fn tls13_records_of_padding_only_are_refused() {
    for suite in tls13() {
        for name in provider::names() {
            for len in [1, 2, 16385] {
                let mut record = record_around(suite, 4, &vec![0; len]);
                let opener = opener(name, suite);
                let error = opener
                    .open_in_place(4, &mut record)
                    .expect_err("no content");
                assert_eq!((error.alert(), error), (Some(10), Error::NoContentType));
            }
        }
    }
}

// rule: RFC 8446 5.4
#[test]
fn tls13_inner_plaintext_has_a_limit_of_its_own() -> Result<(), Error> {
    for suite in tls13() {
        let mut inner = vec![1; 16385];
        let mut record = record_around(suite, 0, &inner);
        let opener = opener("ring", suite);
        assert_eq!(opener.open_in_place(0, &mut record)?.payload.len(), 16384);

        inner.push(0);
        let mut record = record_around(suite, 0, &inner);
        let error = opener.open_in_place(0, &mut record).expect_err("too long");
        assert_eq!(
            error,
            Error::RecordOverflow {
                actual: 16386,
                maximum: 16385
            }
        );
        assert!(record[5..][..16386].iter().all(|&byte| byte == 0));
    }
    Ok(())
}

// rule: RFC 5246 6.1, RFC 8446 5.3
#[test]
fn the_last_sequence_number_is_never_used() {
    for suite in suites() {
        for name in provider::names() {
            let refused = seal(sealer(name, suite).as_ref(), u64::MAX, b"last");
            assert_eq!(refused, Err(Error::SequenceExhausted));
            let mut record = vec![0; suite.record_size(4)];
            let refused = opener(name, suite).open_in_place(u64::MAX, &mut record);
            assert_eq!(refused, Err(Error::SequenceExhausted));
        }
    }
}

#[test]
fn frames_that_do_not_fit_are_refused_untouched() {
    for suite in suites() {
        let sealer = sealer("ring", suite);
        let frame = |payload_len| Frame {
            content_type: 23,
            sequence: 0,
            payload_len,
            padding_len: 0,
        };
        let size = suite.record_size(10);
        for actual in [0, 5, size - 1, size + 1] {
            let mut record = vec![0xee; actual];
            let refused = Err(Error::RecordSize {
                expected: size,
                actual,
            });
            assert_eq!(sealer.seal_in_place(frame(10), &mut record), refused);
            assert_eq!(sealer.seal_from(frame(10), &[0; 10], &mut record), refused);
            assert_eq!(record, vec![0xee; actual]);
        }
        let mut record = vec![0xee; size];
        let refused = Err(Error::PayloadMismatch {
            expected: 10,
            actual: 9,
        });
        assert_eq!(sealer.seal_from(frame(10), &[0; 9], &mut record), refused);

        for len in [16385, 65536, usize::MAX] {
            let refused = Err(Error::PayloadLen { len });
            assert_eq!(sealer.seal_in_place(frame(len), &mut record), refused);
        }
        let padded = Frame {
            padding_len: 16375,
            ..frame(10)
        };
        let refused = Err(Error::PaddingLen { len: 16375 });
        assert_eq!(sealer.seal_in_place(padded, &mut record), refused);
        assert_eq!(record, vec![0xee; size]);
    }
}

// rule: RFC 8446 5.4
#[test]
fn padding_exists_in_tls_1_3_only() {
    for suite in suites() {
        let frame = Frame {
            content_type: 23,
            sequence: 0,
            payload_len: 1,
            padding_len: 4,
        };
        let mut record = vec![0; frame.record_size(suite)];
        let sealed = sealer("ring", suite).seal_from(frame, b"x", &mut record);
        let expected = match suite.version() {
            Version::Tls13 => Ok(()),
            _ => Err(Error::PaddingLen { len: 4 }),
        };
        assert_eq!(sealed, expected);
    }
}

// rule: RFC 8446 5.4
#[test]
fn content_type_zero_is_padding_in_tls_1_3() {
    for suite in suites() {
        let frame = Frame {
            content_type: 0,
            sequence: 0,
            payload_len: 1,
            padding_len: 0,
        };
        let mut record = vec![0; suite.record_size(1)];
        let sealed = sealer("ring", suite).seal_from(frame, b"x", &mut record);
        let expected = match suite.version() {
            Version::Tls13 => Err(Error::ContentType),
            _ => Ok(()),
        };
        assert_eq!(sealed, expected);
    }
}

#[test]
fn alerts_are_for_the_peer_only() {
    let version = Error::WrongVersion {
        actual: [3, 1],
        expected_minor: 3,
    };
    assert_eq!(
        version.to_string(),
        "the record has version 3.1, the session has 3.3"
    );
    assert_eq!(version.alert(), Some(70));
    assert_eq!(Error::OuterType { actual: 22 }.alert(), Some(10));
    for own in [
        Error::SequenceExhausted,
        Error::ContentType,
        Error::PayloadLen { len: 1 << 15 },
    ] {
        assert_eq!(own.alert(), None);
    }
}
