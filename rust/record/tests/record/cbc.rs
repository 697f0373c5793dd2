//! AES-CBC records: what is sealed opens again, every padding, and the IVs of each version.

use std::collections::HashSet;
use std::sync::Arc;

use ktls_record::{Error, Frame, Open, Suite, Version, explicit_nonce, provider};

use crate::sample::{
    APPLICATION_DATA, PAYLOAD_LENS, cbc_suites, keys, opener, payload, seal, sealer,
};

fn chained() -> Vec<Suite> {
    let suites = cbc_suites().into_iter();
    suites.filter(|suite| suite.sequential()).collect()
}

fn iv_of(record: &[u8]) -> &[u8] {
    &record[5..21]
}

#[test]
fn every_suite_length_and_provider() -> Result<(), Error> {
    for suite in cbc_suites() {
        for &name in provider::names() {
            let (sealer, opener) = (sealer(name, suite), opener(name, suite));
            assert_eq!((sealer.suite(), opener.suite()), (suite, suite));
            let first = 0x0102_0304_0506_0708;
            for (len, sequence) in PAYLOAD_LENS.into_iter().zip(first..) {
                let mut record = seal(sealer.as_ref(), sequence, &payload(len))?;
                assert_eq!(explicit_nonce(suite, &record), None);
                let opened = opener.open_in_place(sequence, &mut record)?;
                assert_eq!(opened.content_type, APPLICATION_DATA);
                assert_eq!(*opened.payload, *payload(len), "{suite:?} {len}");
            }
        }
    }
    Ok(())
}

#[test]
fn payload_lengths_that_need_every_padding() -> Result<(), Error> {
    for suite in cbc_suites() {
        let (sealer, opener) = (sealer("ring", suite), opener("ring", suite));
        let mut trailers = HashSet::new();
        for (len, sequence) in (1..=16).zip(0..) {
            let mut record = seal(sealer.as_ref(), sequence, &payload(len))?;
            trailers.insert(record.len() - suite.header_size() - len);
            let opened = opener.open_in_place(sequence, &mut record)?;
            assert_eq!(*opened.payload, *payload(len), "{suite:?} {len}");
        }
        assert_eq!(trailers.len(), 16, "{suite:?}");
    }
    Ok(())
}

#[test]
fn in_place_and_from_elsewhere_give_the_same_bytes() -> Result<(), Error> {
    // Only a chained IV can be the same twice; the other suites seal with a key of their own.
    for suite in chained() {
        for len in PAYLOAD_LENS {
            let frame = Frame {
                content_type: APPLICATION_DATA,
                sequence: 7,
                payload_len: len,
                padding_len: 0,
            };
            let mut record = vec![0xee; suite.record_size(len)];
            record[suite.header_size()..][..len].copy_from_slice(&payload(len));
            sealer("ring", suite).seal_in_place(frame, &mut record)?;
            assert_eq!(
                record,
                seal(sealer("ring", suite).as_ref(), 7, &payload(len))?
            );
        }
    }
    for suite in cbc_suites() {
        let sealer = sealer("ring", suite);
        let frame = Frame {
            content_type: 21,
            sequence: 3,
            payload_len: 2,
            padding_len: 0,
        };
        let mut record = vec![0xee; suite.record_size(2)];
        record[suite.header_size()..][..2].copy_from_slice(&[1, 0]);
        sealer.seal_in_place(frame, &mut record)?;
        let length = u8::try_from(record.len() - 5).expect("a short record");
        let [major, minor] = suite.version().wire();
        assert_eq!(record[..5], [21, major, minor, 0, length], "{suite:?}");
        let opened = opener("ring", suite).open_in_place(3, &mut record)?;
        assert_eq!(
            (opened.content_type, &*opened.payload),
            (21, &[1_u8, 0][..])
        );
    }
    Ok(())
}

// rule: RFC 4346 6.2.3.2, RFC 5246 6.2.3.2
#[test]
fn ivs_that_travel_are_different_for_each_record_and_key() -> Result<(), Error> {
    for suite in cbc_suites() {
        if suite.version() == Version::Tls10 {
            continue;
        }
        let mut seen = HashSet::new();
        for _ in 0..3 {
            let sealer = sealer("ring", suite);
            for sequence in 0..50 {
                let record = seal(sealer.as_ref(), sequence, b"x")?;
                assert!(seen.insert(iv_of(&record).to_vec()), "{suite:?}");
            }
            // Sealed again, the record is the same: no IV is spent on another text.
            let again = seal(sealer.as_ref(), 7, b"x")?;
            assert!(!seen.insert(iv_of(&again).to_vec()));
        }
    }
    Ok(())
}

#[test]
fn records_with_ivs_that_travel_open_and_seal_in_any_order() -> Result<(), Error> {
    for suite in cbc_suites() {
        if suite.sequential() {
            continue;
        }
        let sealer = sealer("ring", suite);
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
        let opener = opener("ring", suite);
        for (sequence, record) in sealed {
            let mut record = record?;
            let opened = opener.open_in_place(sequence, &mut record)?;
            assert_eq!(*opened.payload, *payload(100));
        }
    }
    Ok(())
}

// rule: RFC 2246 6.2.3.2
#[test]
fn chained_records_have_an_order() -> Result<(), Error> {
    for suite in chained() {
        let sealer = sealer("ring", suite);
        let records: Vec<_> = (5..8)
            .map(|n| seal(sealer.as_ref(), n, &payload(40)))
            .collect::<Result<_, _>>()?;
        for actual in [0, 5, 7, 9, u64::MAX - 1] {
            let refused = Err(Error::OutOfOrder {
                expected: 8,
                actual,
            });
            assert_eq!(seal(sealer.as_ref(), actual, b"x"), refused);
        }
        // A refusal leaves the buffer and the chain alone.
        let frame = Frame {
            content_type: 23,
            sequence: 4,
            payload_len: 1,
            padding_len: 0,
        };
        let mut untouched = vec![0xee; suite.record_size(1)];
        sealer
            .seal_from(frame, b"x", &mut untouched)
            .expect_err("record 8 is next");
        assert_eq!(untouched, vec![0xee; suite.record_size(1)]);
        let last = seal(sealer.as_ref(), 8, b"last")?;

        let opener = opener("ring", suite);
        let mut received = records[0].clone();
        assert_eq!(
            *opener.open_in_place(5, &mut received)?.payload,
            *payload(40)
        );
        let refused = Err(Error::OutOfOrder {
            expected: 6,
            actual: 7,
        });
        let mut early = records[2].clone();
        assert_eq!(opener.open_in_place(7, &mut early), refused);
        assert_eq!(early, records[2]);
        let mut forged = records[1].clone();
        forged[9] ^= 1;
        assert_eq!(opener.open_in_place(6, &mut forged), Err(Error::BadRecord));
        for (record, sequence) in [(&records[1], 6), (&records[2], 7), (&last, 8)] {
            let mut received = record.clone();
            opener.open_in_place(sequence, &mut received)?;
        }
    }
    Ok(())
}

#[test]
fn a_chain_goes_on_from_the_last_block_of_another_sealer() -> Result<(), Error> {
    for suite in chained() {
        let opener = opener("ring", suite);
        assert_eq!(
            opener.chained_iv().as_ref().map(|iv| &iv[..]),
            Some(keys(suite).iv())
        );
        let mut first = seal(sealer("ring", suite).as_ref(), 0, b"first")?;
        opener.open_in_place(0, &mut first)?;

        let iv = opener.chained_iv().expect("a chained suite");
        let second = provider::sealer("ring", &keys(suite).with_iv(&iv)?, 0)?;
        let mut record = seal(second.as_ref(), 1, b"second")?;
        assert_eq!(*opener.open_in_place(1, &mut record)?.payload, *b"second");
    }
    Ok(())
}

#[test]
fn a_clone_goes_on_by_itself() -> Result<(), Error> {
    for suite in cbc_suites() {
        let sealer = sealer("ring", suite);
        let records: Vec<_> = (0..3)
            .map(|n| seal(sealer.as_ref(), n, &payload(20)))
            .collect::<Result<_, _>>()?;
        let opener: Arc<dyn Open> = opener("ring", suite);
        opener.open_in_place(0, &mut records[0].clone())?;
        let copy = Arc::clone(&opener).clone_state();
        assert_eq!(copy.chained_iv(), opener.chained_iv());
        assert_eq!(copy.chained_iv().is_some(), suite.sequential());
        for opener in [&opener, &copy] {
            opener.open_in_place(1, &mut records[1].clone())?;
            opener.open_in_place(2, &mut records[2].clone())?;
        }
    }
    Ok(())
}

#[test]
fn unknown_providers_are_named() {
    for suite in cbc_suites() {
        let keys = keys(suite);
        let sealer = provider::sealer("opensll", &keys, 0).err();
        let opener = provider::opener("opensll", &keys).err();
        assert_eq!(sealer, opener);
        let text = sealer.expect("no such provider").to_string();
        assert!(text.contains("\"opensll\""), "{text}");
    }
}
