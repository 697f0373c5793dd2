//! The IVs of AES-CBC records: unpredictable ones from TLS 1.1 on, chained ones in TLS 1.0.
//!
//! An IV that travels is the encryption of the sequence number under a random key of its own, which nobody else
//! holds (NIST SP 800-38A appendix C, first method, with another key than the records'). So it is unpredictable,
//! repeats only when a sequence number does, needs no state and no system call, and any order of sealing will do.

use zeroize::Zeroizing;

use crate::error::Error;
use crate::provider;
use crate::provider::rustcrypto::EncryptKey;
use crate::suite::BLOCK_LEN;

/// An IV or a cipher block.
pub(super) type Block = [u8; BLOCK_LEN];

/// Makes the IVs that travel.
pub(super) struct RandomIvs(EncryptKey);

impl RandomIvs {
    /// With a new random key.
    pub(super) fn new() -> Result<Self, Error> {
        let mut key = Zeroizing::new([0; 32]);
        provider::random(&mut *key)?;
        EncryptKey::new(&*key).map(Self)
    }

    /// The IV of a record.
    pub(super) fn of(&self, sequence: u64) -> Block {
        let mut block = [0; BLOCK_LEN];
        block[..8].copy_from_slice(&sequence.to_be_bytes());
        self.0.encrypt(&[0; BLOCK_LEN], &mut block);
        block
    }
}

/// The IV of the next record of TLS 1.0, and its number once a record has fixed the count.
#[derive(Clone)]
pub(super) struct Chain {
    iv: Block,
    next: Option<u64>,
}

impl Chain {
    /// A chain that begins with the implicit IV of a key.
    pub(super) const fn new(iv: Block) -> Self {
        Self { iv, next: None }
    }

    /// The IV of record `sequence`, which must be the next one.
    pub(super) fn iv_of(&self, sequence: u64) -> Result<Block, Error> {
        match self.next {
            Some(expected) if expected != sequence => Err(Error::OutOfOrder {
                expected,
                actual: sequence,
            }),
            _ => Ok(self.iv),
        }
    }

    /// The IV of the record that is next.
    pub(super) const fn next_iv(&self) -> Block {
        self.iv
    }

    /// Go on after record `sequence`, whose last cipher block is `last`.
    pub(super) fn advance(&mut self, sequence: u64, last: Block) {
        // The last number is refused before it comes here, so there is always one more.
        self.next = Some(sequence.saturating_add(1));
        self.iv = last;
    }
}
