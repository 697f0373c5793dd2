//! A hand-over among secrets that others had logged under the same client random.

use ktls_record::Version;
use ktls_record::handover::{
    Candidates, Declined, HandshakeTap, ProbeFailed, Role, find, read_keys_of,
};
use ktls_record::keylog::LoggedSecret;
use zeroize::Zeroizing;

use crate::recorded::{BOTH, Recorded, connection, connections, records};

const TLS13: &str = "1.3, TLS_AES_256_GCM_SHA384, 2 tickets, full";
const WITHOUT_TICKETS: &str = "1.3, TLS_AES_128_GCM_SHA256, 0 tickets, full";
const TLS12: &str = "1.2, ECDHE-ECDSA-AES128-GCM-SHA256, full";

/// What an attacker's connection with the same random leaves in the log.
fn forged(recorded: &Recorded) -> Vec<LoggedSecret> {
    let mut secrets = recorded.secrets.clone();
    for logged in &mut secrets {
        for byte in &mut *logged.secret {
            *byte ^= 0x55;
        }
    }
    secrets
}

fn find_among(
    recorded: &Recorded,
    role: Role,
    secrets: &[LoggedSecret],
) -> Result<Candidates, Declined> {
    find(&recorded.tap(role), secrets, Some(&recorded.cipher))
}

/// The secret with this label.
fn secret<'s>(secrets: &'s [LoggedSecret], label: &str) -> &'s LoggedSecret {
    let mut with_label = secrets.iter().filter(|logged| logged.label == label);
    with_label.next().expect("it was logged")
}

#[test]
fn a_foreign_set_alone_is_refused() {
    for recorded in connections() {
        for role in BOTH {
            let error = find_among(&recorded, role, &forged(&recorded)).expect_err("foreign");
            assert_eq!(error, Declined::OwnRecords, "{}", recorded.name);
        }
    }
}

#[test]
fn a_foreign_set_beside_ours_changes_nothing_before_tls13() {
    let older = |one: &Recorded| one.version() != Version::Tls13;
    for recorded in connections().into_iter().filter(older) {
        for role in BOTH {
            let plain = recorded.find(role).expect(&recorded.name);
            for secrets in [
                [forged(&recorded), recorded.secrets.clone()].concat(),
                [recorded.secrets.clone(), forged(&recorded)].concat(),
            ] {
                let found = find_among(&recorded, role, &secrets).expect(&recorded.name);
                assert_eq!((found.write.len(), found.read.len()), (1, 1));
                assert_eq!(found.write[0].keys.key(), plain.write[0].keys.key());
                assert_eq!(found.read[0].keys.key(), plain.read[0].keys.key());
            }
        }
    }
}

#[test]
fn openssl_decides_among_the_sets_of_tls13() {
    let tls13 = |one: &Recorded| one.version() == Version::Tls13;
    for recorded in connections().into_iter().filter(tls13) {
        for role in BOTH {
            let name = &recorded.name;
            let plain = recorded.find(role).expect(name);
            for (ours, secrets) in [
                (1, [forged(&recorded), recorded.secrets.clone()].concat()),
                (0, [recorded.secrets.clone(), forged(&recorded)].concat()),
            ] {
                let found = find_among(&recorded, role, &secrets).expect(name);
                let is_proven = plain.write[0].sequence > 0;
                assert_eq!(found.write.len(), if is_proven { 1 } else { 2 }, "{name}");
                assert_eq!(found.read.len(), 2, "{name}");
                let verified = found.verify_probe(recorded.probe(role)).expect(name);
                assert_eq!(verified.index, if is_proven { 0 } else { ours }, "{name}");
                assert_eq!(verified.write.secret, plain.write[0].secret, "{name}");
                // A record that OpenSSL accepted names the keys for reading.
                let sent = match *recorded.unread(role) {
                    [ticket, ..] => ticket,
                    [] => records(recorded.probe(role.peer()))[0],
                };
                let read = read_keys_of(verified.read, sent).expect(name);
                assert_eq!(read.secret, plain.read[0].secret, "{name}");
                assert_eq!(read.sequence, 1, "{name}");
            }
        }
    }
}

#[test]
fn tickets_that_openssl_was_fed_prove_the_read_keys() {
    let recorded = connection(TLS13);
    let mut tap = recorded.tap(Role::Client);
    tap.peer_record(recorded.unread(Role::Client)[0]);
    let secrets = [forged(&recorded), recorded.secrets.clone()].concat();
    let found = find(&tap, &secrets, Some(&recorded.cipher)).expect("ours is there");
    assert_eq!((found.read.len(), found.read[0].sequence), (1, 1));
}

#[test]
fn a_record_under_no_candidate_names_no_keys() {
    let recorded = connection(TLS13);
    let found = recorded.find(Role::Server).expect("it is ours");
    let mut sent = recorded.probe(Role::Client).to_vec();
    *sent.last_mut().expect("a byte") ^= 1;
    assert!(read_keys_of(found.read, &sent).is_none());
}

#[test]
fn secrets_logged_by_both_ends_count_once() {
    for recorded in connections() {
        for role in BOTH {
            let twice = [recorded.secrets.clone(), recorded.secrets.clone()].concat();
            let found = find_among(&recorded, role, &twice).expect(&recorded.name);
            assert_eq!((found.write.len(), found.read.len()), (1, 1));
        }
    }
}

#[test]
fn a_foreign_application_secret_fails_at_the_probe() {
    let recorded = connection(WITHOUT_TICKETS);
    for (role, label) in [
        (Role::Client, "CLIENT_TRAFFIC_SECRET_0"),
        (Role::Server, "SERVER_TRAFFIC_SECRET_0"),
    ] {
        let mut secrets = recorded.secrets.clone();
        secrets.retain(|logged| logged.label != label);
        secrets.push(secret(&forged(&recorded), label).clone());
        let found = find_among(&recorded, role, &secrets).expect("nothing was sent under it");
        let error = found.verify_probe(recorded.probe(role)).expect_err("wrong");
        assert_eq!(error, ProbeFailed);
        assert!(error.to_string().contains("the connection was closed"));
    }
}

#[test]
fn tickets_refuse_a_foreign_application_secret() {
    let recorded = connection(TLS13);
    let mut secrets = recorded.secrets.clone();
    secrets.retain(|logged| logged.label != "SERVER_TRAFFIC_SECRET_0");
    secrets.push(secret(&forged(&recorded), "SERVER_TRAFFIC_SECRET_0").clone());
    let error = find_among(&recorded, Role::Server, &secrets).expect_err("tickets say no");
    assert_eq!(error, Declined::OwnRecords);
}

#[test]
fn each_secret_of_the_peer_is_needed() {
    for role in BOTH {
        let recorded = connection(TLS13);
        let peer = match role {
            Role::Client => "SERVER",
            Role::Server => "CLIENT",
        };
        for label in ["HANDSHAKE_TRAFFIC_SECRET", "TRAFFIC_SECRET_0"] {
            let label = format!("{peer}_{label}");
            let mut secrets = recorded.secrets.clone();
            secrets.retain(|logged| logged.label != label);
            let error = find_among(&recorded, role, &secrets).expect_err("one is missing");
            assert_eq!(error, Declined::PeerRecords, "{label}");
        }
    }
}

#[test]
fn the_finished_of_the_peer_must_open() {
    for role in BOTH {
        let mut recorded = connection(TLS12);
        let last = recorded.sent_by(role.peer()).last().expect("Finished");
        *last.last_mut().expect("a byte") ^= 1;
        let error = recorded.find(role).expect_err("it does not open");
        assert_eq!(error, Declined::PeerRecords);
        let error = recorded.find(role.peer()).expect_err("it does not open");
        assert_eq!(error, Declined::OwnRecords);
    }
}

#[test]
fn secrets_of_another_length_or_label_are_passed_over() {
    for name in [TLS13, TLS12] {
        let recorded = connection(name);
        let mut secrets: Vec<LoggedSecret> = Vec::new();
        for logged in &recorded.secrets {
            for len in [0, 1, 31, 32, 33, 47, 48, 64] {
                secrets.push(LoggedSecret {
                    label: logged.label.clone(),
                    secret: Zeroizing::new(
                        logged.secret.iter().cycle().take(len).copied().collect(),
                    ),
                });
            }
            secrets.push(LoggedSecret {
                label: "OTHER".to_owned(),
                secret: logged.secret.clone(),
            });
        }
        let of_right_len =
            |logged: &LoggedSecret| logged.label != "OTHER" && logged.secret.len() == 48;
        for role in BOTH {
            let found = find_among(&recorded, role, &secrets).expect("48 bytes are right");
            assert_eq!((found.write.len(), found.read.len()), (1, 1));
            let mut wrong = secrets.clone();
            wrong.retain(|logged| !of_right_len(logged));
            let error = find_among(&recorded, role, &wrong).expect_err("no length is right");
            assert_eq!(error, Declined::OwnRecords);
        }
    }
}

// rule: RFC 8446 4.2.10
#[test]
fn early_data_that_the_server_refused_is_not_counted() {
    let recorded = connection(TLS13);
    let mut tap = HandshakeTap::new(Role::Server);
    let refused = [&[23, 3, 3, 0, 40][..], &[7; 40]].concat();
    let mut server_spoke = false;
    for step in &recorded.steps {
        match step {
            crate::recorded::Step::Sent(Role::Client, record) => {
                if server_spoke && record[0] == 23 {
                    tap.peer_record(&refused);
                    tap.peer_record(&refused);
                }
                tap.peer_record(record);
            }
            crate::recorded::Step::Sent(Role::Server, record) => {
                server_spoke = true;
                tap.own_record(record);
            }
            crate::recorded::Step::Done(_) => {}
        }
    }
    let found = find(&tap, &recorded.secrets, Some(&recorded.cipher)).expect("ours");
    assert_eq!((found.read.len(), found.read[0].sequence), (1, 0));
    // Nothing of that kind comes from a server.
    let mut recorded = connection(TLS13);
    let protected = recorded
        .sent_by(Role::Server)
        .find(|record| record[0] == 23);
    *protected.expect("a record") = refused;
    let error = recorded.find(Role::Client).expect_err("it does not open");
    assert_eq!(error, Declined::PeerRecords);
}

#[test]
fn debug_shows_no_secret() {
    let recorded = connection(TLS13);
    let found = recorded.find(Role::Server).expect("it is ours");
    let read = format!("{:?}", recorded.secrets[0]) + &format!("{found:?}");
    let verified = found
        .verify_probe(recorded.probe(Role::Server))
        .expect("ours");
    let text = read + &format!("{verified:?} {:?}", recorded.tap(Role::Server));
    for logged in &recorded.secrets {
        let shown = format!("{:?}", &logged.secret[..4]);
        assert!(!text.contains(&shown[1..shown.len() - 1]), "{text}");
    }
}
