//! What was opened and found no place in a caller's buffer, in the order of the stream: records, or the rest of one, and
//! what is to be raised in their place. Wiped when it is dropped.

use std::collections::VecDeque;

use ktls_record::content_type::APPLICATION_DATA;
use zeroize::Zeroizing;

use super::output::Output;
use crate::error::Error;

/// The plaintext of one record, or the rest of it.
pub(super) struct KeptRecord {
    pub(super) content_type: u8,
    /// A part of it was delivered before.
    pub(super) is_begun: bool,
    plaintext: Zeroizing<Vec<u8>>,
    delivered: usize,
}

impl KeptRecord {
    pub(super) fn new(content_type: u8, plaintext: &[u8], is_begun: bool) -> Self {
        Self {
            content_type,
            is_begun,
            plaintext: Zeroizing::new(plaintext.to_vec()),
            delivered: 0,
        }
    }

    /// What was not delivered.
    pub(super) fn rest(&self) -> &[u8] {
        &self.plaintext[self.delivered..]
    }

    pub(super) fn is_data(&self) -> bool {
        self.content_type == APPLICATION_DATA
    }

    fn deliver(&mut self, count: usize) {
        self.is_begun = true;
        self.delivered += count;
    }
}

/// One place in the order of the stream.
pub(super) enum Kept {
    Record(KeptRecord),
    /// Raised once, by the call that comes to it.
    Error(Error),
}

/// See the head of this file.
#[derive(Default)]
pub(super) struct KeptQueue(VecDeque<Kept>);

impl KeptQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, kept: Kept) {
        self.0.push_back(kept);
    }

    /// Puts data back that a call took and could not return.
    pub(super) fn put_back(&mut self, data: &[u8]) {
        if !data.is_empty() {
            let record = KeptRecord::new(APPLICATION_DATA, data, true);
            self.0.push_front(Kept::Record(record));
        }
    }

    pub(super) fn front(&self) -> Option<&Kept> {
        self.0.front()
    }

    /// Removes and returns the error that is next.
    pub(super) fn take_error(&mut self) -> Option<Error> {
        match self.0.pop_front()? {
            Kept::Error(error) => {
                self.free_if_empty();
                Some(error)
            }
            record @ Kept::Record(_) => {
                self.0.push_front(record);
                None
            }
        }
    }

    /// Bytes of data before anything else, and whether something else follows them.
    pub(super) fn data_at_hand(&self) -> (usize, bool) {
        let mut count = 0;
        for kept in &self.0 {
            match kept {
                Kept::Record(record) if record.is_data() => count += record.rest().len(),
                Kept::Record(_) | Kept::Error(_) => return (count, true),
            }
        }
        (count, false)
    }

    pub(super) fn has_empty_data(&self) -> bool {
        let is_empty =
            |kept: &Kept| matches!(kept, Kept::Record(record) if record.rest().is_empty());
        self.0.iter().any(is_empty)
    }

    /// Moves data to the output, up to its end or the next thing that is no data.
    pub(super) fn deliver(&mut self, output: &mut Output<'_>) {
        if self.0.is_empty() {
            return;
        }
        while let Some(Kept::Record(record)) = self.0.front_mut()
            && record.is_data()
        {
            let count = output.append(record.rest());
            if count < record.rest().len() {
                record.deliver(count);
                return;
            }
            self.0.pop_front();
        }
        self.free_if_empty();
    }

    /// The same, and leaves it here.
    pub(super) fn peek(&self, output: &mut Output<'_>) {
        for kept in &self.0 {
            match kept {
                Kept::Record(record) if record.is_data() => {
                    output.append(record.rest());
                }
                Kept::Record(_) | Kept::Error(_) => return,
            }
        }
    }

    /// Takes `count` bytes of the first record as delivered.
    pub(super) fn consume(&mut self, count: usize) {
        if let Some(Kept::Record(record)) = self.0.front_mut() {
            if count < record.rest().len() {
                record.deliver(count);
            } else {
                self.0.pop_front();
                self.free_if_empty();
            }
        }
    }

    fn free_if_empty(&mut self) {
        if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
    }
}
