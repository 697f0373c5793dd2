//! `ktls._core.Handover`: what a finished handshake has agreed on, with the keys that may be its own.

use std::sync::{Mutex, PoisonError};

use ktls_record::handover::Candidates;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::keys::{algorithm_number, mac_number};

/// See the head of this file.
#[pyclass(frozen, module = "ktls._core")]
pub(crate) struct Handover {
    #[pyo3(get)]
    tls_vminor: u8,
    #[pyo3(get)]
    cipher_algorithm: u32,
    #[pyo3(get)]
    key_len: usize,
    #[pyo3(get)]
    auth_algorithm: u32,
    #[pyo3(get)]
    max_frame_len: usize,
    #[pyo3(get)]
    offers_post_handshake_auth: bool,
    candidates: Mutex<Option<Candidates>>,
}

impl Handover {
    pub(crate) fn new(candidates: Candidates) -> Self {
        let suite = candidates.suite;
        Self {
            tls_vminor: suite.version().minor(),
            cipher_algorithm: algorithm_number(suite),
            key_len: suite.key_len(),
            auth_algorithm: mac_number(suite),
            max_frame_len: candidates.max_frame_len,
            offers_post_handshake_auth: candidates.offers_post_handshake_auth,
            candidates: Mutex::new(Some(candidates)),
        }
    }

    /// The keys, which are used once.
    pub(crate) fn take(&self) -> PyResult<Candidates> {
        let mut candidates = self
            .candidates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        candidates
            .take()
            .ok_or_else(|| PyValueError::new_err("these keys were taken over already"))
    }
}
