//! The order of bytes, records and numbers on the wire, whoever writes.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod common;

use std::cell::Cell;
use std::sync::Arc;
use std::thread;

use common::wire::{Act, Gate, Wire};
use common::{FULL, at_once, join, keys, open, open_with, patiently, payload, shared, stream};
use common::{once, with_handler, write_state};
use ktls_engine::{
    AfterMessage, Completion, Data, Error, KeyUpdate, Outcome, Pool, RecordSplit, WriteFlags,
};

const LONG_WRITE: usize = 3 << 20;

fn lens(records: &[common::Record]) -> Vec<usize> {
    records.iter().map(|(_, payload)| payload.len()).collect()
}

fn ended(completions: &[Completion]) -> Vec<(u64, usize)> {
    completions
        .iter()
        .map(|completion| match &completion.outcome {
            Outcome::Ended(Ok(len)) => (completion.id, *len),
            other => panic!("{other:?}"),
        })
        .collect()
}

/// Collects until so many have come.
fn completions(pool: &Pool, count: usize) -> Vec<(u64, usize)> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(ended(&pool.completions()));
    }
    all
}

#[test]
fn what_waits_behind_a_write_is_framed_when_that_ends() {
    let (wire, pool, gate) = (Wire::open(), Arc::new(Pool::new()), Gate::default());
    let stream = common::stream_in(&wire, &pool);
    wire.script([Act::Hold(gate.clone())]);
    let data = payload(100_000);
    thread::scope(|scope| {
        let writer =
            scope.spawn(|| patiently(|d| stream.send(&shared(&data), WriteFlags::DATA, d)));
        gate.wait_for_arrival();
        let has_ended = stream.async_write(7, &Data::Borrowed(b"behind")).unwrap();
        assert!(!has_ended, "a write is in the middle");
        gate.open();
        assert_eq!(writer.join().unwrap().unwrap(), data.len());
    });
    patiently(|d| stream.flush(d)).unwrap();
    assert_eq!(completions(&pool, 1), [(7, 6)]);
    assert_eq!(join(&open(&wire.taken())), [&data[..], b"behind"].concat());
}

#[test]
fn asynchronous_writes_come_in_order_and_before_every_later_write() {
    let (wire, pool) = (Wire::full(), Arc::new(Pool::new()));
    let stream = common::stream_in(&wire, &pool);
    let first = payload(LONG_WRITE);
    assert!(!stream.async_write(1, &shared(&first)).unwrap());
    assert!(!stream.async_write(2, &Data::Borrowed(b"second")).unwrap());
    let refused = at_once(|d| stream.send(&Data::Borrowed(b"later"), WriteFlags::DATA, d));
    assert!(refused.is_err_and(|error| error.is_would_block()));
    let later = with_handler(
        once(|| {
            wire.give_room(usize::MAX);
            false
        }),
        |d| stream.send(&Data::Borrowed(b"later"), WriteFlags::DATA, d),
    );
    assert_eq!(later.unwrap(), 5);
    patiently(|d| stream.flush(d)).unwrap();
    assert_eq!(completions(&pool, 2), [(1, LONG_WRITE), (2, 6)]);
    let sent = join(&open(&wire.taken()));
    assert_eq!(sent, [&first[..], b"second", b"later"].concat());
    pool.stop_completions();
    assert!(pool.completions().is_empty(), "each has ended once");
}

#[test]
fn a_write_that_is_sent_at_once_has_no_completion() {
    let (wire, pool) = (Wire::open(), Arc::new(Pool::new()));
    let stream = common::stream_in(&wire, &pool);
    assert!(stream.async_write(1, &Data::Borrowed(b"now")).unwrap());
    pool.stop_completions();
    assert!(pool.completions().is_empty());
}

#[test]
fn a_signal_handler_writes_in_the_middle_of_the_write_that_it_interrupts() {
    let wire = Wire::full();
    let stream = stream(&wire);
    let data = payload(LONG_WRITE);
    let nested = Cell::new(None);
    let handler = once(|| {
        wire.give_room(usize::MAX);
        let sent = patiently(|d| stream.send(&Data::Borrowed(b"nested"), WriteFlags::DATA, d));
        nested.set(Some(sent));
        false
    });
    let sent = with_handler(handler, |d| {
        stream.send(&shared(&data), WriteFlags::DATA, d)
    });
    assert_eq!(sent.unwrap(), data.len());
    assert_eq!(nested.take().unwrap().unwrap(), 6);
    patiently(|d| stream.flush(d)).unwrap();
    let mut records = open(&wire.taken());
    let at = records.iter().position(|(_, payload)| payload == b"nested");
    let at = at.expect("in a record of its own");
    assert!(0 < at && at + 1 < records.len(), "in the middle");
    records.remove(at);
    assert_eq!(join(&records), data);
}

#[test]
fn asynchronous_writes_of_a_signal_handler_come_before_its_other_writes() {
    let (wire, pool) = (Wire::full(), Arc::new(Pool::new()));
    let stream = common::stream_in(&wire, &pool);
    let data = payload(LONG_WRITE);
    let handler = once(|| {
        assert!(!stream.async_write(5, &Data::Borrowed(b"one")).unwrap());
        wire.give_room(usize::MAX);
        let sent = patiently(|d| stream.send(&Data::Borrowed(b"two"), WriteFlags::DATA, d));
        assert_eq!(sent.unwrap(), 3);
        false
    });
    let sent = with_handler(handler, |d| {
        stream.send(&shared(&data), WriteFlags::DATA, d)
    });
    assert_eq!(sent.unwrap(), data.len());
    patiently(|d| stream.flush(d)).unwrap();
    assert_eq!(completions(&pool, 1), [(5, 3)]);
    let mut records = open(&wire.taken());
    let place = |wanted: &[u8]| records.iter().position(|(_, payload)| payload == wanted);
    let (one, two) = (place(b"one").unwrap(), place(b"two").unwrap());
    assert!(one < two && two + 1 < records.len());
    records.remove(two);
    records.remove(one);
    assert_eq!(join(&records), data);
}

// rule: RFC 7457 2.3
#[test]
fn only_the_first_record_of_a_write_is_preceded() {
    let wire = Wire::open();
    let new = write_state(&keys(3)).with_record_split(RecordSplit::OneByte);
    let stream = common::stream_with(&wire, &Arc::new(Pool::new()), new);
    let data = payload(40 * FULL + 2);
    patiently(|d| stream.send(&shared(&data), WriteFlags::DATA, d)).unwrap();
    patiently(|d| stream.send(&Data::Borrowed(b"abc"), WriteFlags::DATA, d)).unwrap();
    patiently(|d| stream.flush(d)).unwrap();
    let records = open(&wire.taken());
    let mut expected = vec![1];
    expected.extend([FULL; 40]);
    expected.extend([1, 1, 2]);
    assert_eq!(lens(&records), expected);
    assert_eq!(join(&records), [&data[..], b"abc"].concat());
}

#[test]
fn an_alert_follows_what_waits_and_ends_the_data() {
    let (wire, pool) = (Wire::full(), Arc::new(Pool::new()));
    let stream = common::stream_in(&wire, &pool);
    let data = payload(LONG_WRITE);
    assert!(!stream.async_write(1, &shared(&data)).unwrap());
    let close_notify = vec![1, 0];
    stream
        .send_message(21, close_notify.clone(), AfterMessage::Nothing)
        .unwrap();
    let error = stream.async_write(2, &Data::Borrowed(b"late")).unwrap_err();
    assert!(matches!(error, Error::DataEnded));
    wire.give_room(usize::MAX);
    patiently(|d| stream.flush(d)).unwrap();
    let mut records = open(&wire.taken());
    assert_eq!(records.pop().unwrap(), (21, close_notify));
    assert_eq!(join(&records), data);
}

// rule: RFC 8446 4.6.3
#[test]
fn what_was_accepted_before_a_change_of_the_key_keeps_the_key() {
    let (wire, pool) = (Wire::full(), Arc::new(Pool::new()));
    let stream = common::stream_in(&wire, &pool);
    let data = payload(LONG_WRITE);
    assert!(!stream.async_write(1, &shared(&data)).unwrap());
    stream
        .rekey(KeyUpdate::Requested, write_state(&keys(4)))
        .unwrap();
    assert_eq!(stream.sequence(), Some(0));
    stream.async_write(2, &Data::Borrowed(b"after")).unwrap();
    wire.give_room(usize::MAX);
    patiently(|d| stream.flush(d)).unwrap();
    let before = (LONG_WRITE / FULL) as u64;
    let epochs = [(keys(3), 0, before + 1), (keys(4), 0, u64::MAX)];
    let mut records = open_with(&wire.taken(), &epochs);
    assert_eq!(records.pop().unwrap(), (23, b"after".to_vec()));
    assert_eq!(records.pop().unwrap(), (22, vec![24, 0, 0, 1, 1]));
    assert_eq!(join(&records), data);
}
