//! Frames that are accepted and not yet sealed: how they will be framed, and references to their payload.
//!
//! One [`Run`] stands for consecutive frames of one write, so that a gigabyte costs one entry. Type, sequence
//! number and key are fixed when a run is made; the payload is neither copied nor mapped before it is sealed.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use ktls_record::{Frame, Seal, Suite};

use crate::counters::{self, Counter};

/// The content type of application data (RFC 8446 §5.1).
pub(crate) const APPLICATION_DATA: u8 = 23;

/// Bytes that go out at once where there are no records.
pub(crate) const PLAIN_FRAME_LEN: usize = 16 << 10;

/// Bytes that outlive the call that brought them.
pub type Owner = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Where the payload of a run lies.
#[derive(Clone)]
pub(crate) enum Payload {
    Bytes { owner: Owner, start: usize },
    File { file: Arc<OwnedFd>, offset: u64 },
}

impl Payload {
    /// Its first `len` bytes, if they are in memory.
    pub(crate) fn bytes(&self, len: usize) -> Option<&[u8]> {
        match self {
            Self::Bytes { owner, start } => (**owner).as_ref().get(*start..*start + len),
            Self::File { .. } => None,
        }
    }
}

/// How payload is cut into records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// The most payload bytes of a record, padding included.
    pub(crate) max_frame_len: usize,
    /// Zeros bring the payload of a record to a multiple of this, as far as there is room (RFC 8446 §5.4); 0: none.
    pub(crate) pad_to: usize,
}

impl Layout {
    /// The frames of so many payload bytes in order, the first with this number.
    pub(crate) fn frames(
        self,
        content_type: u8,
        first: u64,
        len: usize,
    ) -> impl Iterator<Item = Frame> {
        let count = self.record_count(len as u64);
        (0..count).map(move |index| {
            let before = usize::try_from(index).unwrap_or(usize::MAX) * self.max_frame_len;
            let payload_len = self.max_frame_len.min(len - before);
            Frame {
                content_type,
                sequence: first + index,
                payload_len,
                padding_len: self.padding_len(payload_len),
            }
        })
    }

    fn padding_len(self, payload_len: usize) -> usize {
        match payload_len.checked_next_multiple_of(self.pad_to) {
            Some(padded) => padded.min(self.max_frame_len).saturating_sub(payload_len),
            None => 0,
        }
    }

    /// Records that `len` bytes take; no bytes are one empty record.
    pub(crate) fn record_count(self, len: u64) -> u64 {
        len.div_ceil(self.max_frame_len as u64).max(1)
    }

    fn record_size(self, suite: Suite, payload_len: usize) -> usize {
        suite.record_size(payload_len) + self.padding_len(payload_len)
    }

    /// Bytes on the wire of `len` payload bytes.
    pub(crate) fn wire_size(self, suite: Suite, len: usize) -> usize {
        let (full, rest) = (len / self.max_frame_len, len % self.max_frame_len);
        let last = if rest > 0 || len == 0 {
            self.record_size(suite, rest)
        } else {
            0
        };
        full * suite.record_size(self.max_frame_len) + last
    }
}

/// A key that records are sealed with. It belongs to the records framed while it was installed, not to the connection.
pub(crate) struct WriteKey {
    pub(crate) seal: Box<dyn Seal>,
    gauge: &'static Counter,
}

impl WriteKey {
    pub(crate) fn new(seal: Box<dyn Seal>) -> Self {
        use ktls_record::Algorithm;
        let gauge = match seal.suite().algorithm() {
            Algorithm::ChaCha20Poly1305 => &counters::SW_CHACHA20,
            Algorithm::Aes128Gcm | Algorithm::Aes256Gcm => &counters::SW_GCM,
            Algorithm::Aes128Cbc | Algorithm::Aes256Cbc => &counters::SW_CBC,
            other => unreachable!("no gauge for {other}"),
        };
        gauge.add(1);
        Self { seal, gauge }
    }

    pub(crate) fn suite(&self) -> Suite {
        self.seal.suite()
    }
}

impl Drop for WriteKey {
    fn drop(&mut self) {
        self.gauge.sub(1);
    }
}

/// How the bytes of a run go out.
#[derive(Clone)]
pub(crate) enum Framing {
    /// As they are: before a key is installed.
    Plain,
    /// In records, the first of them with this number.
    Records {
        key: Arc<WriteKey>,
        layout: Layout,
        content_type: u8,
        sequence: u64,
    },
}

impl Framing {
    /// Bytes on the wire of `len` payload bytes.
    pub(crate) fn wire_size(&self, len: usize) -> usize {
        match self {
            Self::Plain => len,
            Self::Records { key, layout, .. } => layout.wire_size(key.suite(), len),
        }
    }
}

/// Consecutive frames of one write.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) framing: Framing,
    pub(crate) payload: Payload,
    pub(crate) len: u64,
}

impl Run {
    /// Bytes that go out at once per frame, for cutting.
    fn frame_len(&self) -> usize {
        match &self.framing {
            Framing::Plain => PLAIN_FRAME_LEN,
            Framing::Records { layout, .. } => layout.max_frame_len,
        }
    }

    pub(crate) fn wire_size(&self) -> usize {
        self.framing
            .wire_size(usize::try_from(self.len).unwrap_or(usize::MAX))
    }

    /// Whether the payload is a file's.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.payload, Payload::File { .. })
    }

    /// Takes whole frames from the front, at least one, while they fit into `room` bytes on the wire and `limit` of
    /// payload. None: not even one fits, though `must` would take it anyway.
    pub(crate) fn split_front(&mut self, room: usize, limit: usize, must: bool) -> Option<Self> {
        let frame_len = self.frame_len();
        let frame_size = match &self.framing {
            Framing::Plain => frame_len,
            Framing::Records { key, .. } => key.suite().record_size(frame_len),
        };
        if usize::try_from(self.len).is_ok_and(|len| len <= limit) && self.wire_size() <= room {
            let whole = self.clone();
            self.len = 0;
            return Some(whole);
        }
        let mut frames = (room / frame_size).min(limit / frame_len);
        if frames == 0 {
            if !must {
                return None;
            }
            frames = 1;
        }
        let len = (frames * frame_len) as u64;
        if len >= self.len {
            // The rest is one frame that is too long for the room left.
            if !must && self.wire_size() > room {
                return None;
            }
            let whole = self.clone();
            self.len = 0;
            return Some(whole);
        }
        let mut front = self.clone();
        front.len = len;
        self.advance(len, frames as u64);
        Some(front)
    }

    fn advance(&mut self, len: u64, frames: u64) {
        self.len -= len;
        match &mut self.payload {
            Payload::Bytes { start, .. } => *start += usize::try_from(len).unwrap_or(usize::MAX),
            Payload::File { offset, .. } => *offset += len,
        }
        if let Framing::Records { sequence, .. } = &mut self.framing {
            *sequence += frames;
        }
    }
}
