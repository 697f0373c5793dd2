//! Handshake messages cut into records anywhere, what may stand between the parts, floods, and noise.

use ktls_record::control::{Action, Control, Delivery, Side, State};
use ktls_record::{Version, alert};

use crate::control::{
    ALERT, APPLICATION_DATA, HANDSHAKE, OLDER, control, key_update, message, take,
};

/// All actions of one stream of handshake bytes, cut before each of `cuts`.
fn cut(control: &mut Control, bytes: &[u8], cuts: &[usize]) -> Result<Vec<Action>, u8> {
    let mut actions = Vec::new();
    let mut begin = 0;
    for &end in cuts.iter().chain([&bytes.len()]) {
        actions.extend(take(control, HANDSHAKE, &bytes[begin..end])?);
        begin = end;
    }
    Ok(actions)
}

/// Streams of messages that end a record with a whole message.
fn streams() -> Vec<(Version, Side, Vec<u8>)> {
    let ticket = message(4, &[0x44; 30]);
    let answer = [
        message(11, &[1; 5]),
        message(15, &[]),
        message(20, &[2; 32]),
    ]
    .concat();
    vec![
        (Version::Tls13, Side::Client, key_update(1)),
        (Version::Tls13, Side::Server, key_update(0)),
        (Version::Tls13, Side::Server, key_update(9)),
        (Version::Tls13, Side::Server, message(24, &[])),
        (Version::Tls13, Side::Client, ticket.clone()),
        (
            Version::Tls13,
            Side::Client,
            [ticket.clone(), message(13, &[7; 20]), ticket].concat(),
        ),
        (Version::Tls13, Side::Server, answer),
        (Version::Tls13, Side::Server, message(1, &[3; 40])),
        (Version::Tls12, Side::Client, [0; 12].to_vec()),
        (Version::Tls10, Side::Server, message(1, &[3; 40])),
        (Version::Tls12, Side::Server, message(2, &[3; 40])),
    ]
}

#[test]
fn messages_cut_at_any_two_places_mean_the_same() {
    for (version, side, bytes) in streams() {
        let fresh = || {
            let mut fresh = control(version, side);
            fresh.certificate_requested();
            fresh
        };
        let whole = cut(&mut fresh(), &bytes, &[]);
        for first in 1..bytes.len() {
            assert_eq!(cut(&mut fresh(), &bytes, &[first]), whole, "{first}");
            for second in first + 1..bytes.len() {
                let parts = cut(&mut fresh(), &bytes, &[first, second]);
                assert_eq!(parts, whole, "{first} {second}");
            }
        }
        let every: Vec<usize> = (1..bytes.len()).collect();
        assert_eq!(cut(&mut fresh(), &bytes, &every), whole);
    }
}

// rule: RFC 8446 5.1
#[test]
fn nothing_stands_between_the_parts_in_tls13() {
    let ticket = message(4, &[0x44; 30]);
    for first in 1..ticket.len() {
        let begun = || {
            let mut begun = control(Version::Tls13, Side::Client);
            assert_eq!(take(&mut begun, HANDSHAKE, &ticket[..first]), Ok(vec![]));
            begun
        };
        for (content_type, payload) in [
            (APPLICATION_DATA, &b"data"[..]),
            (APPLICATION_DATA, b""),
            (ALERT, &[1, 0]),
            (ALERT, &[2, 40]),
        ] {
            let taken = take(&mut begun(), content_type, payload);
            assert_eq!(taken, Err(alert::UNEXPECTED_MESSAGE));
        }
        let refusal = begun().application_data(5).expect_err("between the parts");
        assert_eq!(refusal.alert, alert::UNEXPECTED_MESSAGE);
    }
}

#[test]
fn data_may_stand_between_the_parts_before_tls13() {
    for version in OLDER {
        let client_hello = message(1, &[0x33; 60]);
        for first in 1..client_hello.len() {
            let mut control = control(version, Side::Server);
            let (begin, end) = client_hello.split_at(first);
            assert_eq!(take(&mut control, HANDSHAKE, begin), Ok(vec![]));
            assert_eq!(control.application_data(3), Ok(Delivery::Deliver));
            assert_eq!(take(&mut control, ALERT, &[1, 90]), Ok(vec![]));
            let declined = take(&mut control, HANDSHAKE, end).expect("the rest");
            assert!(matches!(*declined, [Action::SendAlert { .. }]));
        }
    }
}

/// How often `again` is taken before it is refused.
fn limit(mut control: Control, mut again: impl FnMut(&mut Control) -> Result<(), u8>) -> usize {
    for count in 0..1000 {
        if let Err(refused) = again(&mut control) {
            assert_eq!(refused, alert::UNEXPECTED_MESSAGE);
            assert_eq!(control.state(), State::Failed);
            return count;
        }
    }
    panic!("no limit");
}

// rule: RFC 5246 F.5
#[test]
fn floods_are_bounded() {
    let tls13 = || control(Version::Tls13, Side::Server);
    let empty = |control: &mut Control| take(control, APPLICATION_DATA, b"").map(|_| ());
    assert_eq!(limit(tls13(), empty), 32);
    let canceled = |control: &mut Control| take(control, ALERT, &[1, 90]).map(|_| ());
    assert_eq!(limit(tls13(), canceled), 4);
    let update = |control: &mut Control| {
        control.key_update_sent();
        take(control, HANDSHAKE, &key_update(1)).map(|_| ())
    };
    assert_eq!(limit(tls13(), update), 32);
    for version in OLDER {
        let warning = |control: &mut Control| take(control, ALERT, &[1, 100]).map(|_| ());
        assert_eq!(limit(control(version, Side::Client), warning), 4);
        let request = |control: &mut Control| take(control, HANDSHAKE, &[0; 4]).map(|_| ());
        assert_eq!(limit(control(version, Side::Client), request), 4);
        let hello =
            |control: &mut Control| take(control, HANDSHAKE, &message(1, &[1; 50])).map(|_| ());
        assert_eq!(limit(control(version, Side::Server), hello), 4);
    }
    // Taking turns helps nobody: an empty record is no data.
    let mut turn = 0;
    let turns = limit(tls13(), |control| {
        turn += 1;
        match turn % 3 {
            0 => empty(control),
            1 => canceled(control),
            _ => update(control),
        }
    });
    assert_eq!(turns, 12);
}

#[test]
fn data_ends_a_flood() {
    let mut control = control(Version::Tls13, Side::Client);
    for _ in 0..100 {
        for _ in 0..32 {
            take(&mut control, APPLICATION_DATA, b"").expect("few enough");
            take(&mut control, HANDSHAKE, &key_update(1)).expect("few enough");
        }
        for _ in 0..4 {
            take(&mut control, ALERT, &[1, 90]).expect("few enough");
        }
        control.application_data(1).expect("data");
    }
}

#[test]
fn noise_is_answered() {
    let mut state = 1_u64;
    let mut byte = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    };
    let mut states = Vec::new();
    for _ in 0..20_000 {
        let version = [Version::Tls12, Version::Tls13][usize::from(byte() & 1)];
        let side = [Side::Client, Side::Server][usize::from(byte() & 1)];
        let mut control = control(version, side);
        for _ in 0..=byte() % 4 {
            let len = usize::from(byte() % 12);
            let payload: Vec<u8> = (0..len).map(|_| byte() % 26).collect();
            let before = control.state();
            let taken = take(&mut control, 20 + byte() % 4, &payload);
            if before != State::Open {
                assert_eq!((taken, control.state()), (Ok(vec![]), before));
            }
        }
        if !states.contains(&control.state()) {
            states.push(control.state());
        }
    }
    assert_eq!(states.len(), 3, "{states:?}");
}
