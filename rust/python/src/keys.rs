//! `ktls._core.Keys`.

use ktls_record::{Algorithm, Mac, MacOrder, Suite, Version};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use zeroize::Zeroizing;

use crate::buffer;
use crate::errors::value_error;

/// FreeBSD's `CRYPTO_*` numbers (ktls(4), `opencrypto/cryptodev.h`).
pub(crate) const CRYPTO_SHA1_HMAC: u32 = 7;
const CRYPTO_AES_CBC: u32 = 11;
const CRYPTO_SHA2_256_HMAC: u32 = 18;
const CRYPTO_SHA2_384_HMAC: u32 = 19;
const CRYPTO_AES_NIST_GCM_16: u32 = 25;
const CRYPTO_CHACHA20_POLY1305: u32 = 41;

/// The keying material of one direction.
#[pyclass(frozen, module = "ktls._core")]
pub(crate) struct Keys(pub(crate) ktls_record::Keys);

#[pymethods]
impl Keys {
    #[new]
    #[pyo3(signature = (tls_vminor, cipher_algorithm, cipher_key, iv, auth_algorithm=0, auth_key=None, *, encrypt_then_mac=false))]
    fn new(
        tls_vminor: u8,
        cipher_algorithm: u32,
        cipher_key: &Bound<'_, PyAny>,
        iv: &Bound<'_, PyAny>,
        auth_algorithm: u32,
        auth_key: Option<&Bound<'_, PyAny>>,
        encrypt_then_mac: bool,
    ) -> PyResult<Self> {
        let key = Zeroizing::new(buffer::copy(cipher_key)?);
        let mut iv = Zeroizing::new(buffer::copy(iv)?);
        let auth_key = Zeroizing::new(auth_key.map(buffer::copy).transpose()?.unwrap_or_default());
        let authentication = Authentication {
            algorithm: auth_algorithm,
            encrypt_then_mac,
        };
        let suite = suite(tls_vminor, cipher_algorithm, key.len(), authentication)?;
        if suite.mac().is_some() && !suite.sequential() {
            // FreeBSD ignores the IV here: every record brings its own (ktls_create_session).
            iv.clear();
        }
        ktls_record::Keys::with_mac(suite, &key, &iv, &auth_key)
            .map(Self)
            .map_err(|error| value_error(&error))
    }

    fn with_iv(&self, iv: &Bound<'_, PyAny>) -> PyResult<Self> {
        let iv = Zeroizing::new(buffer::copy(iv)?);
        self.0
            .with_iv(&iv)
            .map(Self)
            .map_err(|error| value_error(&error))
    }

    #[getter]
    fn tls_vminor(&self) -> u8 {
        self.0.suite().version().minor()
    }

    #[getter]
    fn cipher_algorithm(&self) -> u32 {
        algorithm_number(self.0.suite())
    }

    #[getter]
    fn auth_algorithm(&self) -> u32 {
        mac_number(self.0.suite())
    }

    #[getter]
    fn encrypt_then_mac(&self) -> bool {
        self.0.suite().mac_order() == Some(MacOrder::EncryptThenMac)
    }

    #[getter]
    fn key_len(&self) -> usize {
        self.0.suite().key_len()
    }

    #[getter]
    fn header_size(&self) -> usize {
        self.0.suite().header_size()
    }

    #[getter]
    fn trailer_size(&self) -> usize {
        self.0.suite().max_trailer_size()
    }

    fn __repr__(&self) -> String {
        let suite = self.0.suite();
        let mac = suite.mac().map(|mac| format!(" {mac}")).unwrap_or_default();
        let order = if self.encrypt_then_mac() {
            ", encrypt-then-MAC"
        } else {
            ""
        };
        format!(
            "<ktls._core.Keys {} {}{mac}{order}>",
            suite.version(),
            suite.algorithm()
        )
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(pyo3::exceptions::PyTypeError::new_err(
            "keys cannot be pickled",
        ))
    }
}

/// FreeBSD's number of a suite's cipher.
pub(crate) fn algorithm_number(suite: Suite) -> u32 {
    match suite.algorithm() {
        Algorithm::ChaCha20Poly1305 => CRYPTO_CHACHA20_POLY1305,
        Algorithm::Aes128Cbc | Algorithm::Aes256Cbc => CRYPTO_AES_CBC,
        _ => CRYPTO_AES_NIST_GCM_16,
    }
}

/// FreeBSD's number of a suite's MAC; 0 for an AEAD.
pub(crate) fn mac_number(suite: Suite) -> u32 {
    match suite.mac() {
        None => 0,
        Some(Mac::HmacSha1) => CRYPTO_SHA1_HMAC,
        Some(Mac::HmacSha256) => CRYPTO_SHA2_256_HMAC,
        Some(Mac::HmacSha384) => CRYPTO_SHA2_384_HMAC,
    }
}

/// How a suite authenticates, in the numbers of the caller; zero and false for an AEAD.
#[derive(Clone, Copy, Default)]
pub(crate) struct Authentication {
    pub(crate) algorithm: u32,
    pub(crate) encrypt_then_mac: bool,
}

impl Authentication {
    fn order(self) -> MacOrder {
        if self.encrypt_then_mac {
            MacOrder::EncryptThenMac
        } else {
            MacOrder::MacThenEncrypt
        }
    }

    fn mac(self) -> PyResult<Mac> {
        match self.algorithm {
            CRYPTO_SHA1_HMAC => Ok(Mac::HmacSha1),
            CRYPTO_SHA2_256_HMAC => Ok(Mac::HmacSha256),
            CRYPTO_SHA2_384_HMAC => Ok(Mac::HmacSha384),
            other => Err(PyValueError::new_err(format!(
                "auth_algorithm {other} does not go with AES-CBC; use CRYPTO_SHA1_HMAC ({CRYPTO_SHA1_HMAC}), \
                 CRYPTO_SHA2_256_HMAC ({CRYPTO_SHA2_256_HMAC}) or CRYPTO_SHA2_384_HMAC ({CRYPTO_SHA2_384_HMAC})"
            ))),
        }
    }

    fn check_aead(self) -> PyResult<()> {
        if self.algorithm != 0 || self.encrypt_then_mac {
            return Err(PyValueError::new_err(format!(
                "auth_algorithm {} with encrypt_then_mac {}: an AEAD suite takes 0 and False",
                self.algorithm, self.encrypt_then_mac
            )));
        }
        Ok(())
    }
}

/// The suite of these numbers.
pub(crate) fn suite(
    tls_vminor: u8,
    cipher_algorithm: u32,
    key_len: usize,
    authentication: Authentication,
) -> PyResult<Suite> {
    let Some(version) = Version::from_minor(tls_vminor) else {
        return Err(PyValueError::new_err(format!(
            "tls_vminor {tls_vminor} is no TLS version; 1 to 4 are TLS 1.0 to 1.3"
        )));
    };
    let algorithm = match (cipher_algorithm, key_len) {
        (CRYPTO_AES_NIST_GCM_16, 16) => Algorithm::Aes128Gcm,
        (CRYPTO_AES_NIST_GCM_16, 32) => Algorithm::Aes256Gcm,
        (CRYPTO_CHACHA20_POLY1305, 32) => Algorithm::ChaCha20Poly1305,
        (CRYPTO_AES_CBC, 16) => Algorithm::Aes128Cbc,
        (CRYPTO_AES_CBC, 32) => Algorithm::Aes256Cbc,
        (CRYPTO_AES_NIST_GCM_16 | CRYPTO_CHACHA20_POLY1305 | CRYPTO_AES_CBC, _) => {
            return Err(PyValueError::new_err(format!(
                "a key of {key_len} bytes does not fit cipher {cipher_algorithm}; AES-GCM and AES-CBC take 16 or 32, \
                 ChaCha20-Poly1305 32"
            )));
        }
        _ => {
            return Err(PyValueError::new_err(format!(
                "cipher_algorithm {cipher_algorithm} is not known; use CRYPTO_AES_NIST_GCM_16, \
                 CRYPTO_CHACHA20_POLY1305 or CRYPTO_AES_CBC"
            )));
        }
    };
    let suite = if cipher_algorithm == CRYPTO_AES_CBC {
        Suite::cbc(
            version,
            algorithm,
            authentication.mac()?,
            authentication.order(),
        )
    } else {
        authentication.check_aead()?;
        Suite::new(version, algorithm)
    };
    suite.map_err(|error| value_error(&error))
}
