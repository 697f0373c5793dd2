//! What a connection has received and not given to OpenSSL: at most a partial record. Finds out where records end, so
//! that what follows a close_notify, perhaps another protocol's, stays in the kernel.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ktls_engine::{Deadline, Error, TcpTransport};

const HEADER_SIZE: usize = 5;

/// Longest protected fragment of any version (RFC 5246 §6.2.3).
const MAX_FRAGMENT_LEN: usize = 16384 + 2048;

/// Bytes taken at once of what is no record.
const UNFRAMED_LEN: usize = 16384;

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Inbox {
    partial: Mutex<Partial>,
    /// OpenSSL has nothing more to read.
    needed: AtomicBool,
    /// OpenSSL has read a close_notify: what follows is not for it.
    ended: AtomicBool,
}

#[derive(Default)]
struct Partial {
    bytes: Vec<u8>,
    /// What comes cannot be TLS records: it goes to OpenSSL as it comes, which knows why to refuse it.
    is_unframed: bool,
}

impl Inbox {
    pub(crate) fn need(&self) {
        self.needed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn forget_need(&self) {
        self.needed.store(false, Ordering::Relaxed);
    }

    pub(crate) fn note_end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    pub(crate) fn is_needed(&self) -> bool {
        self.needed.load(Ordering::Relaxed)
    }

    /// What was taken off the socket and not given out.
    pub(crate) fn take(&self) -> Vec<u8> {
        core::mem::take(&mut self.lock().bytes)
    }

    /// A whole record; what is left of one at the end of the stream; then nothing.
    pub(crate) fn next_record(
        &self,
        transport: &TcpTransport,
        deadline: &mut Deadline<'_>,
    ) -> Result<Vec<u8>, Error> {
        loop {
            let wanted = {
                let mut partial = self.lock();
                match partial.wanted() {
                    0 => return Ok(partial.take_record()),
                    wanted => wanted,
                }
            };
            // A signal handler may read meanwhile: nothing is held, and what comes is put behind what is there.
            let mut chunk = vec![0; wanted];
            let count = ktls_engine::receive(transport, &mut chunk, 0, deadline)?;
            let mut partial = self.lock();
            if count == 0 {
                return Ok(core::mem::take(&mut partial.bytes));
            }
            partial.bytes.extend_from_slice(&chunk[..count]);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Partial> {
        self.partial.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Partial {
    /// Bytes that are missing to the next record; 0: it is there.
    fn wanted(&mut self) -> usize {
        let have = self.bytes.len();
        if have < HEADER_SIZE && !self.is_unframed {
            return HEADER_SIZE - have;
        }
        if !self.is_unframed {
            match record_size(&self.bytes) {
                Some(size) => return size.saturating_sub(have),
                None => self.is_unframed = true,
            }
        }
        if have == 0 { UNFRAMED_LEN } else { 0 }
    }

    fn take_record(&mut self) -> Vec<u8> {
        let size = match record_size(&self.bytes) {
            Some(size) if !self.is_unframed => size.min(self.bytes.len()),
            _ => self.bytes.len(),
        };
        let rest = self.bytes.split_off(size);
        core::mem::replace(&mut self.bytes, rest)
    }
}

/// The records that these bytes are; the last may be cut.
pub(crate) fn split(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let size = record_size(rest).unwrap_or(rest.len()).min(rest.len());
        let (record, after) = rest.split_at(size);
        rest = after;
        Some(record)
    })
}

/// Size of the record that begins so; None when it cannot be one.
fn record_size(bytes: &[u8]) -> Option<usize> {
    let &[content_type, 3, minor, high, low, ..] = bytes else {
        return None;
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    let is_plausible = (20..=23).contains(&content_type) && minor <= 4 && len <= MAX_FRAGMENT_LEN;
    is_plausible.then_some(HEADER_SIZE + len)
}
