//! Connections that stay with OpenSSL, limits of a record, and bytes that are no handshake.

use ktls_record::handover::{Declined, HandshakeTap, ProbeFailed, Role, TranslateError, find};

use crate::recorded::{BOTH, FILE, Recorded, Step, all_connections, connection, connections};
use crate::vector_file::cases;

const TLS13: &str = "1.3, TLS_AES_256_GCM_SHA384, 2 tickets, full";
const TLS12: &str = "1.2, ECDHE-ECDSA-AES128-GCM-SHA256, full";

/// Offset in a record of the cipher suite of a ServerHello.
fn suite_offset(record: &[u8]) -> usize {
    let session_id = 5 + 4 + 2 + 32;
    session_id + 1 + usize::from(record[session_id])
}

fn server_hello(recorded: &mut Recorded) -> &mut Vec<u8> {
    let mut sent = recorded.sent_by(Role::Server);
    sent.find(|record| record[5] == 2).expect("a ServerHello")
}

/// Add an extension to the hello that a record begins with.
fn extend(record: &mut Vec<u8>, extensions_offset: usize, kind: u8, data: &[u8]) {
    let two = |len: usize| u16::try_from(len).expect("short").to_be_bytes();
    let extension = [&[0, kind][..], &two(data.len()), data].concat();
    let mut add = |offset: usize| {
        let len = u16::from_be_bytes([record[offset], record[offset + 1]]);
        let len = two(usize::from(len) + extension.len());
        record[offset..offset + 2].copy_from_slice(&len);
    };
    // Record, message (the low bytes of three), extensions.
    [3, 7, extensions_offset].into_iter().for_each(&mut add);
    let at = extensions_offset + 2;
    record.splice(at..at, extension);
}

fn extend_server_hello(recorded: &mut Recorded, kind: u8, data: &[u8]) {
    let record = server_hello(recorded);
    let offset = suite_offset(record) + 3;
    extend(record, offset, kind, data);
}

fn extend_client_hello(recorded: &mut Recorded, kind: u8, data: &[u8]) {
    let record = recorded.sent_by(Role::Client).next().expect("a hello");
    let suites = suite_offset(record);
    let len = usize::from(u16::from_be_bytes([record[suites], record[suites + 1]]));
    let compression = suites + 2 + len;
    let offset = compression + 1 + usize::from(record[compression]);
    extend(record, offset, kind, data);
}

#[test]
fn the_table_has_openssls_numbers_and_names() {
    let mut known = 0;
    let suites = cases(FILE);
    let suites: Vec<_> = suites
        .iter()
        .filter(|case| case.find("Number").is_some())
        .collect();
    assert_eq!(suites.len(), 158);
    for case in suites {
        let mut recorded = connection(TLS12);
        let hello = server_hello(&mut recorded);
        let offset = suite_offset(hello);
        hello[offset..offset + 2].copy_from_slice(&case.bytes("Number"));
        let name = case.find("Name").expect("a name").to_owned();
        recorded.cipher.clone_from(&name);
        let error = recorded.find(Role::Client).err();
        match error {
            Some(Declined::UnknownSuite { .. }) => {}
            Some(Declined::SuiteVersion { tls_vminor: 3, .. }) => {
                assert!(name.starts_with("TLS_"), "{name}");
                known += 1;
            }
            None | Some(Declined::OwnRecords) => known += 1,
            Some(error) => panic!("{name}: {error}"),
        }
    }
    assert_eq!(known, 30);
}

#[test]
fn an_unknown_suite_stays_with_openssl() {
    let recorded = connection("1.2, ECDHE-ECDSA-AES128-CCM, full");
    for role in BOTH {
        let error = recorded.find(role).expect_err("CCM is not in the table");
        assert_eq!(
            error.to_string(),
            "the cipher suite ECDHE-ECDSA-AES128-CCM (0xc0ac) stays with OpenSSL: it is none of the suites that this \
             library knows; choose one with AES-GCM or ChaCha20-Poly1305"
        );
    }
}

#[test]
fn a_suite_of_another_name_stays_with_openssl() {
    let recorded = connection(TLS13);
    for name in [None, Some("TLS_AES_128_GCM_SHA256")] {
        let error = find(&recorded.tap(Role::Client), &recorded.secrets, name).expect_err("a name");
        let expected = Declined::UnknownSuite {
            name: name.unwrap_or("unknown").to_owned(),
            number: 0x1302,
        };
        assert_eq!(error, expected);
    }
}

#[test]
fn a_suite_that_the_version_has_not_stays_with_openssl() {
    let mut recorded = connection(TLS12);
    server_hello(&mut recorded)[10] = 2;
    let error = recorded.find(Role::Server).expect_err("GCM in TLS 1.1");
    assert!(
        error.to_string().contains("not in TLS version 3.2"),
        "{error}"
    );
}

#[test]
fn compression_stays_with_openssl() {
    let mut recorded = connection(TLS12);
    let hello = server_hello(&mut recorded);
    let offset = suite_offset(hello) + 2;
    hello[offset] = 1;
    assert_eq!(
        recorded.find(Role::Server).err(),
        Some(Declined::Compression)
    );
}

#[test]
fn no_secret_stays_with_openssl() {
    for recorded in connections() {
        for role in BOTH {
            let error = find(&recorded.tap(role), &[], Some(&recorded.cipher)).err();
            assert_eq!(error, Some(Declined::NoSecret));
        }
    }
}

#[test]
fn a_handshake_that_was_not_seen_stays_with_openssl() {
    let recorded = connection(TLS13);
    let reason = |tap: &HandshakeTap| {
        let error = find(tap, &recorded.secrets, Some(&recorded.cipher)).expect_err("not followed");
        let text = error.to_string();
        let reason = text.strip_prefix("the handshake could not be followed: ");
        reason.expect("it was not followed").to_owned()
    };
    let mut tap = HandshakeTap::new(Role::Server);
    assert_eq!(reason(&tap), "no hello was seen");
    tap.peer_record(&[0x80, 0x2e, 1, 3, 3, 0, 0]);
    assert_eq!(reason(&tap), "the peer began with an SSLv2 hello");
    for short in [&[][..], &[22], &[22, 3, 3, 0]] {
        let mut tap = HandshakeTap::new(Role::Client);
        tap.own_record(short);
        assert_eq!(reason(&tap), "something was sent that is no record");
    }
    let mut tap = HandshakeTap::new(Role::Client);
    tap.own_record(&[22, 3, 1, 0, 5, 1, 0, 0, 1, 3]);
    assert!(reason(&tap).starts_with("a hello could not be read: "));
    assert_eq!(tap.client_random(), None);
}

#[test]
fn what_is_kept_of_a_handshake_is_bounded() {
    // A message that never ends, and encrypted records that never do.
    let mut begun = HandshakeTap::new(Role::Server);
    let mut endless = connection(TLS13).tap(Role::Client);
    for _ in 0..70 {
        begun.peer_record(&[&[22, 3, 3, 0x40, 0][..], &[0xff; 0x4000]].concat());
        endless.peer_record(&[&[23, 3, 3, 0x40, 0][..], &[0xff; 0x4000]].concat());
    }
    for (tap, expected) in [(begun, "a hello has more than"), (endless, "more than")] {
        let error = find(&tap, &[], None).expect_err("too much");
        assert!(matches!(&error, Declined::NotFollowed { reason } if reason.starts_with(expected)));
    }
}

#[test]
fn encrypt_then_mac_means_nothing_with_an_aead() {
    // A server should not say it, and OpenSSL does not look (RFC 7366 §3).
    let mut recorded = connection(TLS12);
    extend_server_hello(&mut recorded, 22, &[]);
    for role in BOTH {
        let found = recorded.find(role).expect("the extension is ignored");
        assert_eq!((found.write.len(), found.read.len()), (1, 1));
        assert_eq!(found.suite.mac(), None);
    }
}

// rule: RFC 6066 4, RFC 8449 4
#[test]
fn limits_of_the_hellos_bound_our_records() {
    let [client, server] = BOTH;
    let size = |limit: u16| limit.to_be_bytes();
    let len = |recorded: &Recorded, role| recorded.find(role).expect("found").max_frame_len;
    // Before TLS 1.3 the ServerHello says what was agreed.
    let mut recorded = connection(TLS12);
    extend_client_hello(&mut recorded, 1, &[1]);
    assert_eq!(BOTH.map(|role| len(&recorded, role)), [16384, 16384]);
    extend_server_hello(&mut recorded, 1, &[2]);
    assert_eq!(BOTH.map(|role| len(&recorded, role)), [1024, 1024]);
    let mut recorded = connection(TLS13);
    extend_client_hello(&mut recorded, 1, &[4]);
    assert_eq!(BOTH.map(|role| len(&recorded, role)), [4096, 4096]);
    for (name, limit, expected) in [
        (TLS12, 600, 600),
        (TLS13, 600, 599),
        (TLS12, 64, 64),
        (TLS13, 63, 16384),
        (TLS12, 0, 16384),
        (TLS13, 16385, 16384),
        (TLS12, u16::MAX, 16384),
    ] {
        let mut recorded = connection(name);
        extend_client_hello(&mut recorded, 28, &size(limit));
        assert_eq!(len(&recorded, server), expected, "{name} {limit}");
        assert_eq!(len(&recorded, client), 16384, "{name} {limit}");
    }
}

#[test]
fn hellos_in_records_of_one_byte_are_followed() {
    for recorded in connections() {
        for role in BOTH {
            let mut tap = HandshakeTap::new(role);
            let mut hello_count = 0;
            for step in &recorded.steps {
                let (sender, record) = match step {
                    Step::Sent(sender, record) => (*sender, record),
                    Step::Done(side) if *side == role => break,
                    Step::Done(_) => continue,
                };
                // A whole hello in the clear, not a Finished that begins with the same byte.
                let [.., high, low] = record.len().saturating_sub(9).to_be_bytes();
                let is_hello =
                    record[0] == 22 && matches!(record[5], 1 | 2) && record[7..9] == [high, low];
                hello_count += usize::from(is_hello);
                let pieces: Vec<Vec<u8>> = if is_hello {
                    let bytes = record[5..].iter();
                    bytes.map(|byte| vec![22, 3, 3, 0, 1, *byte]).collect()
                } else {
                    vec![record.clone()]
                };
                for piece in pieces {
                    if sender == role {
                        tap.own_record(&piece);
                    } else {
                        tap.peer_record(&piece);
                    }
                }
            }
            let expected = if recorded.name.contains("retry") {
                4
            } else {
                2
            };
            assert_eq!(hello_count, expected, "{}", recorded.name);
            let found = find(&tap, &recorded.secrets, Some(&recorded.cipher));
            let found = found.expect(&recorded.name);
            assert_eq!((found.write.len(), found.read.len()), (1, 1));
        }
    }
}

#[test]
fn every_cut_and_change_of_a_record_is_survived() {
    let mut declined = 0;
    for recorded in all_connections().into_iter().step_by(4) {
        for at in 0..recorded.steps.len() {
            let Step::Sent(_, record) = &recorded.steps[at] else {
                continue;
            };
            let cuts = [0, 1, 4, 5, 6, 9, 43, record.len() / 2, record.len() - 1];
            let cut = |len: usize| record[..len.min(record.len())].to_vec();
            let change = |offset: usize| {
                let mut changed = record.clone();
                let offset = offset % record.len();
                changed[offset] ^= 0x81;
                changed
            };
            let changes = [0, 1, 3, 4, 5, 6, 8, 9, 43, 44, 60, record.len() - 1];
            for wrong in cuts.map(cut).into_iter().chain(changes.map(change)) {
                let mut recorded = recorded.clone();
                let Step::Sent(sender, _) = recorded.steps[at] else {
                    continue;
                };
                recorded.steps[at] = Step::Sent(sender, wrong);
                for role in BOTH {
                    declined += usize::from(recorded.find(role).is_err());
                }
            }
        }
    }
    assert!(declined > 1000, "{declined}");
}

#[test]
fn a_probe_that_is_none_fails() {
    let recorded = connection(TLS13);
    let probe = recorded.probe(Role::Server);
    let mut changed = probe.to_vec();
    *changed.last_mut().expect("a byte") ^= 1;
    let data = recorded.data(Role::Server);
    let twice = [probe, probe].concat();
    let cut = &probe[..probe.len() - 1];
    for wrong in [&[][..], &changed, data, &twice, cut, &probe[..3], &[0; 64]] {
        let found = recorded.find(Role::Server).expect("found");
        assert_eq!(
            found.verify_probe(wrong).expect_err("no probe"),
            ProbeFailed
        );
    }
}

#[test]
fn openssl_output_that_does_not_open_is_refused() {
    let recorded = connection(TLS13);
    let close = recorded.close(Role::Server);
    for wrong in [
        &close[..4],
        &close[..close.len() - 1],
        close,
        &[0x17, 3, 3, 0, 0],
    ] {
        let found = recorded.find(Role::Server).expect("found");
        let verified = found.verify_probe(recorded.probe(Role::Server));
        let mut openssl = verified.expect("a probe").openssl;
        // A whole record fails as well: the one before it is missing.
        assert_eq!(openssl.translate(wrong), Err(TranslateError::BadRecord));
    }
}
