//! The provider `ring`: always compiled in. It works in place only, so a payload from elsewhere is copied first.

use ring::aead::{self, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use crate::cipher::aead::{Aead, AeadOpener, AeadSealer};
use crate::cipher::{Open, Seal};
use crate::error::Error;
use crate::keys::Keys;
use crate::suite::{Algorithm, NONCE_LEN, TAG_LEN};

pub(super) const NAME: &str = "ring";

pub(super) fn sealer(keys: &Keys, explicit_base: u64) -> Result<Box<dyn Seal>, Error> {
    Ok(Box::new(AeadSealer::new(
        keys,
        RingAead::new(keys)?,
        explicit_base,
    )))
}

pub(super) fn opener(keys: &Keys) -> Result<Box<dyn Open>, Error> {
    Ok(Box::new(AeadOpener::new(keys, RingAead::new(keys)?)))
}

pub(super) fn random(out: &mut [u8]) -> Result<(), Error> {
    SystemRandom::new()
        .fill(out)
        .map_err(|_| refused("give random bytes"))
}

struct RingAead(LessSafeKey);

impl RingAead {
    fn new(keys: &Keys) -> Result<Self, Error> {
        let algorithm = match keys.suite().algorithm() {
            Algorithm::Aes128Gcm => &aead::AES_128_GCM,
            Algorithm::Aes256Gcm => &aead::AES_256_GCM,
            Algorithm::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        };
        let key = UnboundKey::new(algorithm, keys.key()).map_err(|_| refused("take the key"))?;
        Ok(Self(LessSafeKey::new(key)))
    }
}

impl Aead for RingAead {
    fn seal_in_place(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        text: &mut [u8],
        tag: &mut [u8; TAG_LEN],
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
        let Some((text, tag)) = out.split_last_chunk_mut::<TAG_LEN>() else {
            return Err(refused("seal into less than a tag"));
        };
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
}

fn refused(action: &'static str) -> Error {
    Error::Provider {
        provider: NAME,
        action,
    }
}
