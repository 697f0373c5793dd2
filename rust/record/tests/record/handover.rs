//! The hand-over of recorded connections: keys and numbers of both directions, and what OpenSSL says afterwards.

use std::collections::HashSet;

use ktls_record::handover::{DirectionKeys, HandshakeTap, Message, Role, TranslateError};
use ktls_record::{Version, provider};

use crate::recorded::{
    ANSWER, BOTH, REQUEST, Recorded, Step, all_connections, connections, records, seal,
};

/// Open records in order, from the number at which the direction stands.
fn open(direction: &DirectionKeys, records: &[&[u8]]) -> Vec<(u8, Vec<u8>)> {
    let opener = provider::opener("ring", &direction.keys).expect("good keys");
    let opened = (direction.sequence..).zip(records).map(|(number, record)| {
        let mut record = record.to_vec();
        let opened = opener.open_in_place(number, &mut record).expect("it opens");
        (opened.content_type, opened.payload.to_vec())
    });
    opened.collect()
}

/// The number of our next record: tickets are counted in TLS 1.3, Finished before.
fn expected_number(recorded: &Recorded, role: Role) -> u64 {
    if recorded.version() != Version::Tls13 {
        return 1;
    }
    if role == Role::Client {
        return 0;
    }
    let tickets = recorded.name.split(", ").find_map(|word| {
        let number = word.strip_suffix(" tickets")?;
        number.parse().ok()
    });
    let tickets: u64 = tickets.expect("a number of tickets");
    if recorded.is_resumed() {
        tickets.min(1)
    } else {
        tickets
    }
}

#[test]
fn every_version_is_recorded_with_every_kind_of_handshake() {
    let names: Vec<String> = all_connections().into_iter().map(|one| one.name).collect();
    assert_eq!(names.len(), 67);
    let different: HashSet<&String> = names.iter().collect();
    assert_eq!(different.len(), names.len());
}

#[test]
fn both_roles_find_one_pair_of_keys() {
    for recorded in connections() {
        for role in BOTH {
            let name = &recorded.name;
            let found = recorded.find(role).expect(name);
            assert_eq!(found.suite.version(), recorded.version(), "{name}");
            assert_eq!((found.write.len(), found.read.len()), (1, 1), "{name}");
            let (write, read) = (&found.write[0], &found.read[0]);
            assert_eq!(write.sequence, expected_number(&recorded, role), "{name}");
            let fed = u64::from(recorded.version() != Version::Tls13);
            assert_eq!(read.sequence, fed, "{name}");
            assert_eq!(found.max_frame_len, 16384, "{name}");
            let is_tls13 = recorded.version() == Version::Tls13;
            assert_eq!(write.secret.is_some(), is_tls13, "{name}");
            assert_eq!(read.secret.is_some(), is_tls13, "{name}");
            let has_explicit = name.starts_with("1.2") && name.contains("GCM");
            assert_eq!(write.explicit_nonce.is_some(), has_explicit, "{name}");
        }
    }
}

#[test]
fn write_keys_seal_what_openssl_seals() {
    let mut compared = 0;
    for recorded in connections() {
        for role in BOTH {
            let name = &recorded.name;
            let found = recorded.find(role).expect(name);
            let write = &found.write[0];
            let probe = recorded.probe(role);
            let opened = open(write, &records(probe));
            // OpenSSL puts an empty record before the data in TLS 1.0.
            let payloads: Vec<&[u8]> = match recorded.version() {
                Version::Tls10 => vec![b"", b"\0"],
                _ => vec![b"\0"],
            };
            let expected: Vec<_> = payloads.iter().map(|data| (23, data.to_vec())).collect();
            assert_eq!(opened, expected, "{name}");
            let random_iv = found.suite.mac().is_some() && !found.suite.sequential();
            if !random_iv {
                let first = seal(write, write.sequence, 23, payloads[0]);
                assert_eq!(first, records(probe)[0], "{name}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 78);
}

#[test]
fn read_keys_open_what_the_peer_sends_next() {
    for recorded in connections() {
        for role in BOTH {
            let found = recorded.find(role).expect(&recorded.name);
            let peer = role.peer();
            let mut next = recorded.unread(role);
            let tickets = next.len();
            for bytes in [
                recorded.probe(peer),
                recorded.data(peer),
                recorded.close(peer),
            ] {
                next.extend(records(bytes));
            }
            let opened = open(&found.read[0], &next);
            let (messages, rest) = opened.split_at(tickets);
            assert!(
                messages
                    .iter()
                    .all(|(kind, said)| (*kind, said[0]) == (22, 4))
            );
            let (close, rest) = rest.split_last().expect("a close");
            assert_eq!(*close, (21, vec![1, 0]), "{}", recorded.name);
            let data: Vec<u8> = rest.iter().flat_map(|(_, data)| data.clone()).collect();
            let said = if role == Role::Server {
                REQUEST
            } else {
                ANSWER
            };
            assert_eq!(data, [b"\0", said].concat(), "{}", recorded.name);
        }
    }
}

#[test]
fn tickets_that_openssl_was_fed_are_counted() {
    let mut largest = 0;
    for recorded in connections() {
        let unread = recorded.unread(Role::Client);
        let mut tap = recorded.tap(Role::Client);
        for (number, ticket) in (1..).zip(&unread) {
            tap.peer_record(ticket);
            let secrets = &recorded.secrets;
            let found = ktls_record::handover::find(&tap, secrets, Some(&recorded.cipher));
            let found = found.expect(&recorded.name);
            assert_eq!((found.read.len(), found.read[0].sequence), (1, number));
            largest = largest.max(number);
        }
    }
    assert_eq!(largest, 5);
}

#[test]
fn the_client_random_is_known_from_the_first_record_on() {
    for recorded in connections() {
        for role in BOTH {
            let mut tap = HandshakeTap::new(role);
            assert_eq!(tap.client_random(), None);
            let mut random = None;
            for step in &recorded.steps {
                let Step::Sent(sender, record) = step else {
                    continue;
                };
                if *sender == role {
                    tap.own_record(record);
                } else {
                    tap.peer_record(record);
                }
                let expected = random.get_or_insert_with(|| record[11..43].to_vec());
                assert_eq!(tap.client_random().expect("a random"), **expected);
            }
        }
    }
}

#[test]
fn the_probe_is_verified_and_openssl_goes_on_after_it() {
    for recorded in connections() {
        for role in BOTH {
            let name = &recorded.name;
            let found = recorded.find(role).expect(name);
            let sequence = found.write[0].sequence;
            let probe = recorded.probe(role);
            let mut verified = found.verify_probe(probe).expect(name);
            assert_eq!((verified.index, verified.write.sequence), (0, sequence));
            let count = u64::try_from(records(probe).len()).expect("few");
            assert_eq!(verified.openssl.sequence(), sequence + count);
            // Data comes from the user, never from OpenSSL.
            let error = verified.openssl.translate(recorded.data(role));
            let expected = TranslateError::ContentType { content_type: 23 };
            assert_eq!(error.expect_err("data"), expected, "{name}");
        }
    }
}

#[test]
fn an_alert_of_openssl_is_translated() {
    for recorded in connections() {
        for role in BOTH {
            let found = recorded.find(role).expect(&recorded.name);
            let mut verified = found.verify_probe(recorded.probe(role)).expect("a probe");
            // The recording has data between the two: it is refused, and counted all the same.
            for record in records(recorded.data(role)) {
                assert!(verified.openssl.translate(record).is_err());
            }
            let said = verified.openssl.translate(recorded.close(role));
            let alert = Message {
                content_type: 21,
                payload: vec![1, 0],
                ends_in_key_update: false,
                ends_data: true,
            };
            assert_eq!(said, Ok(vec![alert]), "{}", recorded.name);
        }
    }
}
