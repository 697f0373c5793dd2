//! What OpenSSL says after the hand-over, sealed here as OpenSSL would seal it.

use ktls_record::handover::{DirectionKeys, Message, Role, TranslateError, Verified};
use ktls_record::schedule::{next_traffic_secret, traffic_keys};

use crate::recorded::{connection, connections, seal};

const TLS13: &str = "1.3, TLS_AES_256_GCM_SHA384, 2 tickets, full";
const TLS12: &str = "1.2, ECDHE-ECDSA-AES128-GCM-SHA256, full";

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
const TICKET: [u8; 7] = [4, 0, 0, 3, 1, 2, 3];

fn verified(name: &str) -> Verified {
    let recorded = connection(name);
    let found = recorded.find(Role::Server).expect("found");
    let verified = found.verify_probe(recorded.probe(Role::Server));
    verified.expect("it is OpenSSL's")
}

fn said(payload: &[u8], ends_in_key_update: bool) -> Message {
    Message {
        content_type: HANDSHAKE,
        payload: payload.to_vec(),
        ends_in_key_update,
        ends_data: false,
    }
}

/// The keys after a KeyUpdate.
fn next(direction: &DirectionKeys) -> DirectionKeys {
    let secret = direction.secret.as_ref().expect("a secret");
    let secret = next_traffic_secret(secret).expect("a good length");
    DirectionKeys {
        keys: traffic_keys(direction.keys.suite(), &secret).expect("a good length"),
        sequence: 0,
        explicit_nonce: None,
        secret: Some(secret),
    }
}

#[test]
fn key_updates_change_the_keys_of_openssl() {
    let Verified {
        write, mut openssl, ..
    } = verified(TLS13);
    let mut keys = write;
    for _ in 0..5 {
        let first = openssl.sequence();
        let records = [
            seal(&keys, first, HANDSHAKE, &TICKET),
            seal(&keys, first + 1, HANDSHAKE, &KEY_UPDATE),
        ];
        keys = next(&keys);
        let after = seal(&keys, 0, HANDSHAKE, &TICKET);
        let all = [records.concat(), after].concat();
        let expected = [
            said(&TICKET, false),
            said(&KEY_UPDATE, true),
            said(&TICKET, false),
        ];
        assert_eq!(openssl.translate(&all).expect("good records"), expected);
        assert_eq!(openssl.sequence(), 1);
    }
}

#[test]
fn a_key_update_may_follow_in_a_record_or_span_two() {
    let Verified {
        write, mut openssl, ..
    } = verified(TLS13);
    let both = [&TICKET[..], &KEY_UPDATE].concat();
    let record = seal(&write, openssl.sequence(), HANDSHAKE, &both);
    assert_eq!(openssl.translate(&record), Ok(vec![said(&both, true)]));
    let keys = next(&write);
    let (begin, end) = KEY_UPDATE.split_at(2);
    let records = [
        seal(&keys, 0, HANDSHAKE, begin),
        seal(&keys, 1, HANDSHAKE, end),
    ];
    let expected = vec![said(begin, false), said(end, true)];
    assert_eq!(openssl.translate(&records.concat()), Ok(expected));
    let record = seal(&next(&keys), 0, HANDSHAKE, &TICKET);
    assert_eq!(openssl.translate(&record), Ok(vec![said(&TICKET, false)]));
}

// rule: RFC 8446 5.1
#[test]
fn nothing_follows_a_key_update_under_the_old_keys() {
    let begun = &TICKET[..3];
    for after in [&TICKET[..], begun, &KEY_UPDATE] {
        let Verified {
            write, mut openssl, ..
        } = verified(TLS13);
        let payload = [&KEY_UPDATE[..], after].concat();
        let record = seal(&write, openssl.sequence(), HANDSHAKE, &payload);
        let error = openssl.translate(&record);
        assert_eq!(error, Err(TranslateError::AfterKeyUpdate));
    }
    let Verified {
        write, mut openssl, ..
    } = verified(TLS13);
    let first = openssl.sequence();
    let update = seal(&write, first, HANDSHAKE, &KEY_UPDATE);
    assert!(openssl.translate(&update).is_ok());
    let late = seal(&write, first + 1, HANDSHAKE, &TICKET);
    assert_eq!(openssl.translate(&late), Err(TranslateError::BadRecord));
}

// rule: RFC 8446 D.4
#[test]
fn change_cipher_spec_says_nothing_in_tls13() {
    let mut openssl = verified(TLS13).openssl;
    let before = openssl.sequence();
    assert_eq!(openssl.translate(&[20, 3, 3, 0, 1, 1]), Ok(vec![]));
    assert_eq!(openssl.translate(&[]), Ok(vec![]));
    assert_eq!(openssl.sequence(), before);
    let error = verified(TLS12).openssl.translate(&[20, 3, 3, 0, 1, 1]);
    assert_eq!(error, Err(TranslateError::BadRecord));
}

#[test]
fn close_notify_and_error_alerts_end_the_data() {
    // Description 100 is no_renegotiation, 20 bad_record_mac, 90 user_canceled.
    for (name, alert, expected) in [
        (TLS12, &[1, 0][..], true),
        (TLS12, &[1, 100], false),
        (TLS12, &[1, 90], false),
        (TLS12, &[2, 20], true),
        (TLS13, &[1, 0], true),
        (TLS13, &[1, 90], false),
        (TLS13, &[2, 90], false),
        (TLS13, &[1, 20], true),
        (TLS13, &[2, 20], true),
        (TLS13, &[2], false),
    ] {
        let Verified {
            write, mut openssl, ..
        } = verified(name);
        let record = seal(&write, openssl.sequence(), ALERT, alert);
        let said = openssl.translate(&record).expect("an alert");
        assert_eq!((said.len(), said[0].ends_data), (1, expected), "{alert:?}");
    }
}

#[test]
fn a_renegotiation_is_refused_before_tls13() {
    let mut tried = 0;
    for recorded in connections() {
        let found = recorded.find(Role::Server).expect("found");
        let verified = found.verify_probe(recorded.probe(Role::Server));
        let Verified {
            write, mut openssl, ..
        } = verified.expect("it is OpenSSL's");
        // TLS 1.0 seals on from the end of a record that only OpenSSL knows.
        if write.secret.is_some() || write.keys.suite().sequential() {
            continue;
        }
        let hello_request = seal(&write, openssl.sequence(), HANDSHAKE, &[0; 4]);
        let error = openssl.translate(&hello_request);
        assert_eq!(
            error,
            Err(TranslateError::Renegotiation),
            "{}",
            recorded.name
        );
        tried += 1;
    }
    assert_eq!(tried, 40);
}
