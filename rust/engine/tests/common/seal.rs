//! A key that asks a test before it seals.

use ktls_record::{Error, Frame, Seal, Suite};

use super::{Keys, NewWriteState, keys, sealer};

/// What is done before each record is sealed.
type Before = Box<dyn Fn(Frame) + Send + Sync>;

struct Asking {
    seal: Box<dyn Seal>,
    before: Before,
}

impl Seal for Asking {
    fn suite(&self) -> Suite {
        self.seal.suite()
    }

    fn seal_in_place(&self, frame: Frame, record: &mut [u8]) -> Result<(), Error> {
        (self.before)(frame);
        self.seal.seal_in_place(frame, record)
    }

    fn seal_from(&self, frame: Frame, payload: &[u8], record: &mut [u8]) -> Result<(), Error> {
        (self.before)(frame);
        self.seal.seal_from(frame, payload, record)
    }
}

/// The keys that 3 stands for, from record 0.
pub(crate) fn asking(before: impl Fn(Frame) + Send + Sync + 'static) -> NewWriteState {
    let keys: Keys = keys(3);
    let seal = Asking {
        seal: sealer(&keys),
        before: Box::new(before),
    };
    NewWriteState::new(&keys, Box::new(seal), 0, super::FULL)
}
