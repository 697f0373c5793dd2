//! How a peer ends what it sends, over a local TCP connection: close_notify and what follows it, alerts, records that
//! are refused, and an end without a word.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod common;

use std::net::Shutdown;
use std::sync::Arc;
use std::thread;

use ktls_engine::{Error, ReadReadiness};
use ktls_record::{Keys, Version, alert};

use self::common::link::{ALL, DATA, Link, NOW, PEEK, Said, cbc, gcm, gcm12, server};
use self::common::{patiently, with_handler};

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CLOSE_NOTIFY: [u8; 2] = [alert::WARNING, alert::CLOSE_NOTIFY];
/// What the peer says in another protocol after close_notify; no record begins so.
const PLAIN: &[u8] = b"250 and now in clear\r\n";

/// Keys of each kind, and the version that they belong to.
fn all_keys() -> [(Keys, Version); 3] {
    [
        (gcm(), Version::Tls13),
        (gcm12(), Version::Tls12),
        (cbc(), Version::Tls12),
    ]
}

fn links() -> impl Iterator<Item = Link> {
    all_keys()
        .into_iter()
        .map(|(keys, version)| Link::controlled(&keys, server(version)))
}

/// Whether the poll descriptor would be readable.
fn look(link: &Link) -> bool {
    let mut told = false;
    link.stream.look(&mut |readable| told = readable);
    told
}

/// Nothing comes any more, whatever is done.
fn assert_ended(link: &Link) {
    for _ in 0..3 {
        assert_eq!(link.recv(100, NOW).unwrap(), b"");
        assert_eq!(link.recv(100, PEEK).unwrap(), b"");
        assert_eq!(link.recv(100, ALL).unwrap(), b"");
        assert_eq!(link.try_recv().unwrap(), b"");
        assert!(look(link));
    }
    assert_eq!(link.stream.kept_size(), 0);
}

// rule: RFC 5246 7.2.1, RFC 8446 6.1
#[test]
fn what_follows_a_close_notify_stays_on_the_socket() {
    for mut link in links() {
        let wire = [
            link.seal(DATA, b"the last words"),
            link.seal(ALERT, &CLOSE_NOTIFY),
            PLAIN.to_vec(),
        ]
        .concat();
        link.write(&wire);
        link.arrived(wire.len());
        assert_eq!(link.recv(100, NOW).unwrap(), b"the last words");
        assert_ended(&link);
        link.await_close().unwrap();
        assert_eq!(link.left(PLAIN.len()), PLAIN);
        assert_eq!(link.answers.said(), []);
    }
}

#[test]
fn another_connection_may_begin_behind_a_close_notify() {
    // Whole records under the same keys: they are somebody else's all the same.
    for mut link in links() {
        let closing = link.seal(ALERT, &CLOSE_NOTIFY);
        let next = [link.seal(DATA, b"another"), link.seal(ALERT, &CLOSE_NOTIFY)].concat();
        let wire = [closing, next.clone()].concat();
        link.write(&wire);
        link.arrived(wire.len());
        link.await_close().unwrap();
        assert_ended(&link);
        assert_eq!(link.left(next.len()), next);
    }
}

#[test]
fn a_close_notify_in_pieces_takes_nothing_of_what_follows() {
    for cut in [1, 4, 5, 6, 20] {
        for looks in [false, true] {
            for mut link in links() {
                let before = link.seal(DATA, b"before");
                let closing = link.seal(ALERT, &CLOSE_NOTIFY);
                let (head, tail) = closing.split_at(cut);
                link.write(&[&before, head].concat());
                link.arrived(before.len() + cut);
                assert_eq!(link.recv(100, NOW).unwrap(), b"before");
                // The head is taken by one of these, by itself.
                if looks {
                    assert!(!look(&link));
                } else {
                    assert!(link.is_dry());
                }
                link.write(&[tail, PLAIN].concat());
                link.arrived(tail.len() + PLAIN.len());
                if looks {
                    assert!(look(&link));
                }
                assert_ended(&link);
                assert_eq!(link.left(PLAIN.len()), PLAIN);
            }
        }
    }
}

#[test]
fn a_close_notify_that_the_poller_saw_is_the_end_for_every_call() {
    for mut link in links() {
        let wire = [&link.seal(ALERT, &CLOSE_NOTIFY), PLAIN].concat();
        link.write(&wire);
        link.arrived(wire.len());
        assert!(look(&link));
        assert!(look(&link));
        assert_eq!(link.left(PLAIN.len()), PLAIN);
        link.await_close().unwrap();
        assert_ended(&link);
    }
}

#[test]
fn a_low_water_mark_takes_nothing_behind_a_close_notify() {
    for mut link in links() {
        link.stream.set_low_water(1000).unwrap();
        let wire = [
            &link.seal(DATA, b"too little")[..],
            &link.seal(ALERT, &CLOSE_NOTIFY),
            PLAIN,
        ]
        .concat();
        link.write(&wire);
        link.arrived(wire.len());
        assert!(look(&link));
        assert_eq!(link.recv(1000, PEEK).unwrap(), b"too little");
        assert_eq!(link.recv(1000, NOW).unwrap(), b"too little");
        assert_ended(&link);
        assert_eq!(link.left(PLAIN.len()), PLAIN);
    }
}

#[test]
fn who_waits_for_all_gets_what_came_before_the_close_notify() {
    for mut link in links() {
        link.send(DATA, b"all ");
        link.send(DATA, b"of it");
        link.send(ALERT, &CLOSE_NOTIFY);
        assert_eq!(link.recv(100, ALL).unwrap(), b"all of it");
        assert_ended(&link);
    }
}

// rule: RFC 5246 7.2.1, RFC 8446 6.1
#[test]
fn an_end_without_close_notify_is_said_once() {
    for mut link in links() {
        link.send(DATA, b"cut off");
        link.peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(link.recv(100, ALL).unwrap(), b"cut off");
        assert!(matches!(link.recv(100, NOW), Err(Error::NoCloseNotify)));
        assert_ended(&link);
        assert!(matches!(link.await_close(), Err(Error::NoCloseNotify)));
        assert_eq!(link.answers.said(), []);
    }
}

#[test]
fn an_end_inside_a_record_is_one_without_close_notify() {
    for mut link in links() {
        let record = link.seal(DATA, b"cut off");
        link.write(&record[..12]);
        link.peer.shutdown(Shutdown::Write).unwrap();
        assert!(matches!(link.recv(100, NOW), Err(Error::NoCloseNotify)));
        assert_ended(&link);
    }
}

// rule: RFC 8446 6.2
#[test]
fn a_fatal_alert_is_raised_once_and_not_answered() {
    for mut link in links() {
        link.send(DATA, b"before");
        link.send(ALERT, &[alert::FATAL, 48]);
        link.send(DATA, b"after");
        assert_eq!(link.recv(6, ALL).unwrap(), b"before");
        assert!(matches!(link.recv(100, NOW), Err(Error::PeerAlert(48))));
        assert_ended(&link);
        assert_eq!(link.answers.said(), [Said::EndOfData]);
    }
}

// rule: RFC 5246 7.2, RFC 8446 6
#[test]
fn a_warning_is_fatal_in_1_3_and_passed_over_before() {
    for (keys, version) in all_keys() {
        let mut link = Link::controlled(&keys, server(version));
        link.send(ALERT, &[alert::WARNING, 100]);
        link.send(DATA, b"data");
        if version == Version::Tls13 {
            assert!(matches!(link.recv(100, NOW), Err(Error::PeerAlert(100))));
            assert_ended(&link);
        } else {
            assert_eq!(link.recv(100, NOW).unwrap(), b"data");
        }
    }
}

// rule: RFC 5246 7.2.2, RFC 8446 5.2, RFC 8446 6.2
#[test]
fn a_record_that_does_not_open_is_answered_and_raised_once() {
    for room in [100, 5] {
        for mut link in links() {
            let good = link.seal(DATA, b"good");
            let mut bad = link.seal(DATA, b"a bad one");
            *bad.last_mut().unwrap() ^= 1;
            link.write(&[good, bad].concat());
            assert_eq!(link.recv(4, ALL).unwrap(), b"good");
            let error = link.recv(room, NOW).unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::Refused {
                        alert: alert::BAD_RECORD_MAC,
                        ..
                    }
                ),
                "{error:?}"
            );
            let said = [Said::Alert(alert::FATAL, alert::BAD_RECORD_MAC)];
            assert_eq!(link.answers.said(), said);
            // Nobody touches the socket again.
            let more = link.seal(DATA, b"more");
            link.write(&more);
            link.arrived(more.len());
            assert_ended(&link);
            assert!(link.await_close().is_err());
            assert_eq!(link.left(more.len()), more);
            assert_eq!(link.answers.said(), said);
        }
    }
}

#[test]
fn what_cannot_be_a_record_is_answered_and_raised_once() {
    for mut link in links() {
        link.write(PLAIN);
        assert!(matches!(link.recv(100, NOW), Err(Error::Refused { .. })));
        assert_ended(&link);
        assert_eq!(link.answers.said().len(), 1);
    }
}

// rule: RFC 8446 5
#[test]
fn types_that_have_no_place_are_refused() {
    for (content_type, payload) in [
        (20, &[1][..]),
        (99, b"unknown"),
        (ALERT, b""),
        (HANDSHAKE, b""),
        (HANDSHAKE, &[2, 0, 0, 0]),
    ] {
        for mut link in links() {
            link.send(content_type, payload);
            let error = link.recv(100, NOW).unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::Refused {
                        alert: alert::UNEXPECTED_MESSAGE,
                        ..
                    }
                ),
                "{content_type} {payload:?}: {error:?}"
            );
            assert_ended(&link);
        }
    }
}

#[test]
fn await_close_takes_no_data_away() {
    for mut link in links() {
        link.send(DATA, b"still to be read");
        assert!(matches!(
            link.await_close(),
            Err(Error::DataBeforeCloseNotify)
        ));
        link.send(ALERT, &CLOSE_NOTIFY);
        link.write(PLAIN);
        assert!(matches!(
            link.await_close(),
            Err(Error::DataBeforeCloseNotify)
        ));
        assert_eq!(link.stream.pending(), 16);
        assert_eq!(link.recv(100, NOW).unwrap(), b"still to be read");
        link.await_close().unwrap();
        assert_ended(&link);
        assert_eq!(link.left(PLAIN.len()), PLAIN);
    }
}

#[test]
fn await_close_passes_over_empty_records() {
    for mut link in links() {
        link.send(DATA, b"");
        link.send(ALERT, &CLOSE_NOTIFY);
        link.await_close().unwrap();
    }
}

#[test]
fn a_reader_and_one_who_awaits_the_close_share_a_stream() {
    for mut link in links() {
        let stream = Arc::clone(&link.stream);
        let reader = thread::spawn(move || {
            let mut received = Vec::new();
            loop {
                let part = patiently(|deadline| stream.recv(7, NOW, deadline)).unwrap();
                if part.is_empty() {
                    return received;
                }
                received.extend(part);
            }
        });
        let stream = Arc::clone(&link.stream);
        let closer = thread::spawn(move || {
            loop {
                match patiently(|deadline| stream.await_close(deadline)) {
                    // The other one takes it.
                    Err(Error::DataBeforeCloseNotify) => thread::yield_now(),
                    other => return other,
                }
            }
        });
        let mut sent = Vec::new();
        for n in 0..50u8 {
            sent.extend([n; 20]);
            link.send(DATA, &[n; 20]);
        }
        link.send(ALERT, &CLOSE_NOTIFY);
        link.write(PLAIN);
        assert_eq!(reader.join().unwrap(), sent);
        closer.join().unwrap().unwrap();
        assert_eq!(link.left(PLAIN.len()), PLAIN);
    }
}

#[test]
fn who_awaits_the_close_can_be_interrupted_and_go_on() {
    for mut link in links() {
        let closing = link.seal(ALERT, &CLOSE_NOTIFY);
        link.write(&closing[..10]);
        let raised = with_handler(|| true, |deadline| link.stream.await_close(deadline));
        assert!(matches!(raised, Err(Error::Interrupted)), "{raised:?}");
        link.write(&[&closing[10..], PLAIN].concat());
        link.await_close().unwrap();
        assert_eq!(link.left(PLAIN.len()), PLAIN);
    }
}

#[test]
fn data_of_an_interrupted_call_comes_before_the_end() {
    for mut link in links() {
        link.send(DATA, b"kept");
        let raised = with_handler(|| true, |deadline| link.stream.recv(100, ALL, deadline));
        assert!(matches!(raised, Err(Error::Interrupted)), "{raised:?}");
        link.send(ALERT, &CLOSE_NOTIFY);
        assert_eq!(link.recv(100, ALL).unwrap(), b"kept");
        assert_ended(&link);
    }
}

#[test]
fn a_reset_is_raised_once() {
    for mut link in links() {
        link.send(DATA, b"before");
        assert_eq!(link.recv(100, NOW).unwrap(), b"before");
        link.reset();
        let error = link.recv(100, NOW).unwrap_err();
        assert!(matches!(error, Error::Connection { .. }), "{error:?}");
        assert_ended(&link);
    }
}
