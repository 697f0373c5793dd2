//! The provider `ring`: always compiled in. It works in place only, so a payload from elsewhere is copied first.
//!
//! ring does not wipe the expanded key when it is dropped, so that a key of zeros is expanded in its place; `aws-lc`
//! wipes its own.

use core::hint::black_box;

use ring::aead::{self, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use crate::cipher::aead::Aead;
use crate::error::Error;
use crate::suite::{Algorithm, NONCE_LEN, TAG_LEN};

pub(super) const NAME: &str = "ring";

pub(super) fn random(out: &mut [u8]) -> Result<(), Error> {
    SystemRandom::new()
        .fill(out)
        .map_err(|_| refused("give random bytes"))
}

/// A key held by ring.
pub(super) struct RingAead(LessSafeKey);

impl Drop for RingAead {
    fn drop(&mut self) {
        let algorithm = self.0.algorithm();
        if let Ok(zeros) = UnboundKey::new(algorithm, &[0; 32][..algorithm.key_len()]) {
            self.0 = LessSafeKey::new(zeros);
            // Else nobody looks at it any more, and it need not be written.
            black_box(&self.0);
        }
    }
}

impl Aead for RingAead {
    fn new(algorithm: Algorithm, key: &[u8]) -> Result<Self, Error> {
        let algorithm = match algorithm {
            Algorithm::Aes128Gcm => &aead::AES_128_GCM,
            Algorithm::Aes256Gcm => &aead::AES_256_GCM,
            Algorithm::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
            Algorithm::Aes128Cbc | Algorithm::Aes256Cbc => {
                return Err(refused("take a key that is not an AEAD's"));
            }
        };
        let key = UnboundKey::new(algorithm, key).map_err(|_| refused("take the key"))?;
        Ok(Self(LessSafeKey::new(key)))
    }

    fn seal_in_place(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        text: &mut [u8],
        tag: &mut [u8],
    ) -> Result<(), Error> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = self
            .0
            .seal_in_place_separate_tag(nonce, aead::Aad::from(aad), text)
            .map_err(|_| refused("seal a record"))?;
        tag.copy_from_slice(sealed.as_ref());
        Ok(())
    }

    fn seal_from(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        payload: &[u8],
        inner_type: &[u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        let (text, tag) = out.split_at_mut(payload.len() + inner_type.len());
        let (content, inner) = text.split_at_mut(payload.len());
        content.copy_from_slice(payload);
        inner.copy_from_slice(inner_type);
        self.seal_in_place(nonce, aad, text, tag)
    }

    fn open_in_place(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        text_and_tag: &mut [u8],
    ) -> Result<(), Error> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        match self
            .0
            .open_in_place(nonce, aead::Aad::from(aad), text_and_tag)
        {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::BadRecord),
        }
    }

    fn open_from(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        text: &[u8],
        tag: &[u8; TAG_LEN],
        out: &mut [u8],
    ) -> Result<(), Error> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        out.copy_from_slice(text);
        let (aad, tag) = (aead::Aad::from(aad), aead::Tag::from(*tag));
        match self.0.open_in_place_separate_tag(nonce, aad, tag, out, 0..) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::BadRecord),
        }
    }
}

fn refused(action: &'static str) -> Error {
    Error::Provider {
        provider: NAME,
        action,
    }
}
