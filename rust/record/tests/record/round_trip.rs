//! What is sealed opens again, and providers and ways of sealing agree to the byte.

use ktls_record::{Algorithm, Error, Frame, Suite, Version, explicit_nonce, provider};

use crate::sample::{
    APPLICATION_DATA, EXPLICIT_BASE, PAYLOAD_LENS, opener, payload, seal, sealer, suites,
};

const SEQUENCES: [u64; 5] = [0, 1, 255, 0x0102_0304_0506_0708, u64::MAX - 1];

#[test]
fn every_suite_length_and_provider() -> Result<(), Error> {
    for suite in suites() {
        for &name in provider::names() {
            let (sealer, opener) = (sealer(name, suite), opener(name, suite));
            assert_eq!((sealer.suite(), opener.suite()), (suite, suite));
            for (len, sequence) in PAYLOAD_LENS.into_iter().zip(SEQUENCES.into_iter().cycle()) {
                let mut record = seal(sealer.as_ref(), sequence, &payload(len))?;
                let opened = opener.open_in_place(sequence, &mut record)?;
                assert_eq!(opened.content_type, APPLICATION_DATA);
                assert_eq!(*opened.payload, *payload(len), "{suite:?} {len}");
            }
        }
    }
    Ok(())
}

#[test]
fn all_ways_of_sealing_give_the_same_bytes() -> Result<(), Error> {
    for suite in suites() {
        for len in PAYLOAD_LENS {
            let expected = seal(sealer("ring", suite).as_ref(), 7, &payload(len))?;
            for &name in provider::names() {
                let sealer = sealer(name, suite);
                assert_eq!(
                    seal(sealer.as_ref(), 7, &payload(len))?,
                    expected,
                    "{name} {suite:?}"
                );

                let frame = Frame {
                    content_type: APPLICATION_DATA,
                    sequence: 7,
                    payload_len: len,
                    padding_len: 0,
                };
                let mut record = vec![0xee; suite.record_size(len)];
                record[suite.header_size()..][..len].copy_from_slice(&payload(len));
                sealer.seal_in_place(frame, &mut record)?;
                assert_eq!(record, expected, "{name} {suite:?} in place");
            }
        }
    }
    Ok(())
}

#[test]
fn padding_is_sealed_and_left_out() -> Result<(), Error> {
    for suite in suites() {
        if suite.version() != Version::Tls13 {
            continue;
        }
        for &name in provider::names() {
            for (payload_len, padding_len) in [(0, 1), (1, 15), (100, 4000), (16000, 384)] {
                let frame = Frame {
                    content_type: 22,
                    sequence: 9,
                    payload_len,
                    padding_len,
                };
                let sealer = sealer(name, suite);
                let mut record = vec![0xee; suite.record_size(payload_len + padding_len)];
                sealer.seal_from(frame, &payload(payload_len), &mut record)?;
                let mut in_place = vec![0xee; record.len()];
                in_place[suite.header_size()..][..payload_len]
                    .copy_from_slice(&payload(payload_len));
                sealer.seal_in_place(frame, &mut in_place)?;
                assert_eq!(in_place, record, "{name} {suite:?}");
                let opened = opener(name, suite).open_in_place(9, &mut record)?;
                assert_eq!(opened.content_type, 22);
                assert_eq!(*opened.payload, payload(payload_len));
            }
        }
    }
    Ok(())
}

// rule: RFC 5246 6.2.1, RFC 8446 5.2
#[test]
fn headers_on_the_wire() -> Result<(), Error> {
    for suite in suites() {
        let frame = Frame {
            content_type: 21,
            sequence: 5,
            payload_len: 2,
            padding_len: 0,
        };
        let mut record = vec![0; suite.record_size(2)];
        sealer("ring", suite).seal_from(frame, &[1, 0], &mut record)?;
        let outer_type = if suite.version() == Version::Tls13 {
            23
        } else {
            21
        };
        let length = u8::try_from(record.len() - 5).expect("a short record");
        assert_eq!(record[..5], [outer_type, 3, 3, 0, length], "{suite:?}");
        let opened = opener("ring", suite).open_in_place(5, &mut record)?;
        assert_eq!(
            (opened.content_type, &*opened.payload),
            (21, &[1_u8, 0][..])
        );
    }
    Ok(())
}

// rule: RFC 5288 3
#[test]
fn explicit_nonces_follow_the_sequence_number() -> Result<(), Error> {
    for suite in suites() {
        let counted =
            suite.version() == Version::Tls12 && suite.algorithm() != Algorithm::ChaCha20Poly1305;
        for &name in provider::names() {
            for sequence in SEQUENCES {
                let record = seal(sealer(name, suite).as_ref(), sequence, b"x")?;
                let expected = counted.then_some(EXPLICIT_BASE.wrapping_add(sequence));
                assert_eq!(explicit_nonce(suite, &record), expected);
                assert_eq!(
                    explicit_nonce(suite, &record[..suite.header_size() - 1]),
                    None
                );
            }
        }
    }
    Ok(())
}

// rule: RFC 5288 3
#[test]
fn an_opener_takes_any_explicit_nonce() -> Result<(), Error> {
    let suite = Suite::new(Version::Tls12, Algorithm::Aes128Gcm)?;
    for base in [0, 1, u64::MAX] {
        let sealer = provider::sealer("ring", &crate::sample::keys(suite), base)?;
        let mut record = seal(sealer.as_ref(), 3, b"any nonce")?;
        assert_eq!(
            *opener("ring", suite).open_in_place(3, &mut record)?.payload,
            *b"any nonce"
        );
    }
    Ok(())
}

#[test]
fn records_of_one_key_seal_in_any_order_and_from_several_threads() -> Result<(), Error> {
    for suite in suites() {
        let sealer = sealer(provider::names().last().expect("there is one"), suite);
        let in_order: Vec<_> = (0..8)
            .map(|n| seal(sealer.as_ref(), n, &payload(100)))
            .collect::<Result<_, _>>()?;
        let sealed: Vec<_> = std::thread::scope(|scope| {
            let threads = (0..8_u64).rev().map(|n| {
                let sealer = sealer.as_ref();
                scope.spawn(move || (n, seal(sealer, n, &payload(100))))
            });
            let threads: Vec<_> = threads.collect();
            threads
                .into_iter()
                .map(|t| t.join().expect("no panic"))
                .collect()
        });
        for (sequence, record) in sealed {
            let index = usize::try_from(sequence).expect("small");
            assert_eq!(record?, in_order[index]);
        }
    }
    Ok(())
}

#[test]
fn random_bytes_differ() -> Result<(), Error> {
    let (mut first, mut second) = ([0; 32], [0; 32]);
    provider::random(&mut first)?;
    provider::random(&mut second)?;
    assert_ne!(first, second);
    Ok(())
}
