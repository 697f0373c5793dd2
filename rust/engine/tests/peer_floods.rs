//! What a peer may send only so often before it sends data, over a local TCP connection.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod common;

use ktls_engine::Error;
use ktls_record::{Version, alert};

use self::common::link::{ALL, DATA, Link, Said, gcm12, keys_after, server};

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
const UPDATE_REQUESTED: [u8; 5] = [24, 0, 0, 1, 1];
const SECRET: [u8; 32] = [7; 32];

fn link() -> Link {
    Link::of_secret(&SECRET, server(Version::Tls13))
}

/// Sends this until it is refused; returns how many were taken.
fn flood(mut link: Link, message: impl Fn(&mut Link, usize)) -> usize {
    for number in 0..100 {
        message(&mut link, number);
        match link.try_recv_all() {
            Ok(()) => {}
            Err(Error::Refused { alert, .. }) => {
                assert_eq!(alert, alert::UNEXPECTED_MESSAGE);
                let last = link.answers.said().pop();
                assert_eq!(last, Some(Said::Alert(alert::FATAL, alert)));
                return number;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    panic!("it takes anything");
}

// rule: RFC 5246 F.5
#[test]
fn nobody_sends_for_ever_what_is_no_data() {
    let tls12 = || Link::controlled(&gcm12(), server(Version::Tls12));
    assert_eq!(flood(link(), |link, _| link.send(DATA, b"")), 32);
    assert_eq!(flood(tls12(), |link, _| link.send(DATA, b"")), 32);
    assert_eq!(flood(link(), |link, _| link.send(ALERT, &[1, 90])), 4);
    assert_eq!(flood(tls12(), |link, _| link.send(ALERT, &[1, 100])), 4);
    let hello = |link: &mut Link, _| link.send(HANDSHAKE, &[1, 0, 0, 0]);
    assert_eq!(flood(tls12(), hello), 4);
    let update = |link: &mut Link, number| {
        link.send(HANDSHAKE, &UPDATE_REQUESTED);
        link.change_key(&keys_after(&SECRET, number + 1));
    };
    assert_eq!(flood(link(), update), 32);
}

// rule: RFC 8446 4.6.3
#[test]
fn answers_to_requests_of_ours_are_no_flood() {
    let mut link = link();
    for number in 0..100 {
        link.stream.expect_key_update().unwrap();
        link.send(HANDSHAKE, &UPDATE);
        link.change_key(&keys_after(&SECRET, number + 1));
        link.arrived(1);
        assert!(link.is_dry());
    }
    // Those that nobody has asked for are still counted.
    let update = |link: &mut Link, number| {
        link.send(HANDSHAKE, &UPDATE);
        link.change_key(&keys_after(&SECRET, 100 + number + 1));
    };
    assert_eq!(flood(link, update), 32);
}

#[test]
fn data_starts_the_counts_again() {
    let mut link = link();
    for round in 0..5 {
        for number in 0..30 {
            link.send(DATA, b"");
            link.send(HANDSHAKE, &UPDATE);
            link.change_key(&keys_after(&SECRET, round * 30 + number + 1));
        }
        link.send(DATA, b"data");
        assert_eq!(link.recv(4, ALL).unwrap(), b"data");
    }
}
