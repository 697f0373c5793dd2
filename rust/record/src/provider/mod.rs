//! The libraries that do the arithmetic, each behind a [`Provider`], and the system's random numbers.
//!
//! Two are compiled in; [`external`](crate::external) makes one of somebody else's AEAD. A provider is chosen once per
//! key; afterwards a record costs one virtual call. Each file here is the only one that names its library. AES-CBC is
//! sealed by `rustcrypto` whatever the choice: the others have no form of it for TLS.

#[cfg(feature = "aws-lc")]
mod aws_lc;
mod ring;
pub(crate) mod rustcrypto;
#[cfg(test)]
#[path = "../../tests/vector_file/mod.rs"]
pub(crate) mod vector_file;
#[cfg(test)]
mod vectors;

use core::marker::PhantomData;
use std::sync::Arc;

#[cfg(feature = "aws-lc")]
use self::aws_lc::AwsLcAead;
use self::ring::RingAead;
use crate::cipher::aead::{Aead, AeadOpener, AeadSealer};
use crate::cipher::cbc::{CbcOpener, CbcSealer};
use crate::cipher::{Open, Seal};
use crate::error::Error;
use crate::keys::Keys;
use crate::suite::{Mac, Suite};
use crate::wipe;

/// Whoever seals and opens under keys that it is given. It may come to be at run time.
pub trait Provider: Send + Sync {
    /// Its name.
    fn name(&self) -> &str;

    /// Whether it seals and opens records of this suite.
    fn takes(&self, suite: Suite) -> bool;

    /// A write key in its hands.
    ///
    /// Where the suite has explicit nonces (TLS 1.2 AES-GCM), that of record `n` is `explicit_base` plus `n`, modulo
    /// 2^64; other suites ignore `explicit_base`. Where the IVs are chained (TLS 1.0) the first record to be sealed may
    /// have any number, and each later one follows the one before, or is [`Error::OutOfOrder`].
    ///
    /// # Errors
    /// [`Error::Provider`] when it refuses the key.
    fn sealer(&self, keys: &Keys, explicit_base: u64) -> Result<Box<dyn Seal>, Error>;

    /// A read key in its hands. Where the IVs are chained, as for [`Provider::sealer`].
    ///
    /// # Errors
    /// [`Error::Provider`] when it refuses the key.
    fn opener(&self, keys: &Keys) -> Result<Arc<dyn Open>, Error>;
}

/// Names of the providers compiled in, `"ring"` always among them.
#[must_use]
pub fn names() -> &'static [&'static str] {
    NAMES
}

/// The provider compiled in under this name.
///
/// # Errors
/// [`Error::UnknownProvider`].
pub fn compiled_in(name: &str) -> Result<Arc<dyn Provider>, Error> {
    match name {
        ring::NAME => Ok(Arc::new(CompiledIn::<RingAead>::new(ring::NAME))),
        #[cfg(feature = "aws-lc")]
        aws_lc::NAME => Ok(Arc::new(CompiledIn::<AwsLcAead>::new(aws_lc::NAME))),
        _ => Err(unknown(name)),
    }
}

/// A write key in the hands of the provider compiled in under `name`; see [`Provider::sealer`].
///
/// # Errors
/// [`Error::UnknownProvider`]; [`Error::Provider`] when it refuses the key.
pub fn sealer(name: &str, keys: &Keys, explicit_base: u64) -> Result<Box<dyn Seal>, Error> {
    compiled_in(name)?.sealer(keys, explicit_base)
}

/// A read key in the hands of the provider compiled in under `name`; see [`Provider::opener`].
///
/// # Errors
/// [`Error::UnknownProvider`]; [`Error::Provider`] when it refuses the key.
pub fn opener(name: &str, keys: &Keys) -> Result<Arc<dyn Open>, Error> {
    compiled_in(name)?.opener(keys)
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

/// A provider that is a part of this crate: its AEAD, and AES-CBC as everybody's.
struct CompiledIn<A> {
    name: &'static str,
    aead: PhantomData<fn() -> A>,
}

impl<A> CompiledIn<A> {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            aead: PhantomData,
        }
    }
}

impl<A: Aead + 'static> Provider for CompiledIn<A> {
    fn name(&self) -> &str {
        self.name
    }

    fn takes(&self, _suite: Suite) -> bool {
        true
    }

    fn sealer(&self, keys: &Keys, explicit_base: u64) -> Result<Box<dyn Seal>, Error> {
        wipe::after_deriving(|| match keys.suite().mac() {
            Some(mac) => cbc_sealer(mac, keys),
            None => Ok(Box::new(AeadSealer::<A>::new(keys, explicit_base)?) as _),
        })
    }

    fn opener(&self, keys: &Keys) -> Result<Arc<dyn Open>, Error> {
        wipe::after_deriving(|| match keys.suite().mac() {
            Some(mac) => cbc_opener(mac, keys),
            None => Ok(Arc::new(AeadOpener::<A>::new(keys)?) as _),
        })
    }
}

fn cbc_sealer(mac: Mac, keys: &Keys) -> Result<Box<dyn Seal>, Error> {
    Ok(match mac {
        Mac::HmacSha1 => Box::new(CbcSealer::<rustcrypto::HmacSha1>::new(keys)?),
        Mac::HmacSha256 => Box::new(CbcSealer::<rustcrypto::HmacSha256>::new(keys)?),
        Mac::HmacSha384 => Box::new(CbcSealer::<rustcrypto::HmacSha384>::new(keys)?),
    })
}

fn cbc_opener(mac: Mac, keys: &Keys) -> Result<Arc<dyn Open>, Error> {
    Ok(match mac {
        Mac::HmacSha1 => Arc::new(CbcOpener::<rustcrypto::HmacSha1>::new(keys)?),
        Mac::HmacSha256 => Arc::new(CbcOpener::<rustcrypto::HmacSha256>::new(keys)?),
        Mac::HmacSha384 => Arc::new(CbcOpener::<rustcrypto::HmacSha384>::new(keys)?),
    })
}

fn unknown(name: &str) -> Error {
    Error::UnknownProvider {
        name: name.to_owned(),
        known: NAMES,
    }
}
