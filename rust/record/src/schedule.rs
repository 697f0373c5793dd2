//! From the secrets of a handshake to the keys of its records.
//!
//! TLS 1.0 to 1.2: the PRF and the key block (RFC 2246 §5, RFC 5246 §5 and §6.3). TLS 1.3: traffic keys and the next
//! traffic secret (RFC 8446 §7.1 to §7.3). The secrets themselves come from elsewhere.

use core::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha384};
use zeroize::{Zeroize, Zeroizing};

use crate::error::Error;
use crate::keys::Keys;
use crate::suite::{Suite, Version};
use crate::wipe;

/// The hash of a cipher suite, which its key derivation uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384, for the suites whose name ends in it.
    Sha384,
}

impl Hash {
    /// Bytes of a digest, and of a TLS 1.3 traffic secret.
    #[must_use]
    pub const fn output_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }

    /// The hash of a TLS 1.3 traffic secret, by its length.
    ///
    /// # Errors
    /// [`Error::SecretLen`] for any other length than 32 and 48.
    pub const fn of_secret(secret: &[u8]) -> Result<Self, Error> {
        match secret.len() {
            32 => Ok(Self::Sha256),
            48 => Ok(Self::Sha384),
            actual => Err(Error::SecretLen { actual }),
        }
    }
}

/// The pseudo-random function of TLS 1.0 to 1.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Prf {
    /// P_MD5 XOR P_SHA1 (RFC 2246 §5), of TLS 1.0 and 1.1.
    Md5Sha1,
    /// P_hash of the suite (RFC 5246 §5), of TLS 1.2.
    Sha2(Hash),
}

impl Prf {
    /// Fill `out` from a secret, a label and a seed given in parts.
    pub fn derive(self, secret: &[u8], label: &str, seed: &[&[u8]], out: &mut [u8]) {
        let label = label.as_bytes();
        match self {
            Self::Md5Sha1 => {
                // The halves share the middle byte of an odd secret.
                let half = secret.len().div_ceil(2);
                out.fill(0);
                p_hash::<Hmac<Md5>>(&secret[..half], label, seed, out);
                p_hash::<Hmac<Sha1>>(&secret[secret.len() - half..], label, seed, out);
            }
            Self::Sha2(hash) => {
                out.fill(0);
                match hash {
                    Hash::Sha256 => p_hash::<Hmac<Sha256>>(secret, label, seed, out),
                    Hash::Sha384 => p_hash::<Hmac<Sha384>>(secret, label, seed, out),
                }
            }
        }
    }
}

/// The keys of both directions of a TLS 1.0 to 1.2 connection.
#[derive(Clone)]
pub struct KeyBlock {
    /// What the client writes with.
    pub client_write: Keys,
    /// What the server writes with.
    pub server_write: Keys,
}

impl fmt::Debug for KeyBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyBlock").finish_non_exhaustive()
    }
}

/// The key block of a TLS 1.0 to 1.2 connection (RFC 5246 §6.3), cut into keys.
///
/// `hash` is that of the cipher suite; TLS 1.0 and 1.1 have one PRF for all. An extended master secret (RFC 7627) needs no other treatment.
///
/// # Errors
/// [`Error::Schedule`] when the suite is of TLS 1.3.
pub fn key_block(
    suite: Suite,
    hash: Hash,
    master_secret: &[u8],
    client_random: &[u8; 32],
    server_random: &[u8; 32],
) -> Result<KeyBlock, Error> {
    let prf = match suite.version() {
        Version::Tls10 | Version::Tls11 => Prf::Md5Sha1,
        Version::Tls12 => Prf::Sha2(hash),
        Version::Tls13 => {
            let remedy = "use traffic_keys with a traffic secret";
            return Err(Error::Schedule {
                version: suite.version(),
                remedy,
            });
        }
    };
    let (mac_len, key_len, iv_len) = (suite.mac_key_len(), suite.key_len(), suite.iv_len());
    let mut block = Zeroizing::new(vec![0; 2 * (mac_len + key_len + iv_len)]);
    let seed: [&[u8]; 2] = [server_random, client_random];
    wipe::after_deriving(|| prf.derive(master_secret, "key expansion", &seed, &mut block));
    let (mac_keys, rest) = block.split_at(2 * mac_len);
    let (client_mac, server_mac) = mac_keys.split_at(mac_len);
    let (keys, ivs) = rest.split_at(2 * key_len);
    let (client_key, server_key) = keys.split_at(key_len);
    let (client_iv, server_iv) = ivs.split_at(iv_len);
    Ok(KeyBlock {
        client_write: Keys::with_mac(suite, client_key, client_iv, client_mac)?,
        server_write: Keys::with_mac(suite, server_key, server_iv, server_mac)?,
    })
}

/// The keys that a TLS 1.3 traffic secret stands for (RFC 8446 §7.3).
///
/// # Errors
/// [`Error::Schedule`] when the suite is not of TLS 1.3, [`Error::SecretLen`].
pub fn traffic_keys(suite: Suite, secret: &[u8]) -> Result<Keys, Error> {
    if suite.version() != Version::Tls13 {
        let remedy = "use key_block with the master secret and both randoms";
        return Err(Error::Schedule {
            version: suite.version(),
            remedy,
        });
    }
    let mut key = Zeroizing::new(vec![0; suite.key_len()]);
    let mut iv = Zeroizing::new(vec![0; suite.iv_len()]);
    hkdf_expand_label(secret, "key", b"", &mut key)?;
    hkdf_expand_label(secret, "iv", b"", &mut iv)?;
    Keys::new(suite, &key, &iv)
}

/// The traffic secret after a key update (RFC 8446 §7.2).
///
/// # Errors
/// [`Error::SecretLen`].
pub fn next_traffic_secret(secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut next = Zeroizing::new(vec![0; secret.len()]);
    hkdf_expand_label(secret, "traffic upd", b"", &mut next)?;
    Ok(next)
}

/// HKDF-Expand-Label (RFC 8446 §7.1) with the hash that the length of the secret tells; fills `out`.
///
/// # Errors
/// [`Error::SecretLen`]; [`Error::DerivationLen`] when label, context or output are too long.
pub fn hkdf_expand_label(
    secret: &[u8],
    label: &str,
    context: &[u8],
    out: &mut [u8],
) -> Result<(), Error> {
    let too_long = || Error::DerivationLen {
        label: label.to_owned(),
        len: out.len(),
    };
    let length = u16::try_from(out.len())
        .map_err(|_| too_long())?
        .to_be_bytes();
    let label_len = u8::try_from(LABEL_PREFIX.len() + label.len()).map_err(|_| too_long())?;
    let context_len = u8::try_from(context.len()).map_err(|_| too_long())?;
    let info: [&[u8]; 6] = [
        &length,
        &[label_len],
        LABEL_PREFIX,
        label.as_bytes(),
        &[context_len],
        context,
    ];
    let len = out.len();
    let hash = Hash::of_secret(secret)?;
    let expanded = wipe::after_deriving(|| match hash {
        Hash::Sha256 => Hkdf::<Sha256>::from_prk(secret)
            .ok()
            .map(|h| h.expand_multi_info(&info, out)),
        Hash::Sha384 => Hkdf::<Sha384>::from_prk(secret)
            .ok()
            .map(|h| h.expand_multi_info(&info, out)),
    });
    match expanded {
        Some(Ok(())) => Ok(()),
        Some(Err(_)) | None => Err(Error::DerivationLen {
            label: label.to_owned(),
            len,
        }),
    }
}

const LABEL_PREFIX: &[u8] = b"tls13 ";

/// P_hash (RFC 5246 §5), XORed into `out`.
fn p_hash<M: Mac + KeyInit + Clone>(secret: &[u8], label: &[u8], seed: &[&[u8]], out: &mut [u8]) {
    let keyed = M::new_from_slice(secret).expect("HMAC takes keys of any length");
    let mut a = seeded(keyed.clone(), label, seed).finalize().into_bytes();
    for chunk in out.chunks_mut(a.len()) {
        let mut mac = keyed.clone();
        mac.update(&a);
        let mut block = seeded(mac, label, seed).finalize().into_bytes();
        for (byte, other) in chunk.iter_mut().zip(&block) {
            *byte ^= other;
        }
        block.zeroize();
        let mut mac = keyed.clone();
        mac.update(&a);
        a = mac.finalize().into_bytes();
    }
    a.zeroize();
}

fn seeded<M: Mac>(mut mac: M, label: &[u8], seed: &[&[u8]]) -> M {
    mac.update(label);
    for part in seed {
        mac.update(part);
    }
    mac
}
