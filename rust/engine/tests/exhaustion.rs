//! What ends when it is used up: space, records of a key, numbers; and that no key seals twice.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod common;

use std::sync::Arc;

use common::wire::Wire;
use common::{FULL, at_once, join, keys, open_from, open_with, patiently, payload, shared};
use common::{stream, suite, whole, write_state};
use ktls_engine::{
    AfterMessage, Backend, Error, KeyUpdate, NewWriteState, Pool, RecordSplit, SendStream,
    UpdateSecret, WriteFlags,
};
use ktls_record::{Keys, schedule};

/// TLS holds no more records of one byte than this for a megabyte of space.
const SMALL_WRITES: usize = (1 << 20) / 256;

fn send(stream: &Arc<SendStream>, bytes: &[u8]) -> ktls_engine::Result<usize> {
    at_once(|d| stream.send(&shared(bytes), WriteFlags::DATA, d))
}

/// A traffic secret, and the keys that it makes.
fn secret(generation: u32) -> (Vec<u8>, Keys) {
    let mut secret = vec![7; 32];
    for _ in 0..generation {
        secret = schedule::next_traffic_secret(&secret).unwrap().to_vec();
    }
    let keys = schedule::traffic_keys(suite(), &secret).unwrap();
    (secret, keys)
}

fn renewable(generation: u32) -> NewWriteState {
    let (secret, keys) = secret(generation);
    write_state(&keys).with_update_secret(UpdateSecret::new(
        suite(),
        secret.into(),
        &Backend::compiled_in("ring").unwrap(),
    ))
}

fn new_stream(wire: &Wire, new: NewWriteState) -> Arc<SendStream> {
    common::stream_with(wire, &Arc::new(Pool::new()), new)
}

fn is_reuse(result: ktls_engine::Result<()>) -> bool {
    matches!(result, Err(Error::KeyReused))
}

#[test]
fn a_full_buffer_takes_a_part_and_then_nothing() {
    let wire = Wire::full();
    let stream = stream(&wire);
    let data = payload(3 << 20);
    assert_eq!(send(&stream, &data).unwrap(), 1 << 20);
    assert!(send(&stream, b"x").unwrap_err().is_would_block());
    assert_eq!(stream.pending(), 1 << 20);
    wire.give_room(usize::MAX);
    patiently(|d| stream.flush(d)).unwrap();
    assert_eq!(stream.pending(), 0);
    assert_eq!(send(&stream, b"x").unwrap(), 1);
    // A worker that has not let go of the connection yet sends it.
    patiently(|d| stream.flush(d)).unwrap();
    assert_eq!(join(&common::open(&wire.taken())).len(), (1 << 20) + 1);
}

#[test]
fn small_writes_cost_what_they_take() {
    let wire = Wire::full();
    let stream = stream(&wire);
    let mut accepted = 0;
    while send(&stream, b"x").is_ok() {
        accepted += 1;
        assert!(accepted <= SMALL_WRITES + 8, "memory without a limit");
    }
    wire.give_room(usize::MAX);
    patiently(|d| stream.flush(d)).unwrap();
    assert_eq!(common::open(&wire.taken()).len(), accepted);
}

#[test]
fn what_must_be_whole_waits_for_space_or_is_refused() {
    let wire = Wire::full();
    let stream = stream(&wire);
    assert_eq!(send(&stream, &payload(600_000)).unwrap(), 600_000);
    let refused = at_once(|d| stream.send(&shared(&payload(600_000)), whole(23), d));
    assert!(refused.unwrap_err().is_would_block());
    assert_eq!(stream.pending(), 600_000, "no part of it was accepted");
    let never = at_once(|d| stream.send(&shared(&payload(2 << 20)), whole(23), d));
    assert!(matches!(never, Err(Error::MessageTooLong { .. })));
}

// rule: RFC 5246 6.1, RFC 8446 5.3
#[test]
fn the_last_number_is_never_used() {
    let wire = Wire::open();
    let first = u64::MAX - 3;
    let new = NewWriteState::new(&keys(3), common::sealer(&keys(3)), first, FULL);
    let stream = new_stream(&wire, new);
    let data = shared(&payload(5 * FULL));
    let sent = patiently(|d| stream.send_all(&data, WriteFlags::DATA, d));
    assert!(matches!(sent, Err(Error::NumbersUsedUp(u64::MAX))));
    assert!(matches!(
        send(&stream, b"x"),
        Err(Error::NumbersUsedUp(u64::MAX))
    ));
    patiently(|d| stream.flush(d)).unwrap();
    assert_eq!(open_from(&wire.taken(), first).len(), 3);
    let alert = stream.send_message(21, vec![1, 0], AfterMessage::Nothing);
    assert!(
        matches!(alert, Err(Error::NumbersUsedUp(_))),
        "not even for an alert"
    );
}

// rule: RFC 8446 5.5
#[test]
fn a_key_that_cannot_be_renewed_seals_as_much_as_it_may_and_an_alert() {
    let wire = Wire::open();
    let stream = new_stream(&wire, write_state(&keys(3)).with_record_limit(2));
    assert_eq!(send(&stream, b"one").unwrap(), 3);
    assert_eq!(
        send(&stream, &payload(3 * FULL)).unwrap(),
        FULL,
        "what is left of the key"
    );
    let used_up = send(&stream, b"three").unwrap_err();
    assert!(matches!(used_up, Error::KeyUsedUp { records: 2, .. }));
    stream
        .send_message(21, vec![1, 0], AfterMessage::Nothing)
        .unwrap();
    let records = common::open(&wire.taken());
    let types: Vec<u8> = records
        .iter()
        .map(|(content_type, _)| *content_type)
        .collect();
    assert_eq!(types, [23, 23, 21]);
}

// rule: RFC 8446 5.5, RFC 8446 7.2
#[test]
fn a_key_is_renewed_before_it_seals_too_much() {
    let wire = Wire::open();
    let stream = new_stream(&wire, renewable(0).with_record_limit(2));
    for word in ["a", "b", "c", "d", "e"] {
        assert_eq!(send(&stream, word.as_bytes()).unwrap(), 1);
    }
    let update = (22, vec![24, 0, 0, 1, 0]);
    let data = |word: &str| (23, word.as_bytes().to_vec());
    let epochs = [0, 1, 2].map(|generation| (secret(generation).1, 0, 3));
    let expected = [
        data("a"),
        data("b"),
        update.clone(),
        data("c"),
        data("d"),
        update,
        data("e"),
    ];
    assert_eq!(open_with(&wire.taken(), &epochs), expected);
    for generation in 0..=2 {
        let (_, keys) = secret(generation);
        assert!(is_reuse(stream.install(write_state(&keys))));
        assert!(is_reuse(
            stream.rekey(KeyUpdate::Silent, write_state(&keys))
        ));
    }
    assert_eq!(stream.sequence(), Some(1), "a refusal changes nothing");
    stream
        .rekey(KeyUpdate::Silent, write_state(&secret(3).1))
        .unwrap();
}

#[test]
fn an_updated_key_is_not_installed_again() {
    let wire = Wire::open();
    let stream = new_stream(&wire, renewable(0));
    stream.update_key(KeyUpdate::Requested).unwrap();
    assert!(is_reuse(stream.rekey(KeyUpdate::Silent, renewable(0))));
    assert!(is_reuse(stream.rekey(KeyUpdate::Silent, renewable(1))));
}

// rule: RFC 8446 5.3
#[test]
fn a_renewal_never_brings_a_key_back() {
    let wire = Wire::open();
    // The key that comes after generation 0 was used first.
    let stream = new_stream(&wire, write_state(&secret(1).1));
    stream
        .rekey(KeyUpdate::Silent, renewable(0).with_record_limit(1))
        .unwrap();
    assert!(is_reuse(stream.update_key(KeyUpdate::NotRequested)));
    assert_eq!(send(&stream, b"x").unwrap(), 1);
    let refused = send(&stream, b"y");
    assert!(
        is_reuse(refused.map(drop)),
        "an automatic one does not either"
    );
    let epochs = [(secret(0).1, 0, u64::MAX)];
    assert_eq!(open_with(&wire.taken(), &epochs), [(23, b"x".to_vec())]);
}

/// The first write after the keys: there is no batch that a refused one could join.
#[test]
fn a_refused_write_leaves_nothing_behind() {
    let wire = Wire::open();
    let stream = new_stream(&wire, write_state(&keys(3)).with_record_limit(1));
    stream.set_max_frame_len(1).unwrap();
    let refused = at_once(|d| stream.send(&shared(&payload(3000)), whole(21), d));
    assert!(matches!(refused, Err(Error::KeyUsedUp { .. })));
    stream.shutdown_write().unwrap();
    assert_eq!((wire.fins(), wire.taken_len()), (1, 0));
}

#[test]
fn a_record_that_a_refused_write_closed_is_sent() {
    let wire = Wire::open();
    let stream = new_stream(&wire, write_state(&keys(3)).with_record_limit(1));
    stream.set_max_frame_len(100).unwrap();
    let more = WriteFlags {
        more: true,
        ..WriteFlags::DATA
    };
    at_once(|d| stream.send(&shared(b"open"), more, d)).unwrap();
    assert_eq!(wire.taken_len(), 0);
    let refused = stream.send_message(21, payload(200_000), AfterMessage::Data);
    assert!(matches!(refused, Err(Error::KeyUsedUp { .. })));
    assert_eq!(common::open(&wire.taken()), [(23, b"open".to_vec())]);
}

/// A key for so many records, which carry two bytes; each write is preceded by a record of its first byte.
fn splitting(wire: &Wire, limit: u64) -> Arc<SendStream> {
    let new = write_state(&keys(3))
        .with_record_split(RecordSplit::OneByte)
        .with_record_limit(limit);
    let stream = new_stream(wire, new);
    stream.set_max_frame_len(2).unwrap();
    stream
}

#[test]
fn a_write_that_leaves_its_record_open_takes_what_the_key_has_left() {
    let more = WriteFlags {
        more: true,
        ..WriteFlags::DATA
    };
    // A record of the first byte, and one of the two others.
    let wire = Wire::open();
    let stream = splitting(&wire, 2);
    assert_eq!(
        at_once(|d| stream.send(&shared(b"abc"), more, d)).unwrap(),
        3
    );
    patiently(|d| stream.flush(d)).unwrap();
    assert_eq!(join(&common::open(&wire.taken())), b"abc");
}
