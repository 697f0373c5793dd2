//! The rules of `control::table`, row by row.

use ktls_record::control::{Action, Control, Delivery, Settings, Side, State};
use ktls_record::{Version, alert};

pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const APPLICATION_DATA: u8 = 23;

pub(crate) const OLDER: [Version; 3] = [Version::Tls10, Version::Tls11, Version::Tls12];
const BOTH: [Side; 2] = [Side::Client, Side::Server];

/// A connection that keeps tickets, and whose client offered post-handshake authentication.
pub(crate) fn settings(version: Version, side: Side) -> Settings {
    Settings {
        version,
        side,
        keeps_tickets: true,
        offered_post_handshake_auth: true,
    }
}

pub(crate) fn control(version: Version, side: Side) -> Control {
    Control::new(settings(version, side))
}

/// A handshake message.
pub(crate) fn message(message_type: u8, body: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(body.len()).expect("short").to_be_bytes();
    [&[message_type][..], &length, body].concat()
}

pub(crate) fn key_update(request: u8) -> Vec<u8> {
    message(24, &[request])
}

/// The actions, or the alert of the refusal.
pub(crate) fn take(
    control: &mut Control,
    content_type: u8,
    payload: &[u8],
) -> Result<Vec<Action>, u8> {
    let mut actions = Vec::new();
    match control.record(content_type, payload, &mut actions) {
        Ok(()) => Ok(actions),
        Err(refusal) => {
            assert_eq!(control.state(), State::Failed);
            assert!(refusal.to_string().starts_with("the peer "));
            Err(refusal.alert)
        }
    }
}

fn no_renegotiation() -> Action {
    Action::SendAlert {
        level: alert::WARNING,
        description: alert::NO_RENEGOTIATION,
    }
}

fn every_side_and_version() -> impl Iterator<Item = Control> {
    let versions = OLDER.into_iter().chain([Version::Tls13]);
    versions.flat_map(|version| BOTH.map(|side| control(version, side)))
}

#[test]
fn application_data_is_delivered() {
    for mut control in every_side_and_version() {
        assert_eq!(control.application_data(5), Ok(Delivery::Deliver));
        assert_eq!(
            take(&mut control, APPLICATION_DATA, b"five!"),
            Ok(vec![Action::Deliver])
        );
        assert_eq!(control.state(), State::Open);
    }
}

// rule: RFC 8446 5
#[test]
fn records_that_have_no_place_after_the_handshake() {
    for content_type in 0..=255 {
        if (ALERT..=APPLICATION_DATA).contains(&content_type) {
            continue;
        }
        for mut control in every_side_and_version() {
            let taken = take(&mut control, content_type, &[1]);
            assert_eq!(taken, Err(alert::UNEXPECTED_MESSAGE), "{content_type}");
        }
    }
}

// rule: RFC 8446 5
#[test]
fn change_cipher_spec_is_refused() {
    for mut control in every_side_and_version() {
        let taken = take(&mut control, CHANGE_CIPHER_SPEC, &[1]);
        assert_eq!(taken, Err(alert::UNEXPECTED_MESSAGE));
    }
}

// rule: RFC 8446 5.1
#[test]
fn alerts_and_handshake_records_are_not_empty() {
    for content_type in [ALERT, HANDSHAKE] {
        for mut control in every_side_and_version() {
            let taken = take(&mut control, content_type, &[]);
            assert_eq!(taken, Err(alert::UNEXPECTED_MESSAGE));
        }
    }
}

// rule: RFC 8446 5.1
#[test]
fn alerts_are_neither_cut_nor_joined() {
    for payload in [&[1][..], &[2], &[1, 0, 1], &[1, 0, 1, 0], &[2, 40, 0]] {
        for mut control in every_side_and_version() {
            let taken = take(&mut control, ALERT, payload);
            assert_eq!(taken, Err(alert::DECODE_ERROR), "{payload:?}");
        }
    }
}

// rule: RFC 5246 7.2.1, RFC 8446 6.1
#[test]
fn close_notify_is_the_end_of_what_is_taken() {
    for mut control in every_side_and_version() {
        let taken = take(&mut control, ALERT, &[1, 0]);
        assert_eq!(taken, Ok(vec![Action::CloseNotify]));
        assert_eq!(control.state(), State::Closed);
        assert_eq!(control.application_data(5), Ok(Delivery::Discard));
        for content_type in 0..=255 {
            assert_eq!(take(&mut control, content_type, &[2, 40]), Ok(vec![]));
        }
        assert_eq!(control.state(), State::Closed);
    }
}

// rule: RFC 8446 6
#[test]
fn tls13_alerts_have_their_meaning_whatever_their_level() {
    for level in 0..=255 {
        for description in 0..=255 {
            let mut control = control(Version::Tls13, Side::Client);
            let expected = match description {
                alert::CLOSE_NOTIFY => vec![Action::CloseNotify],
                alert::USER_CANCELED => vec![],
                _ => vec![Action::FatalAlert { description }],
            };
            assert_eq!(
                take(&mut control, ALERT, &[level, description]),
                Ok(expected)
            );
            let state = match description {
                alert::CLOSE_NOTIFY => State::Closed,
                alert::USER_CANCELED => State::Open,
                _ => State::Failed,
            };
            assert_eq!(control.state(), state);
        }
    }
}

// rule: RFC 5246 7.2
#[test]
fn older_alerts_have_levels() {
    for version in OLDER {
        for level in 0..=255 {
            for description in 0..=255 {
                let mut control = control(version, Side::Server);
                let expected = match (level, description) {
                    (alert::WARNING, alert::CLOSE_NOTIFY) => Ok(vec![Action::CloseNotify]),
                    (alert::WARNING, _) => Ok(vec![]),
                    (alert::FATAL, _) => Ok(vec![Action::FatalAlert { description }]),
                    _ => Err(alert::ILLEGAL_PARAMETER),
                };
                assert_eq!(take(&mut control, ALERT, &[level, description]), expected);
            }
        }
    }
}

// rule: RFC 5246 7.2.2, RFC 8446 6.2
#[test]
fn nothing_comes_after_a_failure() {
    for mut control in every_side_and_version() {
        take(&mut control, ALERT, &[2, 40]).expect("a fatal alert");
        assert_eq!(control.state(), State::Failed);
        assert_eq!(control.application_data(1), Ok(Delivery::Discard));
        assert_eq!(take(&mut control, ALERT, &[1, 0]), Ok(vec![]));
        assert_eq!(take(&mut control, HANDSHAKE, &key_update(1)), Ok(vec![]));
        assert_eq!(control.state(), State::Failed);
    }
    for mut control in every_side_and_version() {
        take(&mut control, 99, &[]).expect_err("no such content type");
        assert_eq!(take(&mut control, ALERT, &[1, 0]), Ok(vec![]));
        assert_eq!(control.state(), State::Failed);
    }
}

// rule: RFC 8446 4
#[test]
fn messages_that_have_no_place_after_the_handshake() {
    for message_type in 0..=255 {
        for (version, side, allowed) in [
            (Version::Tls13, Side::Client, &[4, 13, 24][..]),
            (Version::Tls13, Side::Server, &[24]),
            (Version::Tls12, Side::Client, &[0]),
            (Version::Tls12, Side::Server, &[1]),
            (Version::Tls10, Side::Client, &[0]),
            (Version::Tls10, Side::Server, &[1]),
        ] {
            let mut control = control(version, side);
            let taken = take(&mut control, HANDSHAKE, &[message_type, 0, 0, 1]);
            let unexpected = taken == Err(alert::UNEXPECTED_MESSAGE);
            assert_eq!(unexpected, !allowed.contains(&message_type), "{taken:?}");
        }
    }
}

#[test]
fn a_key_update_changes_the_read_keys() {
    for side in BOTH {
        let mut control = control(Version::Tls13, side);
        let taken = take(&mut control, HANDSHAKE, &key_update(0));
        assert_eq!(taken, Ok(vec![Action::NextReadKeys]));
    }
}

// rule: RFC 8446 4.6.3
#[test]
fn a_batch_of_requests_has_one_answer() {
    let mut control = control(Version::Tls13, Side::Server);
    let answered = Ok(vec![Action::NextReadKeys, Action::SendKeyUpdate]);
    let silent = Ok(vec![Action::NextReadKeys]);
    assert_eq!(take(&mut control, HANDSHAKE, &key_update(1)), answered);
    assert_eq!(take(&mut control, HANDSHAKE, &key_update(1)), silent);
    control.application_data(1).expect("data");
    assert_eq!(take(&mut control, HANDSHAKE, &key_update(1)), silent);
    control.key_update_sent();
    assert_eq!(take(&mut control, HANDSHAKE, &key_update(0)), silent);
    assert_eq!(take(&mut control, HANDSHAKE, &key_update(1)), answered);
}

#[test]
fn a_key_update_that_was_asked_for_is_no_flood() {
    let mut control = control(Version::Tls13, Side::Server);
    let silent = Ok(vec![Action::NextReadKeys]);
    for _ in 0..100 {
        control.key_update_requested();
        assert_eq!(take(&mut control, HANDSHAKE, &key_update(0)), silent);
    }
    for _ in 0..32 {
        assert_eq!(take(&mut control, HANDSHAKE, &key_update(0)), silent);
    }
    let refused = take(&mut control, HANDSHAKE, &key_update(0));
    assert_eq!(refused, Err(alert::UNEXPECTED_MESSAGE));
}

// rule: RFC 8446 4.6.3, RFC 8446 5.1
#[test]
fn key_updates_that_are_none() {
    for (payload, expected) in [
        (key_update(2), alert::ILLEGAL_PARAMETER),
        (key_update(255), alert::ILLEGAL_PARAMETER),
        (message(24, &[]), alert::DECODE_ERROR),
        (message(24, &[0, 0]), alert::DECODE_ERROR),
        (vec![24, 0xff, 0xff, 0xff], alert::DECODE_ERROR),
        (
            [key_update(0), vec![24]].concat(),
            alert::UNEXPECTED_MESSAGE,
        ),
        (
            [key_update(0), key_update(0)].concat(),
            alert::UNEXPECTED_MESSAGE,
        ),
    ] {
        let mut control = control(Version::Tls13, Side::Client);
        assert_eq!(
            take(&mut control, HANDSHAKE, &payload),
            Err(expected),
            "{payload:?}"
        );
    }
}

// rule: RFC 8446 4.6.1
#[test]
fn tickets_are_handed_on_where_they_are_kept() {
    let ticket = message(4, &[0x55; 200]);
    let mut keeps = control(Version::Tls13, Side::Client);
    let both = [&ticket[..], &ticket].concat();
    let expected = vec![Action::Message(ticket.clone()); 2];
    assert_eq!(take(&mut keeps, HANDSHAKE, &both), Ok(expected));

    let mut skips = Control::new(Settings {
        keeps_tickets: false,
        ..settings(Version::Tls13, Side::Client)
    });
    let before_update = [&both[..], &key_update(0)].concat();
    assert_eq!(
        take(&mut skips, HANDSHAKE, &before_update),
        Ok(vec![Action::NextReadKeys])
    );
}

// rule: RFC 8446 4.6.2
#[test]
fn a_certificate_request_needs_the_offer() {
    let request = message(13, &[0, 0, 0]);
    let mut offered = control(Version::Tls13, Side::Client);
    let expected = Ok(vec![Action::Message(request.clone())]);
    assert_eq!(take(&mut offered, HANDSHAKE, &request), expected);

    let mut silent = Control::new(Settings {
        offered_post_handshake_auth: false,
        ..settings(Version::Tls13, Side::Client)
    });
    let taken = take(&mut silent, HANDSHAKE, &request);
    assert_eq!(taken, Err(alert::UNEXPECTED_MESSAGE));
}

// rule: RFC 8446 4.6.2
#[test]
fn a_certificate_comes_when_asked_for_and_in_order() {
    let (certificate, verify, finished) = (
        message(11, &[1; 9]),
        message(15, &[2]),
        message(20, &[3; 32]),
    );
    for (answer, requests, fits) in [
        (vec![&certificate, &verify, &finished], 1, true),
        (vec![&certificate, &finished], 1, true),
        (
            vec![&certificate, &finished, &certificate, &verify, &finished],
            2,
            true,
        ),
        (vec![&certificate], 0, false),
        (vec![&verify], 1, false),
        (vec![&finished], 1, false),
        (vec![&certificate, &certificate], 2, false),
        (vec![&certificate, &verify, &verify], 1, false),
        (vec![&certificate, &finished, &certificate], 1, false),
        (vec![&certificate, &key_update(0)], 1, false),
    ] {
        let mut control = control(Version::Tls13, Side::Server);
        (0..requests).for_each(|_| control.certificate_requested());
        let bytes: Vec<u8> = answer
            .iter()
            .flat_map(|part| part.iter().copied())
            .collect();
        let expected = if fits {
            Ok(answer.into_iter().cloned().map(Action::Message).collect())
        } else {
            Err(alert::UNEXPECTED_MESSAGE)
        };
        assert_eq!(take(&mut control, HANDSHAKE, &bytes), expected);
    }
}

#[test]
fn messages_have_a_longest_length() {
    for (side, message_type, longest) in [
        (Side::Client, 4, 131_338_u32),
        (Side::Client, 13, 102_400),
        (Side::Server, 11, 102_400),
    ] {
        for (len, expected) in [
            (longest, Ok(vec![])),
            (longest + 1, Err(alert::ILLEGAL_PARAMETER)),
            (0xff_ffff, Err(alert::ILLEGAL_PARAMETER)),
        ] {
            let mut control = control(Version::Tls13, side);
            control.certificate_requested();
            let [_, high, middle, low] = len.to_be_bytes();
            let taken = take(&mut control, HANDSHAKE, &[message_type, high, middle, low]);
            assert_eq!(taken, expected, "{message_type} {len}");
        }
    }
}

// rule: RFC 5246 7.2.2, RFC 5246 7.4.1.1
#[test]
fn renegotiation_is_declined() {
    for version in OLDER {
        let mut client = control(version, Side::Client);
        let hello_request = message(0, &[]);
        assert_eq!(
            take(&mut client, HANDSHAKE, &hello_request),
            Ok(vec![no_renegotiation()])
        );
        assert_eq!(client.application_data(1), Ok(Delivery::Deliver));
        let with_a_body = take(&mut client, HANDSHAKE, &message(0, &[0]));
        assert_eq!(with_a_body, Err(alert::DECODE_ERROR));

        let mut server = control(version, Side::Server);
        for _ in 0..3 {
            let client_hello = message(1, &[0x33; 300]);
            assert_eq!(
                take(&mut server, HANDSHAKE, &client_hello),
                Ok(vec![no_renegotiation()])
            );
            assert_eq!(server.application_data(1), Ok(Delivery::Deliver));
        }
        let endless = take(&mut server, HANDSHAKE, &[1, 0xff, 0, 0]);
        assert_eq!(endless, Err(alert::ILLEGAL_PARAMETER));
    }
}
