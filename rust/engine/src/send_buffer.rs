//! The send buffer of one connection: what is accepted, what is being sealed, what is ready. Pure bookkeeping;
//! the locks, the sealing and the sending are `stream.rs`.
//!
//! ```text
//! accepted -> runs (not claimed) -> units (sealing | ready) -> taken by the sender -> gone
//!   |          ^
//!   +-- open record (MSG_MORE), closed before anything else is framed
//! ```
//! Units leave in the order in which they were claimed, whatever order their sealing ends in.

use std::collections::VecDeque;
use std::sync::Arc;

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::frames::{APPLICATION_DATA, Framing, PLAIN_FRAME_LEN, Payload, Run};
use crate::pages::Pages;
use crate::transmit::{Fingerprint, NewKey, Transmit};

/// Sealed bytes and how far they have been sent.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) pages: Pages,
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Payload bytes not yet taken by TCP, as the writer counts them.
    pub(crate) plain: usize,
}

impl Sealed {
    /// Notes that TCP took `sent` bytes; returns the payload bytes that this stands for.
    pub(crate) fn advance(&mut self, sent: usize) -> usize {
        let before = self.plain;
        let total = self.end - self.start;
        self.start += sent;
        let left = self.end - self.start;
        // A share of the unit's payload; the last byte takes the rest with it.
        self.plain = if left == 0 { 0 } else { before * left / total };
        before - self.plain
    }
}

#[derive(Debug)]
enum Unit {
    Sealing(u64),
    Ready(Sealed),
}

/// Frames claimed for sealing: whoever holds it owes the buffer a [`SendBuffer::ready`].
pub(crate) struct Claim {
    id: u64,
    pub(crate) parts: Vec<Run>,
    pub(crate) plain: usize,
    pub(crate) wire_size: usize,
}

/// A record that more data will join: its number and key are fixed, its length is not.
struct OpenRecord {
    framing: Framing,
    payload: Vec<u8>,
    capacity: usize,
}

/// See the head of this file.
#[derive(Default)]
pub(crate) struct SendBuffer {
    open: Option<OpenRecord>,
    runs: VecDeque<Run>,
    units: VecDeque<Unit>,
    sealing: usize,
    next_unit: u64,
    /// Payload bytes accepted and not yet taken by TCP.
    pub(crate) held: usize,
    /// Payload bytes that TCP has taken.
    pub(crate) sent: u64,
    /// Those of units that it has taken whole.
    pub(crate) delivered: u64,
    /// Payload bytes in `runs`.
    pub(crate) queued: usize,
    /// File runs not yet read: queued or being sealed.
    pub(crate) files_unread: usize,
    pub(crate) transmit: Option<Transmit>,
    /// The keys that were given from outside: none comes again, since its numbers would.
    used_keys: Vec<Fingerprint>,
}

impl SendBuffer {
    /// Whether TCP has everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.held == 0 && !self.has_work()
    }

    /// Whether there is anything to be sealed, being sealed, or ready; an open record is none of it.
    pub(crate) fn has_work(&self) -> bool {
        !self.runs.is_empty() || !self.units.is_empty()
    }

    /// Frames with this key from now on.
    pub(crate) fn set_key(&mut self, new: NewKey) {
        self.used_keys.extend(new.fingerprint);
        self.transmit = Some(Transmit::new(new));
    }

    /// EINVAL for a key that was installed before.
    pub(crate) fn check_unused(&self, new: &NewKey) -> Result<()> {
        if new
            .fingerprint
            .is_some_and(|fingerprint| self.used_keys.contains(&fingerprint))
        {
            return Err(Error::new(
                Errno::INVAL,
                "this key was used on this connection before, and a key seals a number once; give the next one",
            ));
        }
        Ok(())
    }

    /// Fixes type, number and key of the frames that `len` bytes make.
    pub(crate) fn frame(&mut self, len: u64, content_type: u8) -> Result<Framing> {
        let Some(transmit) = &mut self.transmit else {
            return Ok(Framing::Plain);
        };
        let count = transmit.layout.record_count(len);
        let sequence = transmit.take_numbers(count, content_type)?;
        Ok(Framing::Records {
            key: Arc::clone(&transmit.key),
            layout: transmit.layout,
            content_type,
            sequence,
        })
    }

    /// Whether a record is held open.
    pub(crate) fn has_open_record(&self) -> bool {
        self.open.is_some()
    }

    /// Payload bytes that the record which comes next, or is open, may carry in all.
    pub(crate) fn frame_len(&self) -> usize {
        match (&self.open, &self.transmit) {
            (Some(open), _) => open.capacity,
            (None, Some(transmit)) => transmit.layout.max_frame_len,
            (None, None) => PLAIN_FRAME_LEN,
        }
    }

    /// Puts as many of the bytes as fit into the open record, after opening one where there is none; returns how
    /// many. A full record is closed.
    pub(crate) fn hold(&mut self, bytes: &[u8]) -> Result<usize> {
        let capacity = self.frame_len();
        let mut open = match self.open.take() {
            Some(open) => open,
            None => OpenRecord {
                framing: self.frame(1, APPLICATION_DATA)?,
                payload: Vec::new(),
                capacity,
            },
        };
        let count = bytes.len().min(capacity - open.payload.len());
        open.payload.extend_from_slice(&bytes[..count]);
        self.held += count;
        let full = open.payload.len() == capacity;
        self.open = Some(open);
        if full {
            self.close_record();
        }
        Ok(count)
    }

    /// Closes the open record, if there is one: nothing joins it any more.
    pub(crate) fn close_record(&mut self) {
        let Some(open) = self.open.take() else {
            return;
        };
        let len = open.payload.len();
        // It is counted among what is held already.
        self.held -= len;
        self.append(Run {
            framing: open.framing,
            payload: Payload::Bytes {
                owner: Arc::new(open.payload),
                start: 0,
            },
            len: len as u64,
        });
    }

    pub(crate) fn append(&mut self, run: Run) {
        let len = usize::try_from(run.len).unwrap_or(usize::MAX);
        self.held += len;
        self.queued += len;
        self.files_unread += usize::from(run.is_file());
        self.runs.push_back(run);
    }

    /// Whether a write may be sealed at once: nothing accepted before it still waits for that, or is in work where
    /// the suite seals in order, and a socket that is full has not got its share of ciphertext yet.
    pub(crate) fn may_gather(&self, blocked: bool) -> bool {
        self.runs.is_empty()
            && (!blocked || self.units.is_empty())
            && (self.sealing == 0 || !self.is_sequential())
    }

    fn is_sequential(&self) -> bool {
        let transmit = self.transmit.as_ref();
        transmit.is_some_and(|transmit| transmit.key.suite().sequential())
    }

    /// The ready unit at the end, if `size` more bytes fit into it and it has not grown past `limit` payload bytes.
    pub(crate) fn gathering(&mut self, size: usize, limit: usize) -> Option<&mut Sealed> {
        match self.units.back_mut() {
            Some(Unit::Ready(sealed))
                if sealed.end + size <= sealed.pages.len() && sealed.plain < limit =>
            {
                Some(sealed)
            }
            _ => None,
        }
    }

    /// Payload bytes accepted since the beginning.
    pub(crate) fn accepted(&self) -> u64 {
        self.sent + self.held as u64
    }

    /// TCP took payload bytes; `whole`: the last of their unit.
    pub(crate) fn taken(&mut self, plain: usize, whole: bool) {
        self.held -= plain;
        self.sent += plain as u64;
        if whole {
            self.delivered = self.sent;
        }
    }

    /// Number of units claimed and not yet taken by the sender.
    pub(crate) fn units(&self) -> usize {
        self.units.len()
    }

    /// Whether frames are being sealed right now.
    pub(crate) fn is_sealing(&self) -> bool {
        self.sealing > 0
    }

    pub(crate) fn push_ready(&mut self, sealed: Sealed) {
        self.units.push_back(Unit::Ready(sealed));
    }

    /// Takes the next frames up to `limit` payload bytes for sealing; None when there are none, or when the suite
    /// seals one unit at a time and one is in work.
    pub(crate) fn claim(&mut self, limit: usize) -> Option<Claim> {
        let room = wire_room(limit);
        let mut claim = Claim {
            id: self.next_unit,
            parts: Vec::new(),
            plain: 0,
            wire_size: 0,
        };
        while let Some(run) = self.runs.front_mut() {
            if let Framing::Records { key, .. } = &run.framing
                && key.suite().sequential()
                && self.sealing > 0
            {
                break;
            }
            let was_file = run.is_file();
            let left = limit.saturating_sub(claim.plain);
            let Some(part) = run.split_front(
                room - claim.wire_size.min(room),
                left,
                claim.parts.is_empty(),
            ) else {
                break;
            };
            if run.len == 0 {
                self.runs.pop_front();
            } else {
                self.files_unread += usize::from(was_file);
            }
            claim.plain += usize::try_from(part.len).unwrap_or(usize::MAX);
            claim.wire_size += part.wire_size();
            claim.parts.push(part);
            if claim.plain >= limit || claim.wire_size >= room {
                break;
            }
        }
        if claim.parts.is_empty() {
            return None;
        }
        self.next_unit += 1;
        self.sealing += 1;
        self.queued -= claim.plain;
        self.units.push_back(Unit::Sealing(claim.id));
        Some(claim)
    }

    /// Marks a claim ready (the seed's `pru_ready`). Err: the buffer was dropped meanwhile.
    pub(crate) fn ready(
        &mut self,
        claim: &Claim,
        sealed: Sealed,
    ) -> core::result::Result<(), Sealed> {
        let place = self
            .units
            .iter_mut()
            .find(|unit| matches!(unit, Unit::Sealing(id) if *id == claim.id));
        let Some(place) = place else {
            return Err(sealed);
        };
        *place = Unit::Ready(sealed);
        self.sealing -= 1;
        self.files_unread -= claim.parts.iter().filter(|part| part.is_file()).count();
        Ok(())
    }

    /// The head of the buffer, if it is ready.
    pub(crate) fn take_ready(&mut self) -> Option<Sealed> {
        match self.units.pop_front() {
            Some(Unit::Ready(sealed)) => Some(sealed),
            Some(sealing) => {
                self.units.push_front(sealing);
                None
            }
            None => None,
        }
    }

    /// Gives back what TCP did not take.
    pub(crate) fn put_back(&mut self, sealed: Sealed) {
        self.units.push_front(Unit::Ready(sealed));
    }

    /// The ready unit at the head, for trimming it while it waits.
    pub(crate) fn head_mut(&mut self) -> Option<&mut Sealed> {
        match self.units.front_mut() {
            Some(Unit::Ready(sealed)) => Some(sealed),
            _ => None,
        }
    }

    /// Whether more than the unit just taken is on its way.
    pub(crate) fn has_more(&self) -> bool {
        self.has_work() || self.open.is_some()
    }

    /// Drops everything: the connection has failed.
    pub(crate) fn clear(&mut self) {
        self.open = None;
        self.runs.clear();
        self.units.clear();
        self.sealing = 0;
        self.held = 0;
        self.queued = 0;
        self.files_unread = 0;
    }
}

/// Bytes on the wire that a unit of `limit` payload bytes may take: every record's overhead with it.
pub(crate) fn wire_room(limit: usize) -> usize {
    limit + limit / 64 + 512
}
