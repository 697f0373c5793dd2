//! The buffers in which records are sealed. They belong to the thread that works, not to a connection: the last one
//! given back is the next one taken, so it is still in the cache.

use std::sync::Mutex;

use super::lock;
use crate::tunables;

/// Kept for the next taker; more than this many at once is a peak, not a habit.
const KEPT: usize = 16;

/// A buffer of the pool: its length is its capacity, its content is ciphertext or scrap.
pub(crate) type SealBuffer = Vec<u8>;

#[derive(Debug, Default)]
pub(crate) struct BufferPool(Mutex<Vec<SealBuffer>>);

impl BufferPool {
    /// A buffer of at least `size` bytes.
    pub(crate) fn take(&self, size: usize) -> SealBuffer {
        let kept = lock(&self.0).pop();
        match kept {
            Some(buffer) if buffer.len() >= size => buffer,
            _ => vec![0; size],
        }
    }

    pub(crate) fn give_back(&self, buffer: SealBuffer) {
        if tunables::sw_buffer_cache::get() == 0 {
            return;
        }
        let mut kept = lock(&self.0);
        if kept.len() < KEPT {
            kept.push(buffer);
        }
    }
}
