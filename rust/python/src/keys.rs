//! `ktls._core.Keys`.

use ktls_record::{Algorithm, Suite, Version};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use zeroize::Zeroizing;

use crate::buffer;
use crate::errors::value_error;

/// FreeBSD's `CRYPTO_*` numbers (ktls(4), `opencrypto/cryptodev.h`).
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
        let iv = Zeroizing::new(buffer::copy(iv)?);
        let auth_key = Zeroizing::new(auth_key.map(buffer::copy).transpose()?.unwrap_or_default());
        if auth_algorithm != 0 || !auth_key.is_empty() || encrypt_then_mac {
            return Err(PyValueError::new_err(format!(
                "auth_algorithm {auth_algorithm} with a MAC key of {} bytes: an AEAD suite takes none",
                auth_key.len()
            )));
        }
        let suite = suite(tls_vminor, cipher_algorithm, key.len())?;
        ktls_record::Keys::new(suite, &key, &iv)
            .map(Self)
            .map_err(|error| value_error(&error))
    }

    #[getter]
    fn tls_vminor(&self) -> u8 {
        self.0.suite().version().minor()
    }

    #[getter]
    fn cipher_algorithm(&self) -> u32 {
        match self.0.suite().algorithm() {
            Algorithm::ChaCha20Poly1305 => CRYPTO_CHACHA20_POLY1305,
            _ => CRYPTO_AES_NIST_GCM_16,
        }
    }

    #[getter]
    #[expect(
        clippy::unused_self,
        reason = "a property of the class; an AEAD suite has no MAC"
    )]
    fn auth_algorithm(&self) -> u32 {
        0
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
        format!(
            "<ktls._core.Keys {} {}>",
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

/// The suite of these numbers.
pub(crate) fn suite(tls_vminor: u8, cipher_algorithm: u32, key_len: usize) -> PyResult<Suite> {
    let Some(version) = Version::from_minor(tls_vminor) else {
        return Err(PyValueError::new_err(format!(
            "tls_vminor {tls_vminor} is no TLS version; 1 to 4 are TLS 1.0 to 1.3"
        )));
    };
    let algorithm = match (cipher_algorithm, key_len) {
        (CRYPTO_AES_NIST_GCM_16, 16) => Algorithm::Aes128Gcm,
        (CRYPTO_AES_NIST_GCM_16, 32) => Algorithm::Aes256Gcm,
        (CRYPTO_CHACHA20_POLY1305, 32) => Algorithm::ChaCha20Poly1305,
        (CRYPTO_AES_NIST_GCM_16 | CRYPTO_CHACHA20_POLY1305, _) => {
            return Err(PyValueError::new_err(format!(
                "a key of {key_len} bytes does not fit cipher {cipher_algorithm}; AES-GCM takes 16 or 32, ChaCha20-Poly1305 32"
            )));
        }
        _ => {
            return Err(PyValueError::new_err(format!(
                "cipher_algorithm {cipher_algorithm} is not known; use CRYPTO_AES_NIST_GCM_16 or CRYPTO_CHACHA20_POLY1305"
            )));
        }
    };
    Suite::new(version, algorithm).map_err(|error| value_error(&error))
}
