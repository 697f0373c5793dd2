//! What a peer says beside its data, over a local TCP connection: KeyUpdates and their answers in the stream of the send
//! half, messages for the library of the handshake, warnings, and too much of any of these.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod common;

use std::io::Read;
use std::sync::Arc;
use std::thread;

use ktls_engine::{
    Backend, Data, Error, NewWriteState, Pool, ReadReadiness, SendStream, UpdateSecret, WriteFlags,
};
use ktls_record::{Version, alert};

use self::common::link::{
    ALL, DATA, Link, NOW, PEEK, Said, gcm, gcm12, keys_after, server, ticket_client,
};
use self::common::{
    OVERHEAD, at_once, open_with, patiently, payload, suite, with_handler, write_state,
};

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
const UPDATE_REQUESTED: [u8; 5] = [24, 0, 0, 1, 1];
const TICKET: [u8; 7] = [4, 0, 0, 3, 7, 8, 9];
/// Of the peer, and ours.
const SECRET: [u8; 32] = [7; 32];
const OURS: [u8; 32] = [9; 32];

fn link() -> Link {
    Link::of_secret(&SECRET, server(Version::Tls13))
}

/// A link whose answers leave through a send half of its own, and that half.
fn both_halves() -> (Link, Arc<SendStream>) {
    let link = Link::without_keys(&keys_after(&SECRET, 0));
    let sender = SendStream::new(Box::new(link.transport.clone()), Arc::new(Pool::new()));
    let secret = UpdateSecret::new(
        suite(),
        OURS.to_vec().into(),
        &Backend::compiled_in("ring").unwrap(),
    );
    let new: NewWriteState = write_state(&keys_after(&OURS, 0)).with_update_secret(secret);
    sender.install(new).unwrap();
    link.take_over(
        &keys_after(&SECRET, 0),
        server(Version::Tls13),
        Some(&SECRET),
        Box::new(Arc::downgrade(&sender)),
    );
    (link, sender)
}

fn send(sender: &Arc<SendStream>, data: &[u8]) {
    patiently(|deadline| sender.send_all(&Data::Borrowed(data), WriteFlags::DATA, deadline))
        .unwrap();
}

/// What the peer reads next, of so many bytes on the wire.
fn wire(link: &mut Link, size: usize) -> Vec<u8> {
    let mut wire = vec![0; size];
    link.peer.read_exact(&mut wire).unwrap();
    wire
}

fn refused(error: Error) -> u8 {
    match error {
        Error::Refused { alert, .. } => alert,
        other => panic!("{other:?}"),
    }
}

// rule: RFC 8446 4.6.3
#[test]
fn the_next_keys_open_what_follows_a_key_update() {
    let mut link = link();
    for (number, message) in [UPDATE, UPDATE_REQUESTED, UPDATE].iter().enumerate() {
        let mut bytes = link.seal(DATA, b"before");
        bytes.extend(link.seal(HANDSHAKE, message));
        link.change_key(&keys_after(&SECRET, number + 1));
        bytes.extend(link.seal(DATA, b"after"));
        link.write(&bytes);
        assert_eq!(link.recv(11, PEEK).unwrap().len(), 11);
        assert_eq!(link.recv(11, ALL).unwrap(), b"beforeafter");
        assert_eq!(link.stream.sequence(), Some(1));
    }
    assert_eq!(link.answers.said(), [Said::KeyUpdate]);
    assert_eq!(link.stream.kept_size(), 0);
}

// rule: RFC 8446 4.6.3
#[test]
fn the_old_keys_open_nothing_after_a_key_update() {
    let mut link = link();
    link.send(HANDSHAKE, &UPDATE);
    link.send(DATA, b"still the old ones");
    let error = link.recv(100, NOW).unwrap_err();
    assert_eq!(refused(error), alert::BAD_RECORD_MAC);
}

#[test]
fn a_lone_request_is_answered_by_every_call_that_looks() {
    let calls: [fn(&Link); 5] = [
        |link| assert!(link.is_dry()),
        |link| assert!(at_once(|deadline| link.stream.recv(9, PEEK, deadline)).is_err()),
        |link| assert!(at_once(|deadline| link.stream.await_close(deadline)).is_err()),
        |link| {
            let raised = with_handler(|| true, |deadline| link.stream.recv(9, ALL, deadline));
            assert!(matches!(raised, Err(Error::Interrupted)), "{raised:?}");
        },
        |link| {
            link.stream.set_low_water(2).unwrap();
            link.stream.look(&mut |readable| assert!(!readable));
        },
    ];
    for call in calls {
        let mut link = link();
        let message = link.seal(HANDSHAKE, &UPDATE_REQUESTED);
        link.write(&message);
        link.arrived(message.len());
        call(&link);
        assert_eq!(link.answers.said(), [Said::KeyUpdate]);
        assert_eq!(link.stream.kept_size(), 0);
    }
}

// rule: RFC 8446 4.6.3
#[test]
fn the_answer_precedes_later_data_and_nobody_has_to_write() {
    let (mut link, sender) = both_halves();
    send(&sender, b"before");
    link.send(HANDSHAKE, &UPDATE_REQUESTED);
    link.change_key(&keys_after(&SECRET, 1));
    link.send(DATA, b"x");
    assert_eq!(link.recv(10, NOW).unwrap(), b"x");
    // Nobody has written since.
    let first = wire(&mut link, 6 + 5 + 2 * OVERHEAD);
    let opened = open_with(&first, &[(keys_after(&OURS, 0), 0, 2)]);
    assert_eq!(
        opened,
        [(DATA, b"before".to_vec()), (HANDSHAKE, UPDATE.to_vec())]
    );
    send(&sender, b"after");
    let second = wire(&mut link, 5 + OVERHEAD);
    let opened = open_with(&second, &[(keys_after(&OURS, 1), 0, 1)]);
    assert_eq!(opened, [(DATA, b"after".to_vec())]);
}

// rule: RFC 8446 4.6.3
#[test]
fn requests_while_an_answer_is_unsent_are_owed_one() {
    let (mut link, sender) = both_halves();
    let data = payload(8 << 20);
    let mut accepted = 0;
    // The peer does not read: what is said now stays behind this.
    while let Ok(count) = at_once(|deadline| {
        sender.send(
            &Data::Borrowed(&data[accepted..]),
            WriteFlags::DATA,
            deadline,
        )
    }) {
        accepted += count;
    }
    for number in 1..=20 {
        link.send(HANDSHAKE, &UPDATE_REQUESTED);
        link.change_key(&keys_after(&SECRET, number));
        link.send(DATA, b"x");
        assert_eq!(link.recv(10, NOW).unwrap(), b"x");
    }
    let mut peer = link.peer.try_clone().unwrap();
    let reader = thread::spawn(move || {
        let mut wire = Vec::new();
        peer.read_to_end(&mut wire).unwrap();
        wire
    });
    send(&sender, b"after");
    patiently(|deadline| sender.flush(deadline)).unwrap();
    // With an answer sent, the next request gets its own.
    link.send(HANDSHAKE, &UPDATE_REQUESTED);
    link.change_key(&keys_after(&SECRET, 21));
    link.send(DATA, b"y");
    assert_eq!(link.recv(10, NOW).unwrap(), b"y");
    patiently(|deadline| sender.flush(deadline)).unwrap();
    rustix::net::shutdown(link.transport.socket(), rustix::net::Shutdown::Write).unwrap();
    let wire = reader.join().unwrap();
    let records = records_until_update(&wire, accepted);
    let epochs = [
        (keys_after(&OURS, 0), 0, records),
        (keys_after(&OURS, 1), 0, u64::MAX),
    ];
    let opened = open_with(&wire, &epochs);
    let said: Vec<_> = opened
        .iter()
        .filter(|(kind, _)| *kind == HANDSHAKE)
        .collect();
    assert_eq!(said.len(), 2);
    let sent: Vec<u8> = opened
        .iter()
        .filter(|(kind, _)| *kind == DATA)
        .flat_map(|(_, payload)| payload.clone())
        .collect();
    assert_eq!(sent, [&data[..accepted], b"after"].concat());
}

/// Records on the wire that hold these data bytes, and the KeyUpdate behind them.
fn records_until_update(wire: &[u8], data: usize) -> u64 {
    let (mut at, mut seen, mut records) = (0, 0, 1);
    while seen < data {
        let size = 5 + usize::from(u16::from_be_bytes([wire[at + 3], wire[at + 4]]));
        at += size;
        seen += size - OVERHEAD;
        records += 1;
    }
    records
}

#[test]
fn an_answer_to_a_stream_that_has_ended_is_none() {
    let (mut link, sender) = both_halves();
    sender.send_close_notify().unwrap();
    link.send(HANDSHAKE, &UPDATE_REQUESTED);
    link.change_key(&keys_after(&SECRET, 1));
    link.send(DATA, b"goes on");
    assert_eq!(link.recv(7, ALL).unwrap(), b"goes on");
    let said = wire(&mut link, 2 + OVERHEAD);
    assert_eq!(
        open_with(&said, &[(keys_after(&OURS, 0), 0, 1)])[0].0,
        ALERT
    );
    drop(sender);
    link.send(HANDSHAKE, &UPDATE_REQUESTED);
    link.change_key(&keys_after(&SECRET, 2));
    link.send(DATA, b"and on");
    assert_eq!(link.recv(6, ALL).unwrap(), b"and on");
}

#[test]
fn messages_wait_between_the_data_around_them() {
    let mut link = Link::controlled(&gcm(), ticket_client());
    let parts: [(u8, &[u8]); 6] = [
        (DATA, b"before"),
        (HANDSHAKE, &TICKET),
        (DATA, b"between"),
        (HANDSHAKE, &TICKET[..3]),
        (HANDSHAKE, &TICKET[3..]),
        (DATA, b"after"),
    ];
    let bytes: Vec<u8> = parts
        .iter()
        .flat_map(|&(kind, part)| link.seal(kind, part))
        .collect();
    link.write(&bytes);
    link.arrived(bytes.len());
    for data in [b"before", &b"between"[..]] {
        assert_eq!(link.recv(data.len(), ALL).unwrap(), data);
        // Whatever is called says that a message waits, until it is taken.
        for flags in [NOW, PEEK, ALL] {
            assert!(matches!(link.recv(100, flags), Err(Error::MessageWaits)));
        }
        assert!(matches!(link.await_close(), Err(Error::MessageWaits)));
        assert!(link.stream.has_messages());
        assert_eq!(link.stream.take_messages().unwrap(), [TICKET]);
        assert!(!link.stream.has_messages());
    }
    assert_eq!(link.recv(100, NOW).unwrap(), b"after");
    assert!(link.is_dry());
    assert_eq!(link.stream.kept_size(), 0);
}

#[test]
fn a_message_that_came_with_data_is_told_of_without_more() {
    let mut link = Link::controlled(&gcm(), ticket_client());
    let bytes = [link.seal(DATA, b"data"), link.seal(HANDSHAKE, &TICKET)].concat();
    link.write(&bytes);
    link.arrived(bytes.len());
    assert_eq!(link.recv(100, NOW).unwrap(), b"data");
    // A ticket is nothing to read, so selectors say nothing.
    let mut told = true;
    link.stream.tell_rest(&mut |readable| told = readable);
    assert!(!told);
    // Nobody waits for the socket first: the handler would be asked in the middle of it.
    let said = with_handler(|| true, |deadline| link.stream.recv(100, NOW, deadline));
    assert!(matches!(said, Err(Error::MessageWaits)), "{said:?}");
}

#[test]
fn tickets_that_nobody_keeps_are_passed_over() {
    let settings = ktls_record::control::Settings {
        keeps_tickets: false,
        ..ticket_client()
    };
    let mut link = Link::controlled(&gcm(), settings);
    link.send(DATA, b"data ");
    for _ in 0..10 {
        link.send(HANDSHAKE, &TICKET);
    }
    link.send(DATA, b"and data");
    assert_eq!(link.recv(13, ALL).unwrap(), b"data and data");
    assert!(!link.stream.has_messages());
}

#[test]
fn records_byte_by_byte_into_buffers_of_a_byte() {
    let mut link = Link::of_secret(&SECRET, ticket_client());
    let mut bytes = link.seal(DATA, b"by");
    bytes.extend(link.seal(HANDSHAKE, &TICKET));
    bytes.extend(link.seal(HANDSHAKE, &UPDATE_REQUESTED));
    link.change_key(&keys_after(&SECRET, 1));
    bytes.extend(link.seal(DATA, b"tes"));
    bytes.extend(link.seal(ALERT, &[1, 0]));
    bytes.extend(b"clear");
    let mut peer = link.peer.try_clone().unwrap();
    let writer = thread::spawn(move || {
        for byte in bytes {
            std::io::Write::write_all(&mut peer, &[byte]).unwrap();
        }
    });
    let mut received = Vec::new();
    let mut buffer = [0];
    loop {
        match link.recv_into(&mut buffer) {
            Ok(0) => break,
            Ok(_) => received.push(buffer[0]),
            Err(Error::MessageWaits) => {
                assert_eq!(link.stream.take_messages().unwrap(), [TICKET]);
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    writer.join().unwrap();
    assert_eq!(received, b"bytes");
    assert_eq!(link.answers.said(), [Said::KeyUpdate]);
    assert_eq!(link.left(5), b"clear");
}

#[test]
fn a_record_larger_than_the_buffer_comes_in_parts_around_control() {
    let mut link = link();
    let data = payload(16_384);
    link.send(DATA, &data);
    link.send(HANDSHAKE, &UPDATE);
    link.change_key(&keys_after(&SECRET, 1));
    link.send(DATA, &data);
    let mut received = Vec::new();
    while received.len() < 2 * data.len() {
        received.extend(link.recv(1000, NOW).unwrap());
    }
    assert_eq!(received, [&data[..], &data].concat());
    assert_eq!(link.stream.kept_size(), 0);
}

// rule: RFC 5246 7.2.2
#[test]
fn renegotiation_is_refused_by_a_warning_and_data_goes_on() {
    let mut link = Link::controlled(&gcm12(), server(Version::Tls12));
    for round in 1..=3 {
        link.send(HANDSHAKE, &[1, 0, 0, 4, 1, 2, 3, 4]);
        link.send(DATA, b"data");
        assert_eq!(link.recv(4, ALL).unwrap(), b"data");
        let refusal = Said::Alert(alert::WARNING, alert::NO_RENEGOTIATION);
        assert_eq!(link.answers.said(), vec![refusal; round]);
    }
}
