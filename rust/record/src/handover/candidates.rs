//! From a finished handshake and its logged secrets to keys that are proven to be those of the connection.
//!
//! TLS 1.0 to 1.2: one master secret must open all encrypted records of both sides, the two Finished among them.
//! TLS 1.3: a handshake secret of each side must open its records up to Finished; the application secret is another
//! one, proven by what was sent under it, or else by the probe.

use zeroize::Zeroizing;

use super::agreed::Agreed;
use super::content_type::{APPLICATION_DATA, HANDSHAKE};
use super::message::{MessageAssembler, split_records};
use super::opener::CountingOpener;
use super::openssl::OpensslWriteState;
use super::{Declined, DirectionKeys, HandshakeTap, Role};
use crate::keylog::LoggedSecret;
use crate::keys::Keys;
use crate::schedule;
use crate::suite::{Suite, Version};

const FINISHED: u8 = 20;
/// Bytes of a master secret (RFC 5246 §8.1).
const MASTER_SECRET_LEN: usize = 48;

/// The keys that a connection may have, of which one pair is its own.
#[derive(Debug)]
pub struct Candidates {
    /// The suite of both directions.
    pub suite: Suite,
    /// Keys that open all our encrypted records: one, unless nothing was sent under the application keys yet (TLS
    /// 1.3). Then the probe decides.
    pub write: Vec<DirectionKeys>,
    /// Keys that open all encrypted records of the peer: one, unless a stranger had secrets logged under the same
    /// client random (TLS 1.3).
    ///
    /// When there are more, that a record opens proves nothing: the stranger knows one of the keys and may have sent
    /// it. Then OpenSSL must read first, and [`read_keys_of`] the record that it accepts names the keys.
    pub read: Vec<DirectionKeys>,
    /// The most payload bytes that a record of ours may have (RFC 6066 §4, RFC 8449 §4).
    pub max_frame_len: usize,
    /// Whether the client can be asked for a certificate later (RFC 8446 §4.2.6).
    pub offers_post_handshake_auth: bool,
}

/// The keys that OpenSSL's probe has proven.
#[derive(Debug)]
pub struct Verified {
    /// Their index in [`Candidates::write`].
    pub index: usize,
    /// The keys for what reaches the wire: as if there had been no probe.
    pub write: DirectionKeys,
    /// As [`Candidates::read`].
    pub read: Vec<DirectionKeys>,
    /// What OpenSSL believes after the probe.
    pub openssl: OpensslWriteState,
}

/// No candidate opens the probe. OpenSSL is one record ahead of the wire by now: close the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the keys found in the key log do not open what OpenSSL writes: the connection was closed")]
pub struct ProbeFailed;

/// The keys of a connection whose handshake is finished: those of `secrets` that open its encrypted records.
///
/// `secrets` are all that were logged under [`HandshakeTap::client_random`], whoever logged them. `cipher_name` is
/// OpenSSL's name of the suite, as a check.
///
/// # Errors
/// [`Declined`]: OpenSSL keeps the connection.
pub fn find(
    tap: &HandshakeTap,
    secrets: &[LoggedSecret],
    cipher_name: Option<&str>,
) -> Result<Candidates, Declined> {
    let agreed = Agreed::of(tap, cipher_name)?;
    if secrets.is_empty() {
        return Err(Declined::NoSecret);
    }
    let (write, read) = match agreed.suite.version() {
        Version::Tls13 => (
            traffic_candidates(agreed, secrets, tap.role, tap),
            traffic_candidates(agreed, secrets, tap.role.peer(), tap),
        ),
        Version::Tls10 | Version::Tls11 | Version::Tls12 => {
            key_block_candidates(agreed, secrets, tap)
        }
    };
    if write.is_empty() {
        return Err(Declined::OwnRecords);
    }
    if read.is_empty() {
        return Err(Declined::PeerRecords);
    }
    Ok(Candidates {
        suite: agreed.suite,
        write,
        read,
        max_frame_len: agreed.max_frame_len(tap.role),
        offers_post_handshake_auth: agreed.client_hello.offers_post_handshake_auth,
    })
}

impl Candidates {
    /// The candidate that opens the probe: what OpenSSL wrote, and the caller threw away, for one byte of zero.
    ///
    /// # Errors
    /// [`ProbeFailed`].
    pub fn verify_probe(self, probe_records: &[u8]) -> Result<Verified, ProbeFailed> {
        let records = split_records(probe_records).ok_or(ProbeFailed)?;
        for (index, write) in self.write.into_iter().enumerate() {
            let opener = CountingOpener::new(write.keys.clone(), write.sequence);
            let mut opener = opener.map_err(|_| ProbeFailed)?;
            let Some(opened) = opener.open_all(&records) else {
                continue;
            };
            // Two records in TLS 1.0, where OpenSSL puts an empty one before the data.
            let is_data = opened.iter().all(|(kind, _)| *kind == APPLICATION_DATA);
            if is_data && opened.iter().flat_map(|(_, payload)| payload).eq(&[0]) {
                let openssl = OpensslWriteState::new(opener, self.suite, write.secret.clone());
                return Ok(Verified {
                    index,
                    write,
                    read: self.read,
                    openssl,
                });
            }
        }
        Err(ProbeFailed)
    }
}

/// The keys among `read` that open `record`, moved past it; None when none does.
///
/// Only a record that OpenSSL has accepted proves the keys (see [`Candidates::read`]).
#[must_use]
pub fn read_keys_of(read: Vec<DirectionKeys>, record: &[u8]) -> Option<DirectionKeys> {
    read.into_iter().find_map(|direction| {
        let mut opener = CountingOpener::new(direction.keys, direction.sequence).ok()?;
        opener.open(record).ok()?;
        opener.into_direction_keys(direction.secret).ok()
    })
}

/// The write and the read keys of the first master secret that opens everything (TLS 1.0 to 1.2). Where none does, what
/// is returned says for which direction there was one.
fn key_block_candidates(
    agreed: Agreed<'_>,
    secrets: &[LoggedSecret],
    tap: &HandshakeTap,
) -> (Vec<DirectionKeys>, Vec<DirectionKeys>) {
    let mut write = None;
    for secret in secrets {
        if secret.label != "CLIENT_RANDOM" || secret.secret.len() != MASTER_SECRET_LEN {
            continue;
        }
        let (client, server) = (&agreed.client_hello.random, &agreed.server_hello.random);
        let block =
            schedule::key_block(agreed.suite, agreed.hash, &secret.secret, client, server).ok();
        let Some(block) = block else { continue };
        let (own, peer) = match tap.role {
            Role::Client => (block.client_write, block.server_write),
            Role::Server => (block.server_write, block.client_write),
        };
        let Some(own) = after_key_block_records(own, tap.protected(tap.role)) else {
            continue;
        };
        if let Some(peer) = after_key_block_records(peer, tap.protected(tap.role.peer())) {
            return (vec![own], vec![peer]);
        }
        write = Some(own);
    }
    (write.into_iter().collect(), Vec::new())
}

/// The direction after all its encrypted records, the first of which holds Finished (RFC 5246 §7.4.9).
fn after_key_block_records(keys: Keys, records: &[Box<[u8]>]) -> Option<DirectionKeys> {
    let mut opener = CountingOpener::new(keys, 0).ok()?;
    let rest = open_until_finished(&mut opener, records)?;
    opener.open_all(rest)?;
    opener.into_direction_keys(None).ok()
}

/// The directions that `sender`'s application secrets give, after all records that it sent under them (TLS 1.3).
fn traffic_candidates(
    agreed: Agreed<'_>,
    secrets: &[LoggedSecret],
    sender: Role,
    tap: &HandshakeTap,
) -> Vec<DirectionKeys> {
    let (handshake_label, application_label) = match sender {
        Role::Client => ("CLIENT_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_TRAFFIC_SECRET_0"),
        Role::Server => ("SERVER_HANDSHAKE_TRAFFIC_SECRET", "SERVER_TRAFFIC_SECRET_0"),
    };
    let labelled = |label: &'static str| {
        // The length tells the hash (RFC 8446 §7.1); another one belongs to another connection.
        let len = agreed.hash.output_len();
        let matching =
            move |logged: &&LoggedSecret| logged.label == label && logged.secret.len() == len;
        secrets.iter().filter(matching).map(|logged| &logged.secret)
    };
    let opener_of = |secret: &Zeroizing<Vec<u8>>| {
        let keys = schedule::traffic_keys(agreed.suite, secret).ok()?;
        CountingOpener::new(keys, 0).ok()
    };
    let records = tap.protected(sender);
    let application_records = labelled(handshake_label).find_map(|secret| {
        let mut opener = opener_of(secret)?;
        let mut records = records;
        if sender == Role::Client {
            // Early data that a server refused: passed over, not counted (RFC 8446 §4.2.10).
            let begin = records.iter().position(|record| opener.opens(record))?;
            records = &records[begin..];
        }
        open_until_finished(&mut opener, records)
    });
    let Some(application_records) = application_records else {
        return Vec::new();
    };
    let mut found: Vec<DirectionKeys> = Vec::new();
    for secret in labelled(application_label) {
        // Logged twice when both ends are in this process.
        if found
            .iter()
            .any(|known| known.secret.as_ref() == Some(secret))
        {
            continue;
        }
        let direction = opener_of(secret).and_then(|mut opener| {
            opener.open_all(application_records)?;
            opener.into_direction_keys(Some(secret.clone())).ok()
        });
        found.extend(direction);
    }
    found
}

/// Open records up to the end of Finished; returns those after it, or None when one does not open or it is not there.
fn open_until_finished<'r>(
    opener: &mut CountingOpener,
    records: &'r [Box<[u8]>],
) -> Option<&'r [Box<[u8]>]> {
    let mut messages = MessageAssembler::default();
    for (index, record) in records.iter().enumerate() {
        let (content_type, payload) = opener.open(record).ok()?;
        if content_type != HANDSHAKE {
            continue;
        }
        messages.push(&payload);
        while let Some(message) = messages.next_message() {
            if message[0] == FINISHED {
                return records.get(index + 1..);
            }
        }
    }
    None
}
