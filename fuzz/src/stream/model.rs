//! The writes of a script as a plain list, and what the wire must look like for it.

use std::time::{Duration, Instant};

use ktls_engine::{RecordSplit, WriteFlags};
use ktls_record::{Keys, provider, schedule};
use zeroize::Zeroizing;

use super::{ALONE, ENDED, KEY_UPDATE, PATIENCE, lock};

/// Writes in order, and what they were sealed with.
#[derive(Default)]
pub(super) struct Model {
    sessions: Vec<Session>,
    writes: Vec<Write>,
    /// A write may be cut short by what the key may seal.
    pub(super) is_limited: bool,
    pub(super) corked: usize,
    /// Asynchronous writes that the calls did not say the end of.
    pub(super) unended: Vec<u64>,
}

/// Keys from a number on, and the secret that they came from.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) keys: Keys,
    pub(super) sequence: u64,
    pub(super) secret: Option<Zeroizing<Vec<u8>>>,
    /// What precedes the data of a write.
    pub(super) split: RecordSplit,
}

impl Session {
    /// The keys after a KeyUpdate that the stream sent by itself.
    fn renewed(&self) -> Self {
        let secret = self.secret.as_ref().expect("a secret was given");
        let secret = schedule::next_traffic_secret(secret).expect("it has a hash's length");
        Self {
            keys: schedule::traffic_keys(self.keys.suite(), &secret).expect("a suite of 1.3"),
            sequence: 0,
            secret: Some(secret),
            split: RecordSplit::None,
        }
    }
}

struct Write {
    /// How many sessions there were.
    session: usize,
    content_type: u8,
    bytes: Vec<u8>,
    /// The next write of data may join its last record.
    is_open: bool,
    /// It begins in a record of its own, behind what precedes its data.
    is_split: bool,
    /// A KeyUpdate that a call asked for, and whether its keys are made from those before.
    announces: Option<bool>,
}

impl Write {
    /// Payload bytes of the record that must precede its data.
    fn lead_len(&self, split: RecordSplit) -> Option<usize> {
        match split {
            _ if !self.is_split => None,
            RecordSplit::None => None,
            RecordSplit::Empty => Some(0),
            RecordSplit::OneByte => Some(1),
        }
    }
}

impl Model {
    pub(super) fn install(&mut self, session: Session, is_limited: bool) {
        self.sessions.push(session);
        self.is_limited = is_limited;
    }

    /// A KeyUpdate that announces other keys; `renews`: those made from the secret in use.
    pub(super) fn announced(&mut self, message: &[u8], renews: bool) {
        let flags = WriteFlags {
            content_type: 22,
            ..ALONE
        };
        self.accepted(flags, message);
        if let Some(write) = self.writes.last_mut() {
            write.announces = Some(renews);
        }
    }

    pub(super) fn accepted(&mut self, flags: WriteFlags, bytes: &[u8]) {
        let session = self.sessions.len();
        let may_join = flags.content_type == 23 && !flags.atomic && !bytes.is_empty();
        let is_open = may_join && (flags.more || self.corked > 0);
        if let Some(last) = self.writes.last_mut()
            && may_join
            && last.is_open
            && last.session == session
        {
            last.bytes.extend_from_slice(bytes);
            last.is_open = is_open;
            return;
        }
        self.writes.push(Write {
            session,
            content_type: flags.content_type,
            bytes: bytes.to_vec(),
            is_open,
            is_split: may_join && !is_open,
            announces: None,
        });
    }

    /// Whether every asynchronous write has ended.
    pub(super) fn wait_for_ends(&self) {
        let deadline = Instant::now() + PATIENCE;
        for id in &self.unended {
            while !lock(&ENDED).contains(id) {
                assert!(Instant::now() < deadline, "write {id} does not end");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// The wire holds the writes, none joined with another; `broken`: as far as it got.
    pub(super) fn check(&self, wire: &[u8], broken: bool) {
        let mut wire = wire.to_vec();
        let mut rest = &mut wire[..];
        let mut number = 0;
        let mut session: Option<Session> = None;
        for write in &self.writes {
            if write.session != number {
                number = write.session;
                session = self.sessions.get(number - 1).cloned();
            }
            let Some(session) = &mut session else {
                let count = rest.len().min(write.bytes.len());
                assert!(broken || count == write.bytes.len());
                let (plain, after) = rest.split_at_mut(count);
                assert!(*plain == write.bytes[..count], "clear text differs");
                rest = after;
                continue;
            };
            let mut left = &write.bytes[..];
            let mut lead_len = write.lead_len(session.split);
            loop {
                let size = rest
                    .get(3..5)
                    .map(|len| 5 + usize::from(len[0]) * 256 + usize::from(len[1]));
                let Some(size) = size.filter(|&size| size <= rest.len()) else {
                    assert!(broken, "the wire ends early");
                    return;
                };
                let (record, after) = rest.split_at_mut(size);
                let opener = provider::opener("ring", &session.keys).expect("the key fits");
                let opened = opener
                    .open_in_place(session.sequence, record)
                    .expect("the next record");
                session.sequence += 1;
                rest = after;
                let is_update = opened.content_type == 22 && *opened.payload == KEY_UPDATE;
                if is_update && write.announces.is_none() {
                    *session = session.renewed();
                    continue;
                }
                assert_eq!(opened.content_type, write.content_type);
                if let Some(lead_len) = lead_len.take() {
                    assert_eq!(opened.payload.len(), lead_len, "what precedes the data");
                }
                let (expected, more) = left
                    .split_at_checked(opened.payload.len())
                    .expect("writes were joined");
                assert!(*opened.payload == *expected, "the payload differs");
                left = more;
                if left.is_empty() {
                    break;
                }
            }
            if write.announces == Some(true) {
                *session = session.renewed();
            }
        }
        assert!(rest.is_empty(), "{} bytes that nobody wrote", rest.len());
    }
}
