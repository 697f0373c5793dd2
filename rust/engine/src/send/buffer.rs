//! The send buffer of one connection: what is accepted, what is being sealed, what is ready. Pure bookkeeping;
//! the locks, the sealing and the sending are `drive.rs`.
//!
//! ```text
//! accepted -> runs (not claimed) -> batches (sealing | ready) -> taken by the sender -> gone
//!   |          ^
//!   +-- open record (MSG_MORE), closed before anything else is framed
//! ```
//! Batches leave in the order in which they were claimed, whatever order their sealing ends in. Two positions on the
//! wire, of what is framed and of what TCP has taken, say exactly when a write has left.

use std::collections::VecDeque;
use std::sync::Arc;

use super::run::{APPLICATION_DATA, Framing, PLAIN_FRAME_LEN, Payload, RecordRun};
use super::write_state::{NewWriteState, WriteState};
use crate::counters;
use crate::error::Result;
use crate::pool::{Charge, Memory, SealBuffer};
use crate::traffic::Traffic;

/// What an entry of the buffer costs beside its payload, as an mbuf does (MSIZE): record overhead and bookkeeping.
const RUN_COST: usize = 256;

/// Sealed bytes and how far they have been sent.
#[derive(Debug)]
pub(super) struct SealedBatch {
    pub(super) buffer: SealBuffer,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Payload bytes not yet taken by TCP, as the writer counts them.
    pub(super) plain: usize,
}

impl SealedBatch {
    /// Notes that TCP took `sent` bytes; returns the payload bytes that this stands for.
    pub(super) fn advance(&mut self, sent: usize) -> usize {
        let before = self.plain;
        let total = self.end - self.start;
        self.start += sent;
        let left = self.end - self.start;
        // A share of the batch's payload; the last byte takes the rest with it.
        self.plain = if left == 0 { 0 } else { before * left / total };
        before - self.plain
    }

    pub(super) fn is_sent(&self) -> bool {
        self.start == self.end
    }
}

#[derive(Debug)]
enum Batch {
    Sealing(u64),
    Ready(SealedBatch),
}

/// Frames claimed for sealing. The buffer waits for its [`SendBuffer::ready`].
pub(super) struct SealJob {
    id: u64,
    pub(super) parts: Vec<RecordRun>,
    pub(super) plain: usize,
    pub(super) wire_size: usize,
}

impl SealJob {
    /// Whether sealing it may wait for others.
    pub(super) fn may_wait(&self) -> bool {
        self.parts.iter().any(RecordRun::may_wait)
    }

    pub(super) fn has_file(&self) -> bool {
        self.parts.iter().any(RecordRun::is_file)
    }
}

/// A record that more data will join: its number and key are fixed, its length is not.
struct OpenRecord {
    framing: Framing,
    payload: Vec<u8>,
    capacity: usize,
}

/// See the head of this file.
#[derive(Default)]
pub(super) struct SendBuffer {
    open: Option<OpenRecord>,
    runs: VecDeque<RecordRun>,
    batches: VecDeque<Batch>,
    sealing: usize,
    next_batch: u64,
    held: usize,
    queued: usize,
    files_unread: usize,
    /// Runs that the last claim found waiting for records before them, as the gauge counts them.
    pending: u64,
    /// Bytes of files that nobody has claimed: they take no memory.
    queued_files: usize,
    memory: Arc<Memory>,
    charge: Charge,
    wire_framed: u64,
    wire_sent: u64,
    /// Payload of everything framed and closed.
    payload_framed: u64,
    past_keys: PastKeys,
    pub(super) write_state: Option<WriteState>,
}

/// What was framed before the key in use.
#[derive(Default)]
struct PastKeys {
    /// Keys that were installed.
    count: u64,
    /// Records of those that are gone.
    records: u64,
    /// Payload, and position on the wire, where the first record begins.
    payload_start: u64,
    wire_start: u64,
}

impl SendBuffer {
    /// An empty buffer, whose content is charged to this account.
    pub(super) fn new(memory: Arc<Memory>) -> Self {
        let mut buffer = Self::default();
        buffer.memory = memory;
        buffer
    }

    /// Bytes that the process has room for.
    pub(super) fn process_room(&self) -> usize {
        self.memory.room()
    }

    /// After a change of what is held.
    #[inline]
    fn recharge(&mut self) {
        // Where runs are queued they count as well; where none are, this is all.
        if self.charge.is_due(self.held) || !self.runs.is_empty() {
            self.charge_anew();
        }
    }

    #[cold]
    fn charge_anew(&mut self) {
        let held = self.used() - self.queued_files;
        self.charge.set(&self.memory, held);
    }

    /// Whether TCP has everything.
    pub(super) fn is_empty(&self) -> bool {
        self.held == 0 && !self.has_work()
    }

    /// Whether there is anything to be sealed, being sealed, or ready; an open record is none of it.
    pub(super) fn has_work(&self) -> bool {
        !self.runs.is_empty() || !self.batches.is_empty()
    }

    /// Payload bytes accepted and not yet taken by TCP.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// What the buffer costs: what it holds, and what it keeps beside it.
    pub(super) fn used(&self) -> usize {
        self.held + self.runs.len() * RUN_COST
    }

    /// Payload bytes that nobody has claimed for sealing.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Whether what is next to be sealed may have to wait for others, which callers do not do.
    pub(super) fn needs_worker(&self) -> bool {
        self.write_state
            .as_ref()
            .is_some_and(|state| state.key.may_wait())
            && self.runs.iter().any(RecordRun::may_wait)
    }

    /// Whether a file that was accepted has not been read: it is queued or being sealed.
    pub(super) fn has_unread_file(&self) -> bool {
        self.files_unread > 0
    }

    /// Position on the wire behind the last record that is framed and closed.
    pub(super) fn wire_framed(&self) -> u64 {
        self.wire_framed
    }

    /// Position on the wire up to which TCP has everything.
    pub(super) fn wire_sent(&self) -> u64 {
        self.wire_sent
    }

    /// Frames with this key from now on.
    pub(super) fn set_write_state(&mut self, new: NewWriteState) {
        if self.past_keys.count == 0 {
            self.past_keys.payload_start = self.payload_framed;
            self.past_keys.wire_start = self.wire_framed;
        }
        self.past_keys.count += 1;
        self.end_write_state();
        self.write_state = Some(WriteState::new(new));
        // Many connections only wait from here on: what the handshake needed is given back.
        if !self.has_work() {
            self.runs = VecDeque::new();
            self.batches = VecDeque::new();
        }
    }

    fn end_write_state(&mut self) {
        let ended = self.write_state.take();
        self.past_keys.records += ended.map_or(0, |state| state.record_count());
    }

    /// What was framed in records so far.
    pub(super) fn traffic(&self) -> Traffic {
        let past = &self.past_keys;
        if past.count == 0 {
            return Traffic {
                queued_bytes: self.held as u64,
                ..Traffic::default()
            };
        }
        let state = self.write_state.as_ref();
        let open = self.open.as_ref().map_or(0, |open| open.payload.len());
        Traffic {
            records: past.records + state.map_or(0, WriteState::record_count),
            payload_bytes: self.payload_framed - past.payload_start + open as u64,
            wire_bytes: self.wire_sent.saturating_sub(past.wire_start),
            errors: 0,
            key_changes: past.count - 1,
            queued_bytes: self.held as u64,
            sequence: state.map(|state| state.sequence),
        }
    }

    /// Fixes type, number and key of the frames that `len` bytes make. `is_start`: they begin a write of data.
    pub(super) fn frame(&mut self, len: u64, content_type: u8, is_start: bool) -> Result<Framing> {
        let Some(state) = &mut self.write_state else {
            return Ok(Framing::Plain);
        };
        let fragmenter = if is_start {
            state.fragmenter
        } else {
            state.fragmenter.without_lead()
        };
        let count = fragmenter.record_count(len);
        let sequence = state.take_numbers(count, content_type)?;
        Ok(Framing::Records {
            key: Arc::clone(&state.key),
            fragmenter,
            content_type,
            sequence,
        })
    }

    /// Whether a record is held open.
    pub(super) fn has_open_record(&self) -> bool {
        self.open.is_some()
    }

    /// Payload bytes that the record which comes next, or is open, may carry in all.
    pub(super) fn frame_len(&self) -> usize {
        match (&self.open, &self.write_state) {
            (Some(open), _) => open.capacity,
            (None, Some(state)) => state.fragmenter.max_frame_len,
            (None, None) => PLAIN_FRAME_LEN,
        }
    }

    /// Payload bytes of the record that precedes the data of a write of so many.
    pub(super) fn lead_len(&self, len: usize) -> usize {
        let keys = self.write_state.as_ref();
        keys.and_then(|keys| keys.fragmenter.lead_len(len))
            .unwrap_or(0)
    }

    /// Puts as many of the bytes as fit into the open record, after opening one where there is none; returns how
    /// many. A full record is closed.
    pub(super) fn extend_open_record(&mut self, bytes: &[u8]) -> Result<usize> {
        let capacity = self.frame_len();
        let mut open = match self.open.take() {
            Some(open) => open,
            None => OpenRecord {
                framing: self.frame(1, APPLICATION_DATA, false)?,
                payload: Vec::new(),
                capacity,
            },
        };
        let count = bytes.len().min(capacity - open.payload.len());
        open.payload.extend_from_slice(&bytes[..count]);
        self.held += count;
        self.recharge();
        let full = open.payload.len() == capacity;
        self.open = Some(open);
        if full {
            self.close_open_record();
        }
        Ok(count)
    }

    /// Closes the open record, if there is one: nothing joins it any more.
    pub(super) fn close_open_record(&mut self) {
        let Some(open) = self.open.take() else {
            return;
        };
        let len = open.payload.len();
        // It is counted among what is held already.
        self.held -= len;
        self.append(RecordRun {
            framing: open.framing,
            payload: Payload::Bytes {
                owner: Arc::new(open.payload),
                start: 0,
            },
            len: len as u64,
        });
    }

    pub(super) fn append(&mut self, run: RecordRun) {
        let len = usize::try_from(run.len).unwrap_or(usize::MAX);
        self.held += len;
        self.queued += len;
        if run.is_file() {
            self.files_unread += 1;
            self.queued_files += len;
        }
        self.wire_framed += run.wire_size() as u64;
        self.payload_framed += run.len;
        self.runs.push_back(run);
        self.recharge();
    }

    /// Whether a write may be sealed at once: nothing accepted before it still waits for that, or is in work where
    /// the suite seals in order, and a socket that is full has not got its share of ciphertext yet.
    pub(super) fn may_coalesce(&self, blocked: bool) -> bool {
        self.runs.is_empty()
            && (!blocked || self.batches.is_empty())
            && (self.sealing == 0 || !self.is_sequential())
    }

    fn is_sequential(&self) -> bool {
        let state = self.write_state.as_ref();
        state.is_some_and(|state| state.key.suite().sequential())
    }

    /// The ready batch at the end, if `size` more bytes fit into it and it has not grown past `limit` payload bytes.
    pub(super) fn last_ready(&mut self, size: usize, limit: usize) -> Option<&mut SealedBatch> {
        match self.batches.back_mut() {
            Some(Batch::Ready(sealed))
                if sealed.end + size <= sealed.buffer.len() && sealed.plain < limit =>
            {
                Some(sealed)
            }
            _ => None,
        }
    }

    /// Counts a write that was sealed into the last batch.
    pub(super) fn coalesced(&mut self, len: usize, size: usize) {
        self.held += len;
        self.wire_framed += size as u64;
        self.payload_framed += len as u64;
        self.recharge();
    }

    /// TCP took `wire` bytes, which stand for `plain` bytes of payload.
    pub(super) fn taken(&mut self, plain: usize, wire: usize) {
        self.held -= plain;
        self.wire_sent += wire as u64;
        self.recharge();
    }

    /// Number of batches claimed and not yet taken by the sender.
    pub(super) fn batches(&self) -> usize {
        self.batches.len()
    }

    /// Whether frames are being sealed right now.
    pub(super) fn is_sealing(&self) -> bool {
        self.sealing > 0
    }

    pub(super) fn push_ready(&mut self, sealed: SealedBatch) {
        self.batches.push_back(Batch::Ready(sealed));
    }

    /// Takes the next frames up to `limit` payload bytes for sealing; None when there are none, or when the suite
    /// seals one batch at a time and one is in work.
    pub(super) fn claim(&mut self, limit: usize) -> Option<SealJob> {
        let space = wire_space(limit);
        let mut job = SealJob {
            id: self.next_batch,
            parts: Vec::new(),
            plain: 0,
            wire_size: 0,
        };
        while let Some(run) = self.runs.front_mut() {
            if let Framing::Records { key, .. } = &run.framing
                && key.suite().sequential()
                && self.sealing > 0
            {
                self.note_pending(self.runs.len() as u64);
                break;
            }
            let was_file = run.is_file();
            let part = match run.split_front(
                space.saturating_sub(job.wire_size),
                limit.saturating_sub(job.plain),
            ) {
                Some(part) => part,
                None if job.parts.is_empty() => run.split_one(),
                None => break,
            };
            if run.len == 0 {
                self.runs.pop_front();
            } else {
                self.files_unread += usize::from(was_file);
            }
            let len = usize::try_from(part.len).unwrap_or(usize::MAX);
            if was_file {
                self.queued_files -= len;
            }
            job.plain += len;
            job.wire_size += part.wire_size();
            job.parts.push(part);
            if job.plain >= limit || job.wire_size >= space {
                break;
            }
        }
        if job.parts.is_empty() {
            return None;
        }
        self.next_batch += 1;
        self.sealing += 1;
        self.queued -= job.plain;
        self.recharge();
        self.batches.push_back(Batch::Sealing(job.id));
        Some(job)
    }

    /// So many runs wait for records before them.
    fn note_pending(&mut self, pending: u64) {
        counters::TX_PENDING.add(pending);
        counters::TX_PENDING.sub(self.pending);
        self.pending = pending;
    }

    /// Marks a job ready (upstream's `pru_ready`). Err: the buffer was dropped meanwhile.
    pub(super) fn ready(
        &mut self,
        job: &SealJob,
        sealed: SealedBatch,
    ) -> core::result::Result<(), SealedBatch> {
        let place = self
            .batches
            .iter_mut()
            .find(|batch| matches!(batch, Batch::Sealing(id) if *id == job.id));
        let Some(place) = place else {
            return Err(sealed);
        };
        *place = Batch::Ready(sealed);
        if self.pending > 0 {
            self.note_pending(0);
        }
        self.sealing -= 1;
        self.files_unread -= job.parts.iter().filter(|part| part.is_file()).count();
        Ok(())
    }

    /// The head of the buffer, if it is ready.
    pub(super) fn take_ready(&mut self) -> Option<SealedBatch> {
        match self.batches.pop_front() {
            Some(Batch::Ready(sealed)) => Some(sealed),
            Some(sealing) => {
                self.batches.push_front(sealing);
                None
            }
            None => None,
        }
    }

    /// Gives back what TCP did not take.
    pub(super) fn put_back(&mut self, sealed: SealedBatch) {
        self.batches.push_front(Batch::Ready(sealed));
    }

    /// The ready batch at the head, for trimming it while it waits.
    pub(super) fn head_mut(&mut self) -> Option<&mut SealedBatch> {
        match self.batches.front_mut() {
            Some(Batch::Ready(sealed)) => Some(sealed),
            _ => None,
        }
    }

    /// Whether more than the batch just taken is on its way.
    pub(super) fn has_more(&self) -> bool {
        self.has_work() || self.open.is_some()
    }

    /// Drops everything, the key included: the connection has failed.
    pub(super) fn clear(&mut self) {
        self.note_pending(0);
        self.end_write_state();
        self.open = None;
        self.runs.clear();
        self.batches.clear();
        self.sealing = 0;
        self.held = 0;
        self.queued = 0;
        self.files_unread = 0;
        self.queued_files = 0;
        self.recharge();
    }
}

impl Drop for SendBuffer {
    fn drop(&mut self) {
        self.charge.set(&self.memory, 0);
    }
}

/// Bytes on the wire that a batch of `limit` payload bytes may take: every record's overhead with it.
pub(super) fn wire_space(limit: usize) -> usize {
    limit + limit / 64 + 512
}
