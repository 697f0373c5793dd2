//! `ktls._core.Secret`.

use ktls_record::keylog::LoggedSecret;
use ktls_record::schedule::{self, Hash};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use zeroize::Zeroizing;

use crate::buffer;
use crate::errors::value_error;
use crate::keys::{self, Authentication, Keys};

/// A secret of the key schedule.
#[pyclass(frozen, module = "ktls._core")]
#[derive(Clone)]
pub(crate) struct Secret {
    label: String,
    value: Zeroizing<Vec<u8>>,
}

impl From<LoggedSecret> for Secret {
    fn from(logged: LoggedSecret) -> Self {
        Self {
            label: logged.label,
            value: logged.secret,
        }
    }
}

impl Secret {
    pub(crate) fn value(&self) -> Zeroizing<Vec<u8>> {
        self.value.clone()
    }
}

#[pymethods]
impl Secret {
    #[new]
    fn new(label: String, value: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self {
            label,
            value: Zeroizing::new(buffer::copy(value)?),
        })
    }

    #[getter]
    fn label(&self) -> &str {
        &self.label
    }

    fn __len__(&self) -> usize {
        self.value.len()
    }

    fn keys(&self, cipher_algorithm: u32, key_len: usize) -> PyResult<Keys> {
        let suite = keys::suite(4, cipher_algorithm, key_len, Authentication::default())?;
        schedule::traffic_keys(suite, &self.value)
            .map(Keys)
            .map_err(|error| value_error(&error))
    }

    fn next(&self) -> PyResult<Self> {
        let value =
            schedule::next_traffic_secret(&self.value).map_err(|error| value_error(&error))?;
        Ok(Self {
            label: self.label.clone(),
            value,
        })
    }

    #[pyo3(signature = (tls_vminor, prf_hash, client_random, server_random, cipher_algorithm, key_len, auth_algorithm=0, *, encrypt_then_mac=false))]
    #[expect(
        clippy::too_many_arguments,
        reason = "the parameters of RFC 5246 6.3, named by the caller"
    )]
    fn key_block(
        &self,
        tls_vminor: u8,
        prf_hash: &str,
        client_random: &Bound<'_, PyAny>,
        server_random: &Bound<'_, PyAny>,
        cipher_algorithm: u32,
        key_len: usize,
        auth_algorithm: u32,
        encrypt_then_mac: bool,
    ) -> PyResult<(Keys, Keys)> {
        let authentication = Authentication {
            algorithm: auth_algorithm,
            encrypt_then_mac,
        };
        let hash = match prf_hash {
            "sha256" => Hash::Sha256,
            "sha384" => Hash::Sha384,
            other => {
                return Err(PyValueError::new_err(format!(
                    "prf_hash {other:?} is not known; use \"sha256\" or \"sha384\""
                )));
            }
        };
        let suite = keys::suite(tls_vminor, cipher_algorithm, key_len, authentication)?;
        let (client, server) = (random(client_random)?, random(server_random)?);
        let block = schedule::key_block(suite, hash, &self.value, &client, &server);
        let block = block.map_err(|error| value_error(&error))?;
        Ok((Keys(block.client_write), Keys(block.server_write)))
    }

    fn __repr__(&self) -> String {
        format!(
            "<ktls._core.Secret {} of {} bytes>",
            self.label,
            self.value.len()
        )
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err("secrets cannot be pickled"))
    }
}

/// The random of a hello.
pub(crate) fn random(object: &Bound<'_, PyAny>) -> PyResult<[u8; 32]> {
    let bytes = buffer::copy(object)?;
    let len = bytes.len();
    bytes
        .try_into()
        .map_err(|_| PyValueError::new_err(format!("a random has 32 bytes, not {len}")))
}
