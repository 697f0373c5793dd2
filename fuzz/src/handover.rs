//! The hand-over of a handshake: any records of both sides, any secrets in the log, any probe, and whatever OpenSSL
//! writes afterwards. The seeds are connections of OpenSSL, so that the fuzzer begins behind checks that no luck gets
//! past; what comes behind the probe is sealed here when the fuzzer wants it genuine.

use ktls_record::handover::{
    Candidates, DirectionKeys, HandshakeTap, OpensslWriteState, Role, TranslateError, find,
    read_keys_of,
};
use ktls_record::keylog::LoggedSecret;
use ktls_record::{Frame, MAX_FRAME_LEN, Version, provider, schedule};
use zeroize::Zeroizing;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const KEY_UPDATE: u8 = 24;

const LABELS: [&str; 5] = [
    "CLIENT_RANDOM",
    "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
    "SERVER_HANDSHAKE_TRAFFIC_SECRET",
    "CLIENT_TRAFFIC_SECRET_0",
    "SERVER_TRAFFIC_SECRET_0",
];

/// What happens, in order. Each is a byte that says what, two for the length, and the bytes.
enum Event<'a> {
    Own(&'a [u8]),
    Peer(&'a [u8]),
    CipherName(&'a [u8]),
    Probe(&'a [u8]),
    /// A record that the peer sent after the handshake.
    PeerData(&'a [u8]),
    /// OpenSSL writes this.
    Written(&'a [u8]),
    /// OpenSSL writes a record of this content type and payload.
    Sealed(u8, &'a [u8]),
    Secret(&'static str, &'a [u8]),
}

/// A script: the role, then events.
pub fn handover(data: &[u8]) {
    let Some((&role, rest)) = data.split_first() else {
        return;
    };
    let role = if role & 1 == 0 {
        Role::Client
    } else {
        Role::Server
    };
    let events = events(rest);
    let mut tap = HandshakeTap::new(role);
    let mut records = 0;
    for event in &events {
        match event {
            Event::Own(record) => tap.own_record(record),
            Event::Peer(record) => tap.peer_record(record),
            _ => continue,
        }
        records += 1;
        if let Some(random) = tap.client_random() {
            assert!(is_shown(&events, &random), "a random that nobody sent");
        }
    }
    let secrets: Vec<LoggedSecret> = events.iter().filter_map(logged).collect();
    let name = events.iter().rev().find_map(|event| match event {
        Event::CipherName(name) => core::str::from_utf8(name).ok(),
        _ => None,
    });
    assert!(find(&tap, &[], name).is_err(), "keys without a secret");
    match find(&tap, &secrets, name) {
        Ok(found) => {
            check_candidates(&found, records, secrets.len());
            go_on(found, &events);
        }
        Err(declined) => assert!(!declined.to_string().is_empty()),
    }
}

fn check_candidates(found: &Candidates, records: u64, secrets: usize) {
    assert!((1..=MAX_FRAME_LEN).contains(&found.max_frame_len));
    let is_tls13 = found.suite.version() == Version::Tls13;
    for directions in [&found.write, &found.read] {
        assert!((1..=secrets).contains(&directions.len()));
        assert!(is_tls13 || directions.len() == 1, "one master secret");
        for direction in directions {
            assert_eq!(direction.keys.suite(), found.suite);
            assert!(direction.sequence <= records, "records that nobody sent");
            assert_eq!(direction.secret.is_some(), is_tls13);
        }
    }
}

fn go_on(found: Candidates, events: &[Event<'_>]) {
    let suite = found.suite;
    let peer_data = events.iter().find_map(|event| match event {
        Event::PeerData(record) => Some(*record),
        _ => None,
    });
    let read = found.read.clone();
    if let Some(record) = peer_data
        && let Some(direction) = read_keys_of(read.clone(), record)
    {
        let is_next = |before: &DirectionKeys| before.sequence + 1 == direction.sequence;
        assert!(read.iter().any(is_next), "one record was opened");
    }
    let genuine = seal(
        &found.write[0],
        found.write[0].sequence,
        APPLICATION_DATA,
        &[0],
    );
    let given = events.iter().find_map(|event| match event {
        Event::Probe(records) if !records.is_empty() => Some(records.to_vec()),
        _ => None,
    });
    let is_ours = given.is_none();
    let probe = given.unwrap_or(genuine);
    let write_count = found.write.len();
    let Ok(mut verified) = found.verify_probe(&probe) else {
        assert!(!is_ours, "a genuine probe was refused");
        return;
    };
    assert!(verified.index < write_count);
    assert!(!is_ours || verified.index == 0);
    let probe_records = verified.openssl.sequence() - verified.write.sequence;
    assert!((1..=2).contains(&probe_records) || probe.len() > 64);
    // TLS 1.0 AES-CBC seals on from the end of the last record, which is OpenSSL's to know.
    let mut keys = Some(verified.write.clone()).filter(|_| !suite.sequential());
    let mut messages = Messages::default();
    for event in events {
        let is_going_on = match *event {
            Event::Written(records) => {
                let answer = verified.openssl.translate(records);
                // A genuine record among them: its messages are not known here.
                if answer.as_ref().is_ok_and(|said| !said.is_empty()) {
                    keys = None;
                }
                check_said(answer, suite.version())
            }
            Event::Sealed(content_type, payload) => {
                let Some(write) = &keys else { continue };
                let expected = messages.expect(suite.version(), content_type, payload);
                let next = check_sealed(
                    &mut verified.openssl,
                    write,
                    content_type,
                    payload,
                    &expected,
                );
                if let Some(next) = next {
                    keys = Some(next);
                }
                expected.is_ok()
            }
            _ => true,
        };
        if !is_going_on {
            return;
        }
    }
}

/// Whether OpenSSL may go on.
fn check_said(
    answer: Result<Vec<ktls_record::handover::Message>, TranslateError>,
    version: Version,
) -> bool {
    let Ok(said) = answer else { return false };
    for message in said {
        match message.content_type {
            ALERT => assert!(!message.ends_in_key_update),
            HANDSHAKE => assert!(version == Version::Tls13 && !message.ends_data),
            other => panic!("type {other} was passed on"),
        }
    }
    true
}

/// OpenSSL writes one record as it should be; returns the keys after it where they are others.
fn check_sealed(
    openssl: &mut OpensslWriteState,
    write: &DirectionKeys,
    content_type: u8,
    payload: &[u8],
    expected: &Result<bool, TranslateError>,
) -> Option<DirectionKeys> {
    let sequence = openssl.sequence();
    let record = seal(write, sequence, content_type, payload);
    let answer = openssl.translate(&record);
    let ends_in_key_update = match expected {
        Ok(ends_in_key_update) => *ends_in_key_update,
        Err(error) => {
            assert_eq!(answer.expect_err("it must not be said"), *error);
            return None;
        }
    };
    let said = answer.expect("it may be said");
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].content_type, content_type);
    assert_eq!(said[0].payload, payload);
    assert_eq!(said[0].ends_in_key_update, ends_in_key_update);
    if !ends_in_key_update {
        assert_eq!(openssl.sequence(), sequence + 1);
        return None;
    }
    assert_eq!(openssl.sequence(), 0);
    let secret = write.secret.as_ref().expect("TLS 1.3 has one");
    let secret = schedule::next_traffic_secret(secret).expect("it has a hash's length");
    Some(DirectionKeys {
        keys: schedule::traffic_keys(write.keys.suite(), &secret).expect("a suite of 1.3"),
        sequence: 0,
        explicit_nonce: None,
        secret: Some(secret),
    })
}

/// Handshake messages as they were written so far.
#[derive(Default)]
struct Messages {
    begun: Vec<u8>,
}

impl Messages {
    /// What translating this record must come to: whether it ends in a KeyUpdate.
    fn expect(
        &mut self,
        version: Version,
        content_type: u8,
        payload: &[u8],
    ) -> Result<bool, TranslateError> {
        match content_type {
            ALERT => return Ok(false),
            HANDSHAKE if version == Version::Tls13 => {}
            HANDSHAKE => return Err(TranslateError::Renegotiation),
            _ => return Err(TranslateError::ContentType { content_type }),
        }
        self.begun.extend_from_slice(payload);
        let mut is_update = false;
        while let [kind, high, mid, low, ..] = self.begun[..] {
            let size = 4 + usize::from(high) * 65536 + usize::from(mid) * 256 + usize::from(low);
            if self.begun.len() < size {
                break;
            }
            if is_update {
                return Err(TranslateError::AfterKeyUpdate);
            }
            is_update = kind == KEY_UPDATE;
            self.begun.drain(..size);
        }
        if is_update && !self.begun.is_empty() {
            return Err(TranslateError::AfterKeyUpdate);
        }
        Ok(is_update)
    }
}

fn seal(direction: &DirectionKeys, sequence: u64, content_type: u8, payload: &[u8]) -> Vec<u8> {
    let suite = direction.keys.suite();
    let base = direction.explicit_nonce.unwrap_or(0);
    let base = base.wrapping_sub(direction.sequence);
    let sealer = provider::sealer("ring", &direction.keys, base).expect("good keys");
    let frame = Frame {
        content_type,
        sequence,
        payload_len: payload.len(),
        padding_len: 0,
    };
    let mut record = vec![0; suite.record_size(payload.len())];
    sealer
        .seal_from(frame, payload, &mut record)
        .expect("the frame is in order");
    record
}

fn events(mut rest: &[u8]) -> Vec<Event<'_>> {
    let mut events = Vec::new();
    while let Some((&[what, high, low], after)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([high, low])).min(after.len());
        let (bytes, after) = after.split_at(len);
        rest = after;
        events.push(match what {
            0 => Event::Own(bytes),
            1 => Event::Peer(bytes),
            2 => Event::CipherName(bytes),
            3 => Event::Probe(bytes),
            4 => Event::PeerData(bytes),
            5 => Event::Written(bytes),
            6..32 => Event::Sealed(what, bytes),
            _ => Event::Secret(LABELS[usize::from(what) % LABELS.len()], bytes),
        });
    }
    events
}

fn logged(event: &Event<'_>) -> Option<LoggedSecret> {
    match *event {
        Event::Secret(label, secret) => Some(LoggedSecret {
            label: label.to_owned(),
            secret: Zeroizing::new(secret.to_vec()),
        }),
        _ => None,
    }
}

/// Whether one side sent these bytes, perhaps in several records.
fn is_shown(events: &[Event<'_>], random: &[u8]) -> bool {
    let sent_by = |is_own: bool| -> Vec<u8> {
        let payloads = events.iter().filter_map(|event| match event {
            Event::Own(record) if is_own => record.get(5..),
            Event::Peer(record) if !is_own => record.get(5..),
            _ => None,
        });
        payloads.flatten().copied().collect()
    };
    let shows = |bytes: &[u8]| bytes.windows(random.len()).any(|part| part == random);
    shows(&sent_by(true)) || shows(&sent_by(false))
}
