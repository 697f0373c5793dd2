//! What the connections of one process hold in memory, plaintext and ciphertext, and the bound of that
//! (`kern.ipc.tls.max_buffered`).
//!
//! It never drops anything and lets nobody wait for another connection: at the bound a connection that holds nothing may
//! still hold one record, so each goes on as fast as its own peer reads. What may be held beyond the bound is therefore
//! two records for each connection, one that is let through and one that is too little to be counted.

use std::sync::atomic::{AtomicUsize, Ordering};

use ktls_record::MAX_FRAME_LEN;

use crate::tunables;

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Memory(AtomicUsize);

impl Memory {
    /// Bytes held now, as far as they are counted.
    pub(crate) fn held(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Bytes that may still be held; none where that is less than a record.
    pub(crate) fn room(&self) -> usize {
        let room = tunables::max_buffered::get().saturating_sub(self.held());
        if room < MAX_FRAME_LEN { 0 } else { room }
    }
}

/// What one connection holds, in steps of a record: what it holds less is not worth telling all cores of.
#[derive(Debug, Default)]
pub(crate) struct Charge(usize);

impl Charge {
    /// Whether [`Charge::set`] with so many bytes may do something: a short write that is sent at once asks nothing else.
    #[inline]
    pub(crate) fn is_due(&self, held: usize) -> bool {
        self.0 > 0 || held >= MAX_FRAME_LEN
    }

    /// The connection holds so many bytes now.
    pub(crate) fn set(&mut self, memory: &Memory, held: usize) {
        let is_far = held.abs_diff(self.0) >= MAX_FRAME_LEN;
        if is_far || (held == 0 && self.0 > 0) {
            self.move_to(memory, held);
        }
    }

    #[cold]
    fn move_to(&mut self, memory: &Memory, held: usize) {
        if held > self.0 {
            memory.0.fetch_add(held - self.0, Ordering::Relaxed);
        } else {
            memory.0.fetch_sub(self.0 - held, Ordering::Relaxed);
        }
        self.0 = held;
    }
}

#[cfg(test)]
mod tests {
    use super::{Charge, MAX_FRAME_LEN, Memory};

    #[test]
    fn a_little_is_not_counted_and_the_end_always_is() {
        let memory = Memory::default();
        let mut charge = Charge::default();
        charge.set(&memory, MAX_FRAME_LEN - 1);
        assert_eq!(memory.held(), 0);
        charge.set(&memory, MAX_FRAME_LEN);
        assert_eq!(memory.held(), MAX_FRAME_LEN);
        charge.set(&memory, 1);
        assert_eq!(memory.held(), MAX_FRAME_LEN, "less than a step");
        charge.set(&memory, 0);
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn charges_add_up() {
        let memory = Memory::default();
        let mut charges = [const { Charge(0) }; 4];
        for (index, charge) in charges.iter_mut().enumerate() {
            charge.set(&memory, (index + 1) * MAX_FRAME_LEN);
        }
        assert_eq!(memory.held(), 10 * MAX_FRAME_LEN);
        for charge in &mut charges {
            charge.set(&memory, 0);
        }
        assert_eq!(memory.held(), 0);
    }
}
