//! The provider `aws-lc` (feature `aws-lc`, on by default): wide vector code, and one pass from and to elsewhere.

use aws_lc_rs::aead::{self, LessSafeKey, Nonce, UnboundKey};

use crate::cipher::aead::Aead;
use crate::error::Error;
use crate::suite::{Algorithm, NONCE_LEN, TAG_LEN};

pub(super) const NAME: &str = "aws-lc";

/// A key held by AWS-LC.
pub(super) struct AwsLcAead(LessSafeKey);

impl Aead for AwsLcAead {
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
        // No extra input: the inner type already follows the payload in `text`. The tag needs no copy this way.
        self.0
            .seal_in_place_scatter(nonce, aead::Aad::from(aad), text, &[], tag)
            .map_err(|_| refused("seal a record"))
    }

    fn seal_from(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        payload: &[u8],
        inner_type: &[u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let (text, trailer) = out.split_at_mut(payload.len());
        let aad = aead::Aad::from(aad);
        self.0
            .seal_out_of_place_scatter(nonce, aad, payload, text, inner_type, trailer)
            .map_err(|_| refused("seal a record"))
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
        self.0
            .open_separate_gather(nonce, aead::Aad::from(aad), text, tag, out)
            .map_err(|_| Error::BadRecord)
    }
}

fn refused(action: &'static str) -> Error {
    Error::Provider {
        provider: NAME,
        action,
    }
}
