//! AES-CBC records that must not open, and odd ones that must. Padding that no sealer here makes is built by hand.

use std::sync::Arc;

use aes::cipher::{Array, BlockModeEncrypt, KeyIvInit};
use hmac::{Hmac, KeyInit};
use ktls_record::{Algorithm, Error, Keys, Mac, MacOrder, Suite, Version, provider};
use sha1::Sha1;
use sha2::{Sha256, Sha384};

use crate::sample::{APPLICATION_DATA, cbc_suites, keys, opener, payload, seal, sealer};

fn hmac(suite: Suite, data: &[u8]) -> Vec<u8> {
    fn with<M: hmac::Mac + KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
        let mac = M::new_from_slice(key).expect("a key of any length");
        mac.chain_update(data).finalize().into_bytes().to_vec()
    }
    let keys = keys(suite);
    match suite.mac() {
        Some(Mac::HmacSha1) => with::<Hmac<Sha1>>(keys.mac_key(), data),
        Some(Mac::HmacSha256) => with::<Hmac<Sha256>>(keys.mac_key(), data),
        _ => with::<Hmac<Sha384>>(keys.mac_key(), data),
    }
}

fn encrypt(suite: Suite, iv: &[u8], text: &[u8]) -> Vec<u8> {
    let (keys, mut out) = (keys(suite), text.to_vec());
    let (blocks, rest) = Array::slice_as_chunks_mut(&mut out);
    assert!(rest.is_empty(), "whole blocks only");
    let lens = "the lengths are AES's";
    match suite.algorithm() {
        Algorithm::Aes128Cbc => cbc::Encryptor::<aes::Aes128>::new_from_slices(keys.key(), iv)
            .expect(lens)
            .encrypt_blocks(blocks),
        _ => cbc::Encryptor::<aes::Aes256>::new_from_slices(keys.key(), iv)
            .expect(lens)
            .encrypt_blocks(blocks),
    }
    out
}

/// What a MAC of record 4 begins with.
fn mac_prefix(suite: Suite, len: usize) -> Vec<u8> {
    let [major, minor] = suite.version().wire();
    let length = u16::try_from(len).expect("fits").to_be_bytes();
    [
        &[0, 0, 0, 0, 0, 0, 0, 4, APPLICATION_DATA, major, minor][..],
        &length,
    ]
    .concat()
}

/// Record 4 with a payload and any bytes as its padding, made without the crate under test.
fn record_with(suite: Suite, payload: &[u8], padding: &[u8]) -> Vec<u8> {
    let keys = keys(suite);
    let (iv, sent): (&[u8], &[u8]) = match suite.version() {
        Version::Tls10 => (keys.iv(), &[]),
        _ => (&[0x77; 16], &[0x77; 16]),
    };
    let body = if suite.mac_order() == Some(MacOrder::MacThenEncrypt) {
        let mac = hmac(
            suite,
            &[&mac_prefix(suite, payload.len())[..], payload].concat(),
        );
        [
            sent,
            &encrypt(suite, iv, &[payload, &mac, padding].concat()),
        ]
        .concat()
    } else {
        let body = [sent, &encrypt(suite, iv, &[payload, padding].concat())].concat();
        let mac = hmac(suite, &[&mac_prefix(suite, body.len())[..], &body].concat());
        [body, mac].concat()
    };
    framed(suite, &body)
}

fn framed(suite: Suite, body: &[u8]) -> Vec<u8> {
    let [major, minor] = suite.version().wire();
    let length = u16::try_from(body.len()).expect("fits").to_be_bytes();
    [&[APPLICATION_DATA, major, minor][..], &length, body].concat()
}

/// The least number of padding bytes after a payload.
fn least_padding(suite: Suite, payload_len: usize) -> usize {
    suite.trailer_size(payload_len) - suite.mac_key_len()
}

fn padding(count: usize) -> Vec<u8> {
    vec![u8::try_from(count - 1).expect("at most 256"); count]
}

fn refused(suite: Suite, mut record: Vec<u8>) {
    let header = record[..suite.header_size()].to_vec();
    let opened = opener("ring", suite).open_in_place(4, &mut record);
    assert_eq!(opened, Err(Error::BadRecord), "{suite:?}");
    assert_eq!(record[..header.len()], header);
    assert!(record[header.len()..].iter().all(|&byte| byte == 0));
}

// rule: RFC 5246 6.2.3.2
#[test]
fn all_paddings_that_fit_are_accepted() -> Result<(), Error> {
    for suite in cbc_suites() {
        for len in [0, 1, 16, 200] {
            let least = least_padding(suite, len);
            for count in (least..=256).step_by(16) {
                let mut record = record_with(suite, &payload(len), &padding(count));
                let opener = opener("ring", suite);
                let opened = opener.open_in_place(4, &mut record)?;
                assert_eq!(*opened.payload, *payload(len), "{suite:?} {len} {count}");
            }
        }
    }
    Ok(())
}

#[test]
fn every_payload_length_around_the_blocks_of_the_hashes() -> Result<(), Error> {
    for suite in cbc_suites() {
        let opener = opener("ring", suite);
        for len in 0..=400 {
            let least = least_padding(suite, len);
            for count in [least, least + 112, least + 240] {
                let mut record = record_with(suite, &payload(len), &padding(count));
                // Each is the first of its chain.
                let opener = Arc::clone(&opener).clone_state();
                let text = opener.open_in_place(4, &mut record)?.payload;
                assert_eq!(*text, *payload(len), "{suite:?} {len} {count}");
            }
        }
    }
    Ok(())
}

#[test]
fn the_longest_payload_with_the_longest_padding() -> Result<(), Error> {
    for suite in cbc_suites() {
        let count = least_padding(suite, 16384) + 240;
        let mut record = record_with(suite, &payload(16384), &padding(count));
        let opener = opener("ring", suite);
        assert_eq!(
            *opener.open_in_place(4, &mut record)?.payload,
            *payload(16384)
        );
    }
    Ok(())
}

// rule: RFC 5246 6.2.3.2
#[test]
fn padding_bytes_must_all_say_the_same() {
    for suite in cbc_suites() {
        let least = least_padding(suite, 20);
        for count in [least, least + 16, least + 224] {
            for at in 0..count {
                let mut wrong = padding(count);
                wrong[at] ^= 0x40;
                refused(suite, record_with(suite, &payload(20), &wrong));
            }
        }
    }
}

#[test]
fn padding_that_says_more_than_there_is_is_refused() {
    for suite in cbc_suites() {
        let count = least_padding(suite, 3);
        let whole = match suite.mac_order() {
            Some(MacOrder::MacThenEncrypt) => 3 + suite.mac_key_len() + count,
            _ => 3 + count,
        };
        for said in [count, whole - 1, whole, whole + 1, 254, 255] {
            let said = u8::try_from(said).expect("a byte");
            refused(suite, record_with(suite, &payload(3), &vec![said; count]));
        }
    }
}

#[test]
fn a_single_padding_byte_must_be_zero() {
    for suite in cbc_suites() {
        let len = (0..16).find(|&len| least_padding(suite, len) == 1);
        let text = payload(len.expect("one of sixteen"));
        for said in 1..=255 {
            refused(suite, record_with(suite, &text, &[said]));
        }
    }
}

// rule: RFC 5246 6.2.3.2
#[test]
fn a_mac_anywhere_but_before_the_padding_is_refused() {
    for suite in cbc_suites() {
        if suite.mac_order() != Some(MacOrder::MacThenEncrypt) {
            continue;
        }
        // The MAC says 36 bytes and stands after 20; what follows it makes the padding say 36 too.
        let text = payload(20);
        let mac = hmac(suite, &[&mac_prefix(suite, 36)[..], &text].concat());
        let padding = padding(least_padding(suite, 36));
        let keys = keys(suite);
        let (iv, sent): (&[u8], &[u8]) = match suite.version() {
            Version::Tls10 => (keys.iv(), &[]),
            _ => (&[0x77; 16], &[0x77; 16]),
        };
        let plain = [&text[..], &mac, &[0xee; 16], &padding].concat();
        refused(
            suite,
            framed(suite, &[sent, &encrypt(suite, iv, &plain)].concat()),
        );
    }
}

#[test]
fn every_changed_bit_is_refused_and_leaves_nothing() -> Result<(), Error> {
    for suite in cbc_suites() {
        let record = seal(sealer("ring", suite).as_ref(), 4, &payload(20))?;
        for at in 0..record.len() {
            for bit in 0..8 {
                let mut changed = record.clone();
                changed[at] ^= 1 << bit;
                match at {
                    1 | 2 => assert!(matches!(
                        opener("ring", suite).open_in_place(4, &mut changed),
                        Err(Error::WrongVersion { .. })
                    )),
                    3 | 4 => assert!(matches!(
                        opener("ring", suite).open_in_place(4, &mut changed),
                        Err(Error::RecordSize { .. }
                            | Error::RecordTooShort { .. }
                            | Error::RecordOverflow { .. })
                    )),
                    _ => refused(suite, changed),
                }
            }
        }
    }
    Ok(())
}

/// The payload of record 5, opened with these keys.
fn opened_with(keys: &Keys, record: &[u8]) -> Result<Result<Vec<u8>, Error>, Error> {
    let opener = provider::opener("ring", keys)?;
    let mut record = record.to_vec();
    let opened = opener.open_in_place(5, &mut record);
    Ok(opened.map(|opened| opened.payload.to_vec()))
}

// rule: RFC 5246 6.2.3.1, RFC 7366 3
#[test]
fn another_number_key_mac_or_order_is_refused() -> Result<(), Error> {
    for suite in cbc_suites() {
        let record = seal(sealer("ring", suite).as_ref(), 5, &payload(20))?;
        refused(suite, record.clone());
        let keys = keys(suite);
        let other_mac = vec![0; suite.mac_key_len()];
        let other = Keys::with_mac(suite, keys.key(), keys.iv(), &other_mac)?;
        let opened = opened_with(&other, &record)?;
        assert_eq!(opened, Err(Error::BadRecord), "{suite:?}");
        let other_key = vec![0; suite.key_len()];
        let other = Keys::with_mac(suite, &other_key, keys.iv(), keys.mac_key())?;
        let opened = opened_with(&other, &record)?;
        if suite.mac_order() == Some(MacOrder::EncryptThenMac) {
            // The MAC is over what was sent, and right; one text in 256 ends in padding by chance.
            assert_ne!(opened, Ok(payload(20)), "{suite:?}");
        } else {
            assert_eq!(opened, Err(Error::BadRecord), "{suite:?}");
        }
        let order = match suite.mac_order() {
            Some(MacOrder::MacThenEncrypt) => MacOrder::EncryptThenMac,
            _ => MacOrder::MacThenEncrypt,
        };
        let mac = suite.mac().expect("a CBC suite");
        let swapped = Suite::cbc(suite.version(), suite.algorithm(), mac, order)?;
        let opened = opener("ring", swapped)
            .open_in_place(5, &mut record.clone())
            .map(|_| ());
        assert_eq!(opened, Err(Error::BadRecord), "{suite:?}");
    }
    Ok(())
}

#[test]
fn lengths_that_are_not_whole_blocks_are_refused() {
    for suite in cbc_suites() {
        for more in 1..16 {
            let [major, minor] = suite.version().wire();
            let size = suite.record_size(0) + more;
            let [high, low] = u16::try_from(size - 5).expect("short").to_be_bytes();
            let mut record = vec![APPLICATION_DATA, major, minor, high, low];
            record.resize(size, 0xa5);
            refused(suite, record);
        }
    }
}

#[test]
fn length_fields_have_limits() {
    for suite in cbc_suites() {
        let minimum = suite.record_size(0);
        let maximum = suite.record_size(16384) - 5 + 240;
        let [major, minor] = suite.version().wire();
        for length in [0, minimum - 6, minimum - 5, maximum, maximum + 1, 0xffff] {
            let [high, low] = u16::try_from(length).expect("two bytes").to_be_bytes();
            let mut record = vec![APPLICATION_DATA, major, minor, high, low];
            record.resize(5 + length, 0);
            let error = opener("ring", suite)
                .open_in_place(4, &mut record)
                .expect_err("not a record");
            let expected = if length < minimum - 5 {
                Error::RecordTooShort {
                    actual: 5 + length,
                    minimum,
                }
            } else if length > maximum {
                Error::RecordOverflow {
                    actual: length,
                    maximum,
                }
            } else {
                Error::BadRecord
            };
            assert_eq!(error, expected, "{suite:?}");
        }
    }
}

// rule: RFC 5246 6.2.1
#[test]
fn more_payload_than_a_record_carries_is_refused_though_authentic() {
    for suite in cbc_suites() {
        let count = least_padding(suite, 16385);
        let mut record = record_with(suite, &payload(16385), &padding(count));
        let error = opener("ring", suite)
            .open_in_place(4, &mut record)
            .expect_err("too long");
        assert_eq!(
            error,
            Error::RecordOverflow {
                actual: 16385,
                maximum: 16384
            }
        );
        assert!(record[suite.header_size()..].iter().all(|&byte| byte == 0));
    }
}

#[test]
fn frames_that_do_not_fit_are_refused_untouched() {
    for suite in cbc_suites() {
        let sealer = sealer("ring", suite);
        let frame = |payload_len, sequence| ktls_record::Frame {
            content_type: 23,
            sequence,
            payload_len,
            padding_len: 0,
        };
        let size = suite.record_size(10);
        let mut record = vec![0xee; size - 1];
        let expected = Err(Error::RecordSize {
            expected: size,
            actual: size - 1,
        });
        assert_eq!(
            sealer.seal_from(frame(10, 0), &[0; 10], &mut record),
            expected
        );
        assert_eq!(sealer.seal_in_place(frame(10, 0), &mut record), expected);
        let mut record = vec![0xee; size];
        let expected = Err(Error::PayloadMismatch {
            expected: 10,
            actual: 9,
        });
        assert_eq!(
            sealer.seal_from(frame(10, 0), &[0; 9], &mut record),
            expected
        );
        let expected = Err(Error::PayloadLen { len: 16385 });
        assert_eq!(sealer.seal_in_place(frame(16385, 0), &mut record), expected);
        let last = sealer.seal_in_place(frame(10, u64::MAX), &mut record);
        assert_eq!(last, Err(Error::SequenceExhausted));
        assert_eq!(record, vec![0xee; size]);
    }
}
