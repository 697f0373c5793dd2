//! Opening into a buffer elsewhere: the same answers as in place, in no more room than the header says.

use ktls_record::{Error, Frame, HEADER_LEN, RecordHeader, Suite, Version, provider};

use crate::sample::{
    APPLICATION_DATA, PAYLOAD_LENS, cbc_suites, opener, payload, seal, sealer, suites,
};

fn all_suites() -> Vec<Suite> {
    [suites(), cbc_suites()].concat()
}

fn header(suite: Suite, record: &[u8]) -> Result<RecordHeader, Error> {
    RecordHeader::parse(
        suite,
        *record.first_chunk::<HEADER_LEN>().expect("a header"),
    )
}

#[test]
fn every_suite_length_and_provider() -> Result<(), Error> {
    for suite in all_suites() {
        for &name in provider::names() {
            let (sealer, opener) = (sealer(name, suite), opener(name, suite));
            for (len, sequence) in PAYLOAD_LENS.into_iter().zip(7..) {
                let record = seal(sealer.as_ref(), sequence, &payload(len))?;
                let needed = header(suite, &record)?.text_len();
                let mut out = vec![0xee; needed + 3];
                let opened = opener.open_into(sequence, &record, &mut out)?;
                assert_eq!(opened.content_type, APPLICATION_DATA);
                assert_eq!(*opened.payload, *payload(len), "{suite:?} {len}");
                assert_eq!(out[needed..], [0xee; 3], "{suite:?} {len}");
            }
        }
    }
    Ok(())
}

#[test]
fn the_header_says_the_size_and_the_room() -> Result<(), Error> {
    for suite in all_suites() {
        for len in PAYLOAD_LENS {
            let record = seal(sealer("ring", suite).as_ref(), 0, &payload(len))?;
            let header = header(suite, &record)?;
            assert_eq!(header.record_size(), record.len());
            assert_eq!(header.outer_type(), APPLICATION_DATA);
            let more = header.text_len() - len;
            match (suite.mac(), suite.version()) {
                (None, Version::Tls13) => assert_eq!(more, 1),
                (None, _) => assert_eq!(more, 0),
                (Some(_), _) => assert!((1..=suite.max_trailer_size()).contains(&more)),
            }
        }
    }
    Ok(())
}

#[test]
fn too_little_room_is_refused_and_nothing_is_spent() -> Result<(), Error> {
    for suite in all_suites() {
        let opener = opener("ring", suite);
        let record = seal(sealer("ring", suite).as_ref(), 0, &payload(20))?;
        let needed = header(suite, &record)?.text_len();
        for actual in [0, 1, needed - 1] {
            let mut out = vec![0xee; actual];
            let refused = opener.open_into(0, &record, &mut out);
            assert_eq!(refused, Err(Error::OutputLen { actual, needed }));
            assert!(out.iter().all(|&byte| byte == 0xee));
        }
        let mut out = vec![0; needed];
        assert_eq!(
            *opener.open_into(0, &record, &mut out)?.payload,
            *payload(20)
        );
    }
    Ok(())
}

#[test]
fn a_refused_record_leaves_zeros_in_its_room_only() -> Result<(), Error> {
    for suite in all_suites() {
        for &name in provider::names() {
            let record = seal(sealer(name, suite).as_ref(), 0, &payload(20))?;
            let needed = header(suite, &record)?.text_len();
            for at in HEADER_LEN..record.len() {
                let mut forged = record.clone();
                forged[at] ^= 1;
                let mut out = vec![0xee; needed + 3];
                let refused = opener(name, suite).open_into(0, &forged, &mut out);
                assert_eq!(refused, Err(Error::BadRecord), "{suite:?} {at}");
                assert_eq!(out[..needed], vec![0; needed], "{suite:?} {at}");
                assert_eq!(out[needed..], [0xee; 3]);
            }
        }
    }
    Ok(())
}

#[test]
fn chained_records_may_be_opened_either_way_in_turn() -> Result<(), Error> {
    for suite in cbc_suites().into_iter().filter(|suite| suite.sequential()) {
        let (sealer, opener) = (sealer("ring", suite), opener("ring", suite));
        for sequence in 0..6 {
            let mut record = seal(sealer.as_ref(), sequence, &payload(40))?;
            let mut out = vec![0; record.len()];
            let early = opener
                .open_into(sequence + 1, &record, &mut out)
                .map(|_| ());
            if sequence > 0 {
                let (expected, actual) = (sequence, sequence + 1);
                assert_eq!(early, Err(Error::OutOfOrder { expected, actual }));
            }
            let opened = if sequence % 2 == 0 {
                opener.open_into(sequence, &record, &mut out)?
            } else {
                opener.open_in_place(sequence, &mut record)?
            };
            assert_eq!(*opened.payload, *payload(40));
        }
    }
    Ok(())
}

#[test]
fn padding_of_tls13_needs_room_and_is_left_out() -> Result<(), Error> {
    for suite in suites() {
        if suite.version() != Version::Tls13 {
            continue;
        }
        let frame = Frame {
            content_type: 21,
            sequence: 0,
            payload_len: 2,
            padding_len: 100,
        };
        let mut record = vec![0; frame.record_size(suite)];
        sealer("ring", suite).seal_from(frame, &[1, 0], &mut record)?;
        let mut out = vec![0xee; 103];
        for &name in provider::names() {
            let opened = opener(name, suite).open_into(0, &record, &mut out)?;
            assert_eq!((opened.content_type, &*opened.payload), (21, &[1, 0][..]));
        }
        let refused = opener("ring", suite).open_into(0, &record, &mut out[..102]);
        let (actual, needed) = (102, 103);
        assert_eq!(refused, Err(Error::OutputLen { actual, needed }));
    }
    Ok(())
}

#[test]
fn what_is_no_record_is_refused_as_in_place() {
    for suite in all_suites() {
        let opener = opener("ring", suite);
        let sealed = seal(sealer("ring", suite).as_ref(), 0, b"payload").expect("sealed");
        for (record, sequence) in [
            (&sealed[..], u64::MAX),
            (&sealed[..4], 0),
            (&sealed[..sealed.len() - 1], 0),
            (&[23, 3, 3, 0, 0][..], 0),
            (&[23, 2, 3, 0, 99][..], 0),
            (&[23, 3, 3, 0xff, 0xff][..], 0),
        ] {
            let mut out = [0xee; 99];
            let into = opener.open_into(sequence, record, &mut out).map(|_| ());
            let in_place = opener
                .open_in_place(sequence, &mut record.to_vec())
                .map(|_| ());
            assert!(into.is_err(), "{record:?}");
            assert_eq!(into, in_place, "{record:?}");
            assert_eq!(out, [0xee; 99]);
        }
    }
}
