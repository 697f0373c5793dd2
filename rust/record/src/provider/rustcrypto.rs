//! AES in cipher block chaining mode, and HMAC, by the RustCrypto crates; used for every provider.
//!
//! No TLS here: the callers bring whole blocks and IVs. `aes` and the hashes find the processor's instructions for
//! them at run time; without those AES is computed bit-sliced, not by tables. The hashes are used whole, and one block
//! at a time where the length of what is hashed is secret.

use aes::cipher::common::InnerIvInit;
use aes::cipher::consts::{U16, U64, U128};
use aes::cipher::{
    Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, KeyInit,
};
use aes::{Aes128Dec, Aes128Enc, Aes256Dec, Aes256Enc};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha384};
use zeroize::Zeroize;

use crate::error::Error;
use crate::suite::BLOCK_LEN;

/// The MAC of a record: keyed once, cloned for each record.
pub(crate) trait RecordMac: Mac + KeyInit + Clone + Send + Sync + 'static {
    /// The hash under it, one block at a time.
    type Hash: BlockHash;
}

impl RecordMac for HmacSha1 {
    type Hash = Sha1;
}

impl RecordMac for HmacSha256 {
    type Hash = Sha256;
}

impl RecordMac for HmacSha384 {
    type Hash = Sha384;
}

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

/// A hash of FIPS 180-4 as its compression function; padding and length are the caller's.
pub(crate) trait BlockHash: Clone + 'static {
    /// The chaining value.
    type State: Clone + Zeroize + Send + Sync;

    /// Bytes of a block, a power of two.
    const BLOCK_LEN: usize;
    /// Bytes of a digest.
    const DIGEST_LEN: usize;
    /// Bytes of the bit count that ends the last block (FIPS 180-4 §5.1).
    const COUNT_LEN: usize;
    /// The chaining value before the first block (FIPS 180-4 §5.3).
    const INITIAL: Self::State;

    /// Take in whole blocks.
    fn compress(state: &mut Self::State, blocks: &[u8]);

    /// The bytes of the chaining value; a digest is its first [`DIGEST_LEN`](Self::DIGEST_LEN).
    fn bytes(state: &Self::State) -> [u8; MAX_STATE_LEN];
}

/// The most bytes of a chaining value.
pub(crate) const MAX_STATE_LEN: usize = 64;
/// The most bytes of a block.
pub(crate) const MAX_HASH_BLOCK_LEN: usize = 128;
/// The most bytes of a digest.
pub(crate) const MAX_DIGEST_LEN: usize = 48;

impl BlockHash for Sha1 {
    type State = [u32; 5];

    const BLOCK_LEN: usize = 64;
    const DIGEST_LEN: usize = 20;
    const COUNT_LEN: usize = 8;
    const INITIAL: Self::State = [
        0x6745_2301,
        0xefcd_ab89,
        0x98ba_dcfe,
        0x1032_5476,
        0xc3d2_e1f0,
    ];

    fn compress(state: &mut Self::State, blocks: &[u8]) {
        let (blocks, _) = Array::<u8, U64>::slice_as_chunks(blocks);
        sha1::block_api::compress(state, Array::cast_slice_to_core(blocks));
    }

    fn bytes(state: &Self::State) -> [u8; MAX_STATE_LEN] {
        words(state.iter().map(|word| word.to_be_bytes()))
    }
}

impl BlockHash for Sha256 {
    type State = [u32; 8];

    const BLOCK_LEN: usize = 64;
    const DIGEST_LEN: usize = 32;
    const COUNT_LEN: usize = 8;
    const INITIAL: Self::State = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];

    fn compress(state: &mut Self::State, blocks: &[u8]) {
        let (blocks, _) = Array::<u8, U64>::slice_as_chunks(blocks);
        sha2::block_api::compress256(state, Array::cast_slice_to_core(blocks));
    }

    fn bytes(state: &Self::State) -> [u8; MAX_STATE_LEN] {
        words(state.iter().map(|word| word.to_be_bytes()))
    }
}

impl BlockHash for Sha384 {
    type State = [u64; 8];

    const BLOCK_LEN: usize = 128;
    const DIGEST_LEN: usize = 48;
    const COUNT_LEN: usize = 16;
    const INITIAL: Self::State = [
        0xcbbb_9d5d_c105_9ed8,
        0x629a_292a_367c_d507,
        0x9159_015a_3070_dd17,
        0x152f_ecd8_f70e_5939,
        0x6733_2667_ffc0_0b31,
        0x8eb4_4a87_6858_1511,
        0xdb0c_2e0d_64f9_8fa7,
        0x47b5_481d_befa_4fa4,
    ];

    fn compress(state: &mut Self::State, blocks: &[u8]) {
        let (blocks, _) = Array::<u8, U128>::slice_as_chunks(blocks);
        sha2::block_api::compress512(state, Array::cast_slice_to_core(blocks));
    }

    fn bytes(state: &Self::State) -> [u8; MAX_STATE_LEN] {
        words(state.iter().map(|word| word.to_be_bytes()))
    }
}

fn words<const N: usize>(words: impl Iterator<Item = [u8; N]>) -> [u8; MAX_STATE_LEN] {
    let mut bytes = [0; MAX_STATE_LEN];
    for (place, word) in bytes.chunks_exact_mut(N).zip(words) {
        place.copy_from_slice(&word);
    }
    bytes
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
