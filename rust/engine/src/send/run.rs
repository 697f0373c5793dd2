//! What is accepted and not yet sealed: how it will be framed, and references to its payload.
//!
//! One [`RecordRun`] stands for consecutive frames of one write, so that a gigabyte costs one entry. Type, sequence
//! number and key are fixed when a run is made; the payload is neither copied nor mapped before it is sealed.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use ktls_record::{Seal, Suite};

use super::fragmenter::Fragmenter;
use crate::backend::{InUse, Kind};
use crate::counters::{self, Counter};
use crate::times::{self, ProviderTimes};

/// The content type of application data (RFC 8446 §5.1).
pub(crate) const APPLICATION_DATA: u8 = 23;

/// Bytes that go out at once where there are no records.
pub(super) const PLAIN_FRAME_LEN: usize = 16 << 10;

/// Bytes that outlive the call that brought them.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Where the payload of a run lies.
#[derive(Clone)]
pub(super) enum Payload {
    Bytes { owner: SharedBytes, start: usize },
    File { file: Arc<OwnedFd>, offset: u64 },
}

impl Payload {
    /// Its first `len` bytes, if they are in memory.
    pub(super) fn bytes(&self, len: usize) -> Option<&[u8]> {
        match self {
            Self::Bytes { owner, start } => (**owner).as_ref().get(*start..*start + len),
            Self::File { .. } => None,
        }
    }
}

/// A key that records are sealed with. It belongs to the records framed while it was installed, not to the connection.
pub(super) struct WriteKey {
    pub(super) seal: Box<dyn Seal>,
    /// In whose hands it is.
    pub(super) backend: Option<InUse>,
    kind: Kind,
    may_wait: bool,
    gauge: &'static Counter,
    /// What is measured of who seals with it.
    pub(super) times: &'static ProviderTimes,
}

impl WriteKey {
    pub(super) fn new(seal: Box<dyn Seal>, backend: Option<InUse>) -> Self {
        use ktls_record::Algorithm;
        let gauge = match seal.suite().algorithm() {
            Algorithm::ChaCha20Poly1305 => &counters::SW_CHACHA20,
            Algorithm::Aes128Gcm | Algorithm::Aes256Gcm => &counters::SW_GCM,
            Algorithm::Aes128Cbc | Algorithm::Aes256Cbc => &counters::SW_CBC,
            other => unreachable!("no gauge for {other}"),
        };
        gauge.add(1);
        let name = backend
            .as_ref()
            .map_or("", |in_use| in_use.backend().provider().name());
        Self {
            kind: Kind::of(seal.suite()),
            may_wait: seal.may_wait(),
            times: times::of_provider(name),
            seal,
            backend,
            gauge,
        }
    }

    pub(super) fn suite(&self) -> Suite {
        self.seal.suite()
    }

    /// Whether sealing may wait for others, so that no lock may be held.
    pub(super) fn may_wait(&self) -> bool {
        self.may_wait
    }

    /// Counts what was sealed, many records at once.
    pub(super) fn count(&self, records: u64, payload_len: usize) {
        counters::RECORDS.add(records);
        counters::BYTES.add(payload_len as u64);
        if let Some(backend) = &self.backend {
            backend.count_sealed(self.kind, records);
        }
    }
}

impl Drop for WriteKey {
    fn drop(&mut self) {
        self.gauge.sub(1);
    }
}

/// How the bytes of a run go out.
#[derive(Clone)]
pub(super) enum Framing {
    /// As they are: before a key is installed.
    Plain,
    /// In records, the first of them with this number.
    Records {
        key: Arc<WriteKey>,
        fragmenter: Fragmenter,
        content_type: u8,
        sequence: u64,
    },
}

impl Framing {
    /// The key, where there are records.
    pub(super) fn key(&self) -> Option<&WriteKey> {
        match self {
            Self::Plain => None,
            Self::Records { key, .. } => Some(key),
        }
    }

    /// Bytes on the wire of `len` payload bytes.
    pub(super) fn wire_size(&self, len: usize) -> usize {
        match self {
            Self::Plain => len,
            Self::Records {
                key, fragmenter, ..
            } => fragmenter.wire_size(key.suite(), len),
        }
    }
}

/// Consecutive frames of one write.
#[derive(Clone)]
pub(super) struct RecordRun {
    pub(super) framing: Framing,
    pub(super) payload: Payload,
    pub(super) len: u64,
}

impl RecordRun {
    /// Payload bytes that go out at once per frame, for cutting.
    fn frame_len(&self) -> usize {
        match &self.framing {
            Framing::Plain => PLAIN_FRAME_LEN,
            Framing::Records { fragmenter, .. } => fragmenter.max_frame_len,
        }
    }

    /// What goes before the full frames: payload bytes, records, and bytes on the wire.
    fn lead(&self) -> (usize, u64, usize) {
        let len = usize::try_from(self.len).unwrap_or(usize::MAX);
        match &self.framing {
            Framing::Records {
                key, fragmenter, ..
            } => fragmenter.lead_len(len).map_or((0, 0, 0), |lead| {
                (lead, 1, fragmenter.record_size(key.suite(), lead))
            }),
            Framing::Plain => (0, 0, 0),
        }
    }

    pub(super) fn wire_size(&self) -> usize {
        self.framing
            .wire_size(usize::try_from(self.len).unwrap_or(usize::MAX))
    }

    /// Whether sealing it may wait for others.
    pub(super) fn may_wait(&self) -> bool {
        matches!(&self.framing, Framing::Records { key, .. } if key.may_wait())
    }

    /// Whether the payload is a file's.
    pub(super) fn is_file(&self) -> bool {
        matches!(self.payload, Payload::File { .. })
    }

    /// Takes whole frames from the front while they fit into `wire_space` bytes on the wire and `len_limit` of payload;
    /// None: not even one fits.
    pub(super) fn split_front(&mut self, wire_space: usize, len_limit: usize) -> Option<Self> {
        if usize::try_from(self.len).is_ok_and(|len| len <= len_limit)
            && self.wire_size() <= wire_space
        {
            return Some(self.take());
        }
        let frame_len = self.frame_len();
        let frame_size = match &self.framing {
            Framing::Plain => frame_len,
            Framing::Records { key, .. } => key.suite().record_size(frame_len),
        };
        let (lead_len, _, lead_size) = self.lead();
        let by_size = wire_space.saturating_sub(lead_size) / frame_size;
        let by_len = len_limit.saturating_sub(lead_len) / frame_len;
        match by_size.min(by_len) {
            0 => None,
            // The rest is one frame that is too long for the space left.
            frames if self.is_within(frames) => {
                (self.wire_size() <= wire_space).then(|| self.take())
            }
            frames => Some(self.split(frames)),
        }
    }

    /// Takes one frame from the front, whatever its size, with what goes before it.
    pub(super) fn split_one(&mut self) -> Self {
        if self.is_within(1) {
            self.take()
        } else {
            self.split(1)
        }
    }

    /// Whether so many full frames hold all of it.
    fn is_within(&self, frames: usize) -> bool {
        (self.lead().0 + frames * self.frame_len()) as u64 >= self.len
    }

    fn take(&mut self) -> Self {
        let whole = self.clone();
        self.len = 0;
        whole
    }

    fn split(&mut self, frames: usize) -> Self {
        let (lead_len, lead_records, _) = self.lead();
        let len = (lead_len + frames * self.frame_len()) as u64;
        let mut front = self.clone();
        front.len = len;
        self.len -= len;
        match &mut self.payload {
            Payload::Bytes { start, .. } => *start += usize::try_from(len).unwrap_or(usize::MAX),
            Payload::File { offset, .. } => *offset += len,
        }
        if let Framing::Records {
            sequence,
            fragmenter,
            ..
        } = &mut self.framing
        {
            *sequence += lead_records + frames as u64;
            *fragmenter = fragmenter.without_lead();
        }
        front
    }
}
