//! The hot buffers in which records are sealed. They belong to whoever is working, not to a connection:
//! the last one given back is the next one taken, so it is still in the cache.

use std::sync::{Mutex, PoisonError};

/// Kept for the next taker; more than this many at once is a peak, not a habit.
const KEPT: usize = 16;

/// A buffer of the pool: its length is its capacity, its content is ciphertext or scrap.
pub(crate) type Pages = Vec<u8>;

#[derive(Debug, Default)]
pub(crate) struct PagePool(Mutex<Vec<Pages>>);

impl PagePool {
    /// A buffer of at least `size` bytes.
    pub(crate) fn take(&self, size: usize) -> Pages {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match kept {
            Some(pages) if pages.len() >= size => pages,
            _ => vec![0; size],
        }
    }

    pub(crate) fn give_back(&self, pages: Pages) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(pages);
        }
    }
}
