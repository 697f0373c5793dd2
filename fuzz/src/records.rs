//! Records: any bytes to open, sealed ones with something changed, and the way there and back. Every provider must
//! answer the same.

use arbitrary::{Arbitrary, Unstructured};
use ktls_record::{Error, Frame, HEADER_LEN, MAX_FRAME_LEN, RecordHeader};

use crate::suites;

/// Any bytes as one record, under any suite and number: an answer, the same from everybody.
pub fn open_record(data: &[u8]) {
    let Some((&[choice, s0, s1, s2, s3, s4, s5, s6, s7], record)) = data.split_first_chunk() else {
        return;
    };
    let sequence = u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
    let keys = suites::keys(suites::suite(choice), 0);
    let mut answers = Vec::new();
    for opener in suites::openers(&keys) {
        let mut bytes = record.to_vec();
        let answer = opener.open_in_place(sequence, &mut bytes);
        let answer = answer.map(|opened| (opened.content_type, opened.payload.to_vec()));
        if matches!(answer, Err(Error::BadRecord)) {
            let after = keys.suite().header_size();
            assert!(
                bytes[after..].iter().all(|&byte| byte == 0),
                "unverified text is left"
            );
        }
        answers.push(answer.map_err(|error| error.to_string()));
        let mut out = vec![0xee; record.len()];
        let answer = opener.open_into(sequence, record, &mut out);
        let answer = answer.map(|opened| (opened.content_type, opened.payload.to_vec()));
        if matches!(answer, Err(Error::BadRecord)) {
            let room = RecordHeader::parse(keys.suite(), *record.first_chunk().expect("a header"))
                .expect("its checks come first")
                .text_len();
            assert!(out[..room].iter().all(|&byte| byte == 0));
        }
        answers.push(answer.map_err(|error| error.to_string()));
    }
    assert!(
        answers.windows(2).all(|pair| pair[0] == pair[1]),
        "{answers:?}"
    );
}

#[derive(Arbitrary, Debug)]
struct Forgery {
    suite: u8,
    sequence: u64,
    opened_as: Option<u64>,
    explicit: u64,
    content_type: u8,
    payload: Vec<u8>,
    changes: Vec<(u16, u8)>,
    cut: u8,
    added: Vec<u8>,
}

/// A record that was changed anywhere does not open; one that was not, does.
pub fn forged_record(data: &[u8]) {
    let Ok(forgery) = Forgery::arbitrary(&mut Unstructured::new(data)) else {
        return;
    };
    let keys = suites::keys(suites::suite(forgery.suite), 0);
    let payload = &forgery.payload[..forgery.payload.len().min(MAX_FRAME_LEN)];
    let sequence = forgery.sequence.min(u64::MAX - 1);
    let content_type = forgery.content_type.max(1);
    let Some(sealer) = suites::sealers(&keys, forgery.explicit).into_iter().next() else {
        return;
    };
    let mut record = vec![0; keys.suite().record_size(payload.len())];
    let frame = Frame {
        content_type,
        sequence,
        payload_len: payload.len(),
        padding_len: 0,
    };
    sealer
        .seal_from(frame, payload, &mut record)
        .expect("the frame is in order");
    let sealed = record.clone();
    for (position, mask) in &forgery.changes {
        let position = usize::from(*position) % record.len();
        record[position] ^= mask;
    }
    record.truncate(record.len() - usize::from(forgery.cut).min(record.len()));
    record.extend_from_slice(&forgery.added);
    let number = forgery.opened_as.unwrap_or(sequence);
    let genuine = record == sealed && number == sequence;
    for opener in suites::openers(&keys) {
        let mut bytes = record.clone();
        match opener.open_in_place(number, &mut bytes) {
            Ok(opened) => {
                // Explicit nonces carry the number in the additional data, so a wrong one shows there, too.
                assert!(genuine, "a forged record was opened");
                assert_eq!(
                    (opened.content_type, &*opened.payload),
                    (content_type, payload)
                );
            }
            Err(error) => assert!(!genuine, "{error}"),
        }
        let mut out = vec![0; record.len()];
        let opened = opener.open_into(number, &record, &mut out);
        assert_eq!(opened.is_ok(), genuine);
        assert!(opened.is_ok_and(|opened| opened.payload == payload) || !genuine);
    }
}

#[derive(Arbitrary, Debug)]
struct Plan {
    suite: u8,
    sequence: u64,
    explicit: u64,
    content_type: u8,
    payload_len: u16,
    fill: u8,
    wrong_size: Option<u16>,
    wrong_payload: Option<u16>,
}

/// Frames in and out of order: every provider seals the same bytes both ways and opens the others', or all refuse.
pub fn seal_record(data: &[u8]) {
    let Ok(plan) = Plan::arbitrary(&mut Unstructured::new(data)) else {
        return;
    };
    let keys = suites::keys(suites::suite(plan.suite), 0);
    let suite = keys.suite();
    let payload_len = usize::from(plan.payload_len) % (MAX_FRAME_LEN + 100);
    let frame = Frame {
        content_type: plan.content_type,
        sequence: plan.sequence,
        payload_len,
        padding_len: 0,
    };
    let payload = vec![plan.fill; plan.wrong_payload.map_or(payload_len, usize::from)];
    let size = plan
        .wrong_size
        .map_or(suite.record_size(payload_len), usize::from);
    let mut records = Vec::new();
    for sealer in suites::sealers(&keys, plan.explicit) {
        let mut copied = vec![0xee; size];
        let by_copy = sealer.seal_from(frame, &payload, &mut copied);
        records.push(by_copy.map(|()| copied).map_err(|error| error.to_string()));
        if payload.len() != payload_len {
            continue;
        }
        let mut placed = vec![0xee; size];
        if let Some(place) = placed
            .get_mut(suite.header_size()..)
            .and_then(|r| r.get_mut(..payload_len))
        {
            place.copy_from_slice(&payload);
        }
        let in_place = sealer.seal_in_place(frame, &mut placed);
        records.push(in_place.map(|()| placed).map_err(|error| error.to_string()));
    }
    assert!(
        records.windows(2).all(|pair| pair[0] == pair[1]),
        "ways of sealing differ"
    );
    let Some(Ok(record)) = records.pop() else {
        return;
    };
    assert!(payload_len <= MAX_FRAME_LEN && size == suite.record_size(payload_len));
    assert!(plan.sequence != u64::MAX, "the last number was used");
    assert_eq!(
        usize::from(record[3]) << 8 | usize::from(record[4]),
        record.len() - HEADER_LEN
    );
    for opener in suites::openers(&keys) {
        let mut bytes = record.clone();
        let opened = opener
            .open_in_place(plan.sequence, &mut bytes)
            .expect("our own record");
        assert_eq!(
            (opened.content_type, &*opened.payload),
            (plan.content_type, &payload[..])
        );
    }
}
