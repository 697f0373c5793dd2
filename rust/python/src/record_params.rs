//! `ktls._core.DirectionKeys` and `RecordParams`: what is known of the keys of one direction, and how records are made
//! with them.

use std::sync::Arc;

use ktls_engine::{Backend, NewReadKeys, NewWriteState, RecordSplit, UpdateSecret};
use ktls_record::Keys as RecordKeys;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use zeroize::Zeroizing;

use crate::errors::value_error;
use crate::keys::Keys;
use crate::provider::Named;
use crate::secret::Secret;

/// Keys, and the number of the record that is next under them.
#[pyclass(frozen, module = "ktls._core")]
pub(crate) struct DirectionKeys(ktls_record::handover::DirectionKeys);

#[pymethods]
impl DirectionKeys {
    #[new]
    #[pyo3(signature = (keys, sequence=0, *, explicit_nonce=None, secret=None))]
    fn new(
        keys: &Keys,
        sequence: u64,
        explicit_nonce: Option<u64>,
        secret: Option<&Secret>,
    ) -> Self {
        Self(ktls_record::handover::DirectionKeys {
            keys: keys.0.clone(),
            sequence,
            explicit_nonce,
            secret: secret.map(Secret::value),
        })
    }

    #[getter]
    fn sequence(&self) -> u64 {
        self.0.sequence
    }
}

impl DirectionKeys {
    pub(crate) fn inner(&self) -> &ktls_record::handover::DirectionKeys {
        &self.0
    }
}

/// How records are made, whatever their keys.
#[pyclass(frozen, module = "ktls._core")]
pub(crate) struct RecordParams {
    backend: Arc<Backend>,
    max_frame_len: usize,
    block_padding: usize,
    record_limit: Option<u64>,
    split: RecordSplit,
}

#[pymethods]
impl RecordParams {
    #[new]
    #[pyo3(signature = (provider, *, max_frame_len=16384, block_padding=0, record_limit=None, split="none"))]
    fn new(
        provider: Named,
        max_frame_len: usize,
        block_padding: usize,
        record_limit: Option<u64>,
        split: &str,
    ) -> PyResult<Self> {
        check_frame_len(max_frame_len)?;
        let split = match split {
            "none" => RecordSplit::None,
            "empty" => RecordSplit::Empty,
            "split" => RecordSplit::OneByte,
            other => {
                return Err(PyValueError::new_err(format!(
                    "split {other:?} is not known; use \"none\", \"empty\" or \"split\""
                )));
            }
        };
        Ok(Self {
            backend: provider.backend()?,
            max_frame_len,
            block_padding,
            record_limit,
            split,
        })
    }
}

impl RecordParams {
    /// The write state of these keys. ValueError when the provider does not know the suite.
    pub(crate) fn write_state(
        &self,
        direction: &ktls_record::handover::DirectionKeys,
    ) -> PyResult<NewWriteState> {
        let keys: &RecordKeys = &direction.keys;
        let base = match direction.explicit_nonce {
            Some(nonce) => nonce.wrapping_sub(direction.sequence),
            None => crate::sealer::random_nonce_base()?,
        };
        let seal = self
            .backend
            .sealer(keys, base)
            .map_err(|error| value_error(&error))?;
        let mut new = NewWriteState::new(keys, seal, direction.sequence, self.max_frame_len)
            .with_padding(self.block_padding)
            .with_record_split(self.split)
            .with_backend(&self.backend);
        if let Some(limit) = self.record_limit {
            new = new.with_record_limit(limit);
        }
        if let Some(secret) = &direction.secret {
            let secret = Zeroizing::new(secret.to_vec());
            new = new.with_update_secret(UpdateSecret::new(keys.suite(), secret, &self.backend));
        }
        Ok(new)
    }
}

/// The read keys of this direction. ValueError when the provider does not know the suite.
pub(crate) fn read_keys(
    direction: &ktls_record::handover::DirectionKeys,
    provider: &Named,
) -> PyResult<NewReadKeys> {
    NewReadKeys::new(&direction.keys, direction.sequence, &provider.backend()?)
        .map_err(|error| value_error(&error))
}

pub(crate) fn check_frame_len(max_frame_len: usize) -> PyResult<()> {
    if (1..=ktls_record::MAX_FRAME_LEN).contains(&max_frame_len) {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "max_frame_len {max_frame_len} is outside 1..=16384"
    )))
}
