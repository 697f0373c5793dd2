//! Overwrites what a computation with keys left on the stack.
//!
//! Values that hold keys are wiped where they are freed, but on their way there they were moved, and the ciphers keep
//! working copies; the frames that held those are gone and their bytes are not. A call that comes after, from the same
//! frame, takes the same place on the stack and can write over it. Registers are not thought of.

use core::hint::black_box;

/// More than setting up a key, or deriving one, takes.
const DERIVING: usize = 16 << 10;

/// More than sealing or opening a record takes.
const SEALING: usize = 4 << 10;

/// Do `work`, which handles keys, and overwrite its stack. What it returns must hold none itself.
pub(crate) fn after_deriving<T>(work: impl FnOnce() -> T) -> T {
    let result = in_a_frame_of_its_own(work);
    overwrite::<DERIVING>();
    result
}

/// Overwrite the stack of the record that was just sealed or opened.
pub(crate) fn after_record() {
    overwrite::<SEALING>();
}

#[inline(never)]
fn in_a_frame_of_its_own<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn overwrite<const SIZE: usize>() {
    black_box(&mut [0u8; SIZE]);
}
