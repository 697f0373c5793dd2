//! The libraries that do the arithmetic, by name, and the system's random numbers.
//!
//! A provider is chosen once per key; afterwards a record costs one virtual call. Each file here is the only one
//! that names its library.

#[cfg(feature = "aws-lc")]
mod aws_lc;
mod ring;
#[cfg(test)]
#[path = "../../tests/vector_file/mod.rs"]
mod vector_file;
#[cfg(test)]
mod vectors;

#[cfg(feature = "aws-lc")]
use self::aws_lc::AwsLcAead;
use self::ring::RingAead;
use crate::cipher::aead::{AeadOpener, AeadSealer};

use crate::cipher::{Open, Seal};
use crate::error::Error;
use crate::keys::Keys;
use crate::wipe;

/// Names of the providers compiled in, `"ring"` always among them.
#[must_use]
pub fn names() -> &'static [&'static str] {
    NAMES
}

/// A write key in the hands of the provider called `name`.
///
/// Where the suite has explicit nonces (TLS 1.2 AES-GCM), that of record `n` is `explicit_base` plus `n`, modulo
/// 2^64; other suites ignore `explicit_base`.
///
/// # Errors
/// [`Error::UnknownProvider`]; [`Error::Provider`] when it refuses the key.
pub fn sealer(name: &str, keys: &Keys, explicit_base: u64) -> Result<Box<dyn Seal>, Error> {
    wipe::after_deriving(|| match name {
        ring::NAME => Ok(Box::new(AeadSealer::<RingAead>::new(keys, explicit_base)?) as _),
        #[cfg(feature = "aws-lc")]
        aws_lc::NAME => Ok(Box::new(AeadSealer::<AwsLcAead>::new(keys, explicit_base)?) as _),
        _ => Err(unknown(name)),
    })
}

/// A read key in the hands of the provider called `name`.
///
/// # Errors
/// [`Error::UnknownProvider`]; [`Error::Provider`] when it refuses the key.
pub fn opener(name: &str, keys: &Keys) -> Result<Box<dyn Open>, Error> {
    wipe::after_deriving(|| match name {
        ring::NAME => Ok(Box::new(AeadOpener::<RingAead>::new(keys)?) as _),
        #[cfg(feature = "aws-lc")]
        aws_lc::NAME => Ok(Box::new(AeadOpener::<AwsLcAead>::new(keys)?) as _),
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

fn unknown(name: &str) -> Error {
    Error::UnknownProvider {
        name: name.to_owned(),
        known: NAMES,
    }
}
