//! Whole connections of OpenSSL, and what a hand-over at the end of their handshakes finds.

use ktls_record::handover::{Candidates, Declined, DirectionKeys, HandshakeTap, Role, find};
use ktls_record::keylog::LoggedSecret;
use ktls_record::{Frame, Version, provider};
use zeroize::Zeroizing;

use crate::vector_file::{Case, cases};

pub(crate) const FILE: &str = include_str!("../data/openssl_handshakes.txt");

pub(crate) const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
pub(crate) const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

pub(crate) const BOTH: [Role; 2] = [Role::Client, Role::Server];

/// A step of the handshake.
#[derive(Clone)]
pub(crate) enum Step {
    Sent(Role, Vec<u8>),
    /// The handshake call of this side returned.
    Done(Role),
}

/// One connection.
#[derive(Clone)]
pub(crate) struct Recorded {
    pub(crate) name: String,
    pub(crate) cipher: String,
    pub(crate) steps: Vec<Step>,
    pub(crate) secrets: Vec<LoggedSecret>,
    /// Probe, data and close of the client, then those of the server.
    ends: [[Vec<u8>; 3]; 2],
}

impl Recorded {
    fn read(case: &Case) -> Self {
        let text = |name| case.find(name).expect("it is there").to_owned();
        let steps = text("Sent").split(' ').map(step).collect();
        let secrets = text("Secrets")
            .split(' ')
            .map(|logged| {
                let (label, digits) = logged.split_once(':').expect("a label");
                LoggedSecret {
                    label: label.to_owned(),
                    secret: Zeroizing::new(hex(digits)),
                }
            })
            .collect();
        let end =
            |letter| ["Probe", "Data", "Close"].map(|name| case.bytes(&format!("{letter}{name}")));
        Self {
            name: text("Name"),
            cipher: text("Cipher"),
            steps,
            secrets,
            ends: [end('C'), end('S')],
        }
    }

    pub(crate) fn version(&self) -> Version {
        match &self.name[..3] {
            "1.0" => Version::Tls10,
            "1.1" => Version::Tls11,
            "1.2" => Version::Tls12,
            _ => Version::Tls13,
        }
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.name.ends_with("resumed")
    }

    /// What `role` wrote for one byte of zero after the handshake.
    pub(crate) fn probe(&self, role: Role) -> &[u8] {
        &self.ends[role as usize][0]
    }

    pub(crate) fn data(&self, role: Role) -> &[u8] {
        &self.ends[role as usize][1]
    }

    pub(crate) fn close(&self, role: Role) -> &[u8] {
        &self.ends[role as usize][2]
    }

    /// The tap of `role` when its handshake call returned.
    pub(crate) fn tap(&self, role: Role) -> HandshakeTap {
        let mut tap = HandshakeTap::new(role);
        for step in &self.steps {
            match step {
                Step::Sent(sender, record) if *sender == role => tap.own_record(record),
                Step::Sent(_, record) => tap.peer_record(record),
                Step::Done(side) if *side == role => return tap,
                Step::Done(_) => {}
            }
        }
        panic!("{}: the handshake does not end", self.name)
    }

    /// What the peer of `role` sent after the handshake call of `role` returned: tickets.
    pub(crate) fn unread(&self, role: Role) -> Vec<&[u8]> {
        let is_end = |step: &Step| matches!(step, Step::Done(side) if *side == role);
        let end = self.steps.iter().position(is_end).expect("it ends");
        let sent = self.steps[end..].iter().filter_map(|step| match step {
            Step::Sent(sender, record) if *sender != role => Some(&**record),
            _ => None,
        });
        sent.collect()
    }

    pub(crate) fn find(&self, role: Role) -> Result<Candidates, Declined> {
        find(&self.tap(role), &self.secrets, Some(&self.cipher))
    }

    /// The records that `sender` sent, to be changed.
    pub(crate) fn sent_by(&mut self, sender: Role) -> impl Iterator<Item = &mut Vec<u8>> {
        self.steps.iter_mut().filter_map(move |step| match step {
            Step::Sent(side, record) if *side == sender => Some(record),
            _ => None,
        })
    }
}

/// All connections with a suite that can be taken over.
pub(crate) fn connections() -> Vec<Recorded> {
    let all = all_connections().into_iter();
    all.filter(|recorded| !recorded.cipher.contains("CCM"))
        .collect()
}

pub(crate) fn all_connections() -> Vec<Recorded> {
    let cases = cases(FILE).into_iter();
    let connections = cases.filter(|case| case.find("section") == Some("connection"));
    connections.map(|case| Recorded::read(&case)).collect()
}

/// The connection whose name is this, up to the end of a word.
pub(crate) fn connection(name: &str) -> Recorded {
    let found = all_connections().into_iter().find(|one| one.name == name);
    found.unwrap_or_else(|| panic!("no connection {name:?}"))
}

/// Seal one record with keys that a hand-over found, at number `sequence`.
pub(crate) fn seal(
    direction: &DirectionKeys,
    sequence: u64,
    content_type: u8,
    payload: &[u8],
) -> Vec<u8> {
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
        .expect("a good frame");
    record
}

/// Cut bytes into records.
pub(crate) fn records(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let size = 5 + usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
        let (record, rest) = bytes.split_at(size);
        found.push(record);
        bytes = rest;
    }
    found
}

fn step(text: &str) -> Step {
    let (side, what) = text.split_once(':').expect("a side");
    let role = if side == "C" {
        Role::Client
    } else {
        Role::Server
    };
    match what {
        "done" => Step::Done(role),
        digits => Step::Sent(role, hex(digits)),
    }
}

fn hex(digits: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a digit");
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::try_from(digit(pair[0]) << 4 | digit(pair[1])).expect("a byte"))
        .collect()
}
