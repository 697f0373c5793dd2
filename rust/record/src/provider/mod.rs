//! The libraries that do the arithmetic, by name, and the system's random numbers.
//!
//! A provider is chosen once per key; afterwards a record costs one virtual call. Each file here is the only one
//! that names its library. AES-CBC is sealed by `rustcrypto` whatever the choice: the others have no form of it for
//! TLS.

#[cfg(feature = "aws-lc")]
mod aws_lc;
mod ring;
pub(crate) mod rustcrypto;
#[cfg(test)]
#[path = "../../tests/vector_file/mod.rs"]
pub(crate) mod vector_file;
#[cfg(test)]
mod vectors;

use std::sync::Arc;

#[cfg(feature = "aws-lc")]
use self::aws_lc::AwsLcAead;
use self::ring::RingAead;
use crate::cipher::aead::{AeadOpener, AeadSealer};
use crate::cipher::cbc::{CbcOpener, CbcSealer};
use crate::cipher::{Open, Seal};
use crate::error::Error;
use crate::keys::Keys;
use crate::suite::Mac;
use crate::wipe;

/// Names of the providers compiled in, `"ring"` always among them.
#[must_use]
pub fn names() -> &'static [&'static str] {
    NAMES
}

/// A write key in the hands of the provider called `name`.
///
/// Where the suite has explicit nonces (TLS 1.2 AES-GCM), that of record `n` is `explicit_base` plus `n`, modulo
/// 2^64; other suites ignore `explicit_base`. Where the IVs are chained (TLS 1.0) the first record to be sealed may
/// have any number, and each later one follows the one before, or is [`Error::OutOfOrder`].
///
/// # Errors
/// [`Error::UnknownProvider`]; [`Error::Provider`] when it refuses the key.
pub fn sealer(name: &str, keys: &Keys, explicit_base: u64) -> Result<Box<dyn Seal>, Error> {
    if let Some(mac) = keys.suite().mac() {
        return wipe::after_deriving(|| cbc_sealer(name, mac, keys));
    }
    wipe::after_deriving(|| match name {
        ring::NAME => Ok(Box::new(AeadSealer::<RingAead>::new(keys, explicit_base)?) as _),
        #[cfg(feature = "aws-lc")]
        aws_lc::NAME => Ok(Box::new(AeadSealer::<AwsLcAead>::new(keys, explicit_base)?) as _),
        _ => Err(unknown(name)),
    })
}

/// A read key in the hands of the provider called `name`. Where the IVs are chained, as for [`sealer`].
///
/// # Errors
/// [`Error::UnknownProvider`]; [`Error::Provider`] when it refuses the key.
pub fn opener(name: &str, keys: &Keys) -> Result<Arc<dyn Open>, Error> {
    if let Some(mac) = keys.suite().mac() {
        return wipe::after_deriving(|| cbc_opener(name, mac, keys));
    }
    wipe::after_deriving(|| match name {
        ring::NAME => Ok(Arc::new(AeadOpener::<RingAead>::new(keys)?) as _),
        #[cfg(feature = "aws-lc")]
        aws_lc::NAME => Ok(Arc::new(AeadOpener::<AwsLcAead>::new(keys)?) as _),
        _ => Err(unknown(name)),
    })
}

/// Fill `out` with random bytes of the operating system.
///
/// # Errors
/// [`Error::Provider`] when the system gives none.
pub fn random(out: &mut [u8]) -> Result<(), Error> {
    ring::random(out)
}

#[cfg(feature = "aws-lc")]
const NAMES: &[&str] = &[ring::NAME, aws_lc::NAME];
#[cfg(not(feature = "aws-lc"))]
const NAMES: &[&str] = &[ring::NAME];

fn cbc_sealer(name: &str, mac: Mac, keys: &Keys) -> Result<Box<dyn Seal>, Error> {
    known(name)?;
    Ok(match mac {
        Mac::HmacSha1 => Box::new(CbcSealer::<rustcrypto::HmacSha1>::new(keys)?),
        Mac::HmacSha256 => Box::new(CbcSealer::<rustcrypto::HmacSha256>::new(keys)?),
        Mac::HmacSha384 => Box::new(CbcSealer::<rustcrypto::HmacSha384>::new(keys)?),
    })
}

fn cbc_opener(name: &str, mac: Mac, keys: &Keys) -> Result<Arc<dyn Open>, Error> {
    known(name)?;
    Ok(match mac {
        Mac::HmacSha1 => Arc::new(CbcOpener::<rustcrypto::HmacSha1>::new(keys)?),
        Mac::HmacSha256 => Arc::new(CbcOpener::<rustcrypto::HmacSha256>::new(keys)?),
        Mac::HmacSha384 => Arc::new(CbcOpener::<rustcrypto::HmacSha384>::new(keys)?),
    })
}

fn known(name: &str) -> Result<(), Error> {
    if NAMES.contains(&name) {
        Ok(())
    } else {
        Err(unknown(name))
    }
}

fn unknown(name: &str) -> Error {
    Error::UnknownProvider {
        name: name.to_owned(),
        known: NAMES,
    }
}
