//! How the payload of a write is cut into records: their length, their padding, and what precedes the first of them.
//!
//! Arithmetic only. Numbers are taken elsewhere (`write_state.rs`), by the counts that are made here.

use ktls_record::{Frame, Suite};

/// What precedes the data of a write where an observer knows the IV of the next record: TLS 1.0 with AES-CBC (the attack
/// called BEAST; RFC 5246 §F.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordSplit {
    /// Nothing.
    #[default]
    None,
    /// A record without data.
    Empty,
    /// A record of the first byte (1/n-1 record splitting).
    OneByte,
}

/// See the head of this file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragmenter {
    /// The most payload bytes of a record, padding included.
    pub(super) max_frame_len: usize,
    /// Zeros bring the payload of a record to a multiple of this, as far as there is space (RFC 8446 §5.4); 0: none.
    pub(super) block_padding: usize,
    pub(super) split: RecordSplit,
}

impl Fragmenter {
    /// The same for what continues a write, or is a message of its own.
    pub(super) fn without_lead(self) -> Self {
        Self {
            split: RecordSplit::None,
            ..self
        }
    }

    /// Payload bytes of the record that precedes the data; None: there is none.
    pub(super) fn lead_len(self, len: usize) -> Option<usize> {
        match self.split {
            RecordSplit::None => None,
            RecordSplit::Empty => (len > 0).then_some(0),
            RecordSplit::OneByte => (len > 1).then_some(1),
        }
    }

    /// The frame of so many payload bytes where they take but one.
    #[inline]
    pub(super) fn only_frame(self, content_type: u8, sequence: u64, len: usize) -> Option<Frame> {
        (len <= self.max_frame_len && self.split == RecordSplit::None).then(|| Frame {
            content_type,
            sequence,
            payload_len: len,
            padding_len: self.padding_len(len),
        })
    }

    /// The frames of so many payload bytes in order, the first with this number.
    pub(super) fn frames(
        self,
        content_type: u8,
        first: u64,
        len: usize,
    ) -> impl Iterator<Item = Frame> {
        let lead = self.lead_len(len);
        let (lead_len, lead_count) = (lead.unwrap_or(0), u64::from(lead.is_some()));
        let count = self.record_count(len as u64);
        (0..count).map(move |index| {
            let payload_len = match index.checked_sub(lead_count) {
                None => lead_len,
                Some(full) => {
                    let before = usize::try_from(full).unwrap_or(usize::MAX) * self.max_frame_len;
                    self.max_frame_len.min(len - lead_len - before)
                }
            };
            Frame {
                content_type,
                sequence: first + index,
                payload_len,
                padding_len: self.padding_len(payload_len),
            }
        })
    }

    fn padding_len(self, payload_len: usize) -> usize {
        if self.block_padding == 0 {
            return 0;
        }
        let padded = payload_len.next_multiple_of(self.block_padding);
        padded.min(self.max_frame_len).saturating_sub(payload_len)
    }

    /// Records that `len` bytes take; no bytes are one empty record.
    pub(super) fn record_count(self, len: u64) -> u64 {
        if len <= self.max_frame_len as u64 && self.split == RecordSplit::None {
            return 1;
        }
        let lead = self.lead_len(usize::try_from(len).unwrap_or(usize::MAX));
        let rest = len - lead.unwrap_or(0) as u64;
        rest.div_ceil(self.max_frame_len as u64).max(1) + u64::from(lead.is_some())
    }

    pub(super) fn record_size(self, suite: Suite, payload_len: usize) -> usize {
        suite.record_size(payload_len) + self.padding_len(payload_len)
    }

    /// Bytes on the wire of `len` payload bytes.
    pub(super) fn wire_size(self, suite: Suite, len: usize) -> usize {
        if len <= self.max_frame_len && self.split == RecordSplit::None {
            return self.record_size(suite, len);
        }
        let (len, lead) = match self.lead_len(len) {
            Some(lead) => (len - lead, self.record_size(suite, lead)),
            None => (len, 0),
        };
        let (full, rest) = (len / self.max_frame_len, len % self.max_frame_len);
        let last = if rest > 0 || len == 0 {
            self.record_size(suite, rest)
        } else {
            0
        };
        lead + full * suite.record_size(self.max_frame_len) + last
    }
}

#[cfg(test)]
mod tests {
    use super::{Fragmenter, RecordSplit};
    use ktls_record::{Algorithm, Suite, Version};

    fn lens(split: RecordSplit, len: usize) -> Vec<usize> {
        let fragmenter = Fragmenter {
            max_frame_len: 100,
            block_padding: 0,
            split,
        };
        let frames: Vec<_> = fragmenter.frames(23, 7, len).collect();
        assert_eq!(frames.len() as u64, fragmenter.record_count(len as u64));
        let suite = Suite::new(Version::Tls13, Algorithm::Aes128Gcm).expect("a suite");
        let size: usize = frames.iter().map(|frame| frame.record_size(suite)).sum();
        assert_eq!(size, fragmenter.wire_size(suite, len));
        for (index, frame) in frames.iter().enumerate() {
            assert_eq!(frame.sequence, 7 + index as u64);
        }
        frames.iter().map(|frame| frame.payload_len).collect()
    }

    #[test]
    fn a_write_is_cut_into_full_records_and_a_rest() {
        assert_eq!(lens(RecordSplit::None, 0), [0]);
        assert_eq!(lens(RecordSplit::None, 100), [100]);
        assert_eq!(lens(RecordSplit::None, 201), [100, 100, 1]);
    }

    #[test]
    fn an_empty_record_precedes_data_and_nothing_else() {
        assert_eq!(lens(RecordSplit::Empty, 0), [0]);
        assert_eq!(lens(RecordSplit::Empty, 1), [0, 1]);
        assert_eq!(lens(RecordSplit::Empty, 200), [0, 100, 100]);
    }

    #[test]
    fn the_first_byte_goes_alone() {
        assert_eq!(lens(RecordSplit::OneByte, 0), [0]);
        assert_eq!(lens(RecordSplit::OneByte, 1), [1]);
        assert_eq!(lens(RecordSplit::OneByte, 2), [1, 1]);
        assert_eq!(lens(RecordSplit::OneByte, 202), [1, 100, 100, 1]);
    }
}
