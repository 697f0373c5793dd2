//! The buffers into which ciphertext is read. They belong to the step that works, not to a connection: the last one
//! given back is the next one taken, so it is still in the cache. Plaintext is wiped before one is given back.

use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

use crate::pool::lock;

/// Kept for the next taker; more than this many at once is a peak, not a habit.
const KEPT: usize = 8;

static FREE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// A buffer of at least the size that was asked for, with scrap in it.
pub(super) struct Scratch(Vec<u8>);

impl Scratch {
    pub(super) fn take(size: usize) -> Self {
        let mut buffer = lock(&FREE).pop().unwrap_or_default();
        if buffer.len() < size {
            // Not `resize`, which would copy the scrap.
            buffer = vec![0; size];
        }
        Self(buffer)
    }
}

impl Deref for Scratch {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut free = lock(&FREE);
        if free.len() < KEPT {
            free.push(core::mem::take(&mut self.0));
        }
    }
}
