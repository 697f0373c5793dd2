//! AES in cipher block chaining mode, and HMAC, by the RustCrypto crates; used for every provider.
//!
//! No TLS here: the callers bring whole blocks and IVs. `aes` and the hashes find the processor's instructions for
//! them at run time; without those AES is computed bit-sliced, not by tables.

use aes::cipher::common::InnerIvInit;
use aes::cipher::consts::U16;
use aes::cipher::{
    Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, KeyInit,
};
use aes::{Aes128Dec, Aes128Enc, Aes256Dec, Aes256Enc};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha384};

use crate::error::Error;
use crate::suite::BLOCK_LEN;

/// The MAC of a record: keyed once, cloned for each record.
pub(crate) trait RecordMac: Mac + KeyInit + Clone + Send + Sync + 'static {}

impl<M: Mac + KeyInit + Clone + Send + Sync + 'static> RecordMac for M {}

pub(crate) type HmacSha1 = Hmac<Sha1>;
pub(crate) type HmacSha256 = Hmac<Sha256>;
pub(crate) type HmacSha384 = Hmac<Sha384>;

/// A MAC with its key.
pub(crate) fn keyed_mac<M: RecordMac>(key: &[u8]) -> Result<M, Error> {
    M::new_from_slice(key).map_err(|_| refused("take the MAC key"))
}

/// The MAC of bytes given in parts.
pub(crate) fn mac_of<M: RecordMac>(mac: &M, parts: &[&[u8]]) -> Array<u8, M::OutputSize> {
    let mut mac = mac.clone();
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes()
}

/// An AES key that encrypts; wiped when dropped, and on the heap so that moving it leaves no copy behind.
pub(crate) enum EncryptKey {
    Aes128(Box<Aes128Enc>),
    Aes256(Box<Aes256Enc>),
}

impl EncryptKey {
    /// A key of 16 or 32 bytes.
    pub(crate) fn new(key: &[u8]) -> Result<Self, Error> {
        let keyed = match key.len() {
            16 => Aes128Enc::new_from_slice(key).map(|key| Self::Aes128(Box::new(key))),
            _ => Aes256Enc::new_from_slice(key).map(|key| Self::Aes256(Box::new(key))),
        };
        keyed.map_err(|_| refused("take the key"))
    }

    /// Encrypt whole blocks in place, chained to `iv`.
    pub(crate) fn encrypt(&self, iv: &[u8; BLOCK_LEN], text: &mut [u8]) {
        match self {
            Self::Aes128(cipher) => encrypt(&**cipher, iv, text),
            Self::Aes256(cipher) => encrypt(&**cipher, iv, text),
        }
    }
}

/// An AES key that decrypts; as [`EncryptKey`].
#[derive(Clone)]
pub(crate) enum DecryptKey {
    Aes128(Box<Aes128Dec>),
    Aes256(Box<Aes256Dec>),
}

impl DecryptKey {
    /// A key of 16 or 32 bytes.
    pub(crate) fn new(key: &[u8]) -> Result<Self, Error> {
        let keyed = match key.len() {
            16 => Aes128Dec::new_from_slice(key).map(|key| Self::Aes128(Box::new(key))),
            _ => Aes256Dec::new_from_slice(key).map(|key| Self::Aes256(Box::new(key))),
        };
        keyed.map_err(|_| refused("take the key"))
    }

    /// Decrypt whole blocks in place, chained to `iv`.
    pub(crate) fn decrypt(&self, iv: &[u8; BLOCK_LEN], text: &mut [u8]) {
        match self {
            Self::Aes128(cipher) => decrypt(&**cipher, iv, text),
            Self::Aes256(cipher) => decrypt(&**cipher, iv, text),
        }
    }
}

fn encrypt<C: BlockCipherEncrypt<BlockSize = U16>>(
    cipher: &C,
    iv: &[u8; BLOCK_LEN],
    text: &mut [u8],
) {
    let (blocks, rest) = Array::slice_as_chunks_mut(text);
    debug_assert!(rest.is_empty(), "whole blocks only");
    cbc::Encryptor::inner_iv_init(cipher, iv.into()).encrypt_blocks(blocks);
}

fn decrypt<C: BlockCipherDecrypt<BlockSize = U16>>(
    cipher: &C,
    iv: &[u8; BLOCK_LEN],
    text: &mut [u8],
) {
    let (blocks, rest) = Array::slice_as_chunks_mut(text);
    debug_assert!(rest.is_empty(), "whole blocks only");
    cbc::Decryptor::inner_iv_init(cipher, iv.into()).decrypt_blocks(blocks);
}

fn refused(action: &'static str) -> Error {
    Error::Provider {
        provider: "rustcrypto",
        action,
    }
}
