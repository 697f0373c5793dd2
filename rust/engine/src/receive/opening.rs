//! Opening by a key that may wait for others: the records go to it in a batch, while nothing of the stream is locked, and
//! what came of them waits here for the reader, who then takes one after the other.
//!
//! A batch may reach beyond a KeyUpdate: what it says of the records behind that is forgotten with the key.

use std::collections::VecDeque;
use std::sync::Arc;

use ktls_record::{Error as RecordError, Open, Opened, RecordHeader};
use zeroize::Zeroizing;

use super::partial::{Framed, frame};

/// Records that are to be opened.
pub(super) struct Opening {
    opener: Arc<dyn Open>,
    first: u64,
    records: Vec<Zeroizing<Vec<u8>>>,
    opened: VecDeque<Ahead>,
}

/// What came of one: its type, the payload, or why there is none.
type Ahead = Result<(u8, Zeroizing<Vec<u8>>), RecordError>;

impl Opening {
    /// The whole records that these bytes begin with, the first of which has the number `first`.
    pub(super) fn new(opener: &Arc<dyn Open>, first: u64, mut bytes: &[u8]) -> Self {
        let mut records = Vec::new();
        while let Framed::Whole(header) = frame(opener.suite(), bytes) {
            let (record, rest) = bytes.split_at(header.record_size());
            records.push(Zeroizing::new(record.to_vec()));
            bytes = rest;
        }
        Self {
            opener: Arc::clone(opener),
            first,
            records,
            opened: VecDeque::new(),
        }
    }

    /// Opens them; no lock is held.
    pub(super) fn run(mut self) -> Self {
        let numbered = (self.first..).zip(&mut self.records);
        let batch = numbered.map(|(sequence, record)| (sequence, &mut record[..]));
        let kept =
            |opened: Opened<'_>| (opened.content_type, Zeroizing::new(opened.payload.to_vec()));
        let opened = self.opener.open_batch(batch.collect());
        self.opened = opened.into_iter().map(|opened| opened.map(kept)).collect();
        self.records.clear();
        self
    }
}

/// Records that were opened before their turn.
#[derive(Default)]
pub(super) struct OpenedAhead(VecDeque<Ahead>);

impl OpenedAhead {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes what was opened under this key, unless another thread was faster.
    pub(super) fn take_in(&mut self, opening: Opening, opener: &Arc<dyn Open>, sequence: u64) {
        let is_current = Arc::ptr_eq(&opening.opener, opener) && opening.first == sequence;
        if is_current && self.0.is_empty() {
            self.0 = opening.opened;
        }
    }

    pub(super) fn clear(&mut self) {
        self.0 = VecDeque::new();
    }

    /// The record that is next, at the beginning of `out`.
    pub(super) fn next_into<'o>(&mut self, out: &'o mut [u8]) -> Result<Opened<'o>, RecordError> {
        let (content_type, payload) = self.0.pop_front().unwrap_or(Err(RecordError::BadRecord))?;
        let (begin, rest) = out.split_at_mut(payload.len().min(out.len()));
        begin.copy_from_slice(&payload[..begin.len()]);
        rest.fill(0);
        Ok(Opened {
            content_type,
            payload: begin,
        })
    }

    /// The same in the place of the record's text.
    pub(super) fn next_in_place<'r>(
        &mut self,
        header: RecordHeader,
        header_size: usize,
        record: &'r mut [u8],
    ) -> Result<Opened<'r>, RecordError> {
        self.next_into(&mut record[header_size..][..header.text_len()])
    }
}
