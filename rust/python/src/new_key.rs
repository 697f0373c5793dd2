//! What Python says of a key, as the engine takes it.

use ktls_engine::{NewKey, Renewal};
use ktls_record::Seal;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::keys::Keys;
use crate::secret::Secret;

/// Where a key comes from, and so the one after it.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) provider: Option<&'a str>,
    pub(crate) secret: Option<&'a Secret>,
}

pub(crate) fn new_key(
    keys: &Keys,
    seal: Box<dyn Seal>,
    sequence: u64,
    max_frame_len: usize,
    record_limit: Option<u64>,
    origin: Origin<'_>,
) -> PyResult<NewKey> {
    check_frame_len(max_frame_len)?;
    let mut new = NewKey::new(seal, sequence, max_frame_len).known_as(&keys.0);
    if let Some(limit) = record_limit {
        new = new.limited_to(limit);
    }
    if let Some(secret) = origin.secret {
        let provider = origin.provider.unwrap_or("ring");
        new = new.renewed_by(Renewal::new(keys.0.suite(), secret.value(), provider));
    }
    Ok(new)
}

pub(crate) fn check_frame_len(max_frame_len: usize) -> PyResult<()> {
    if (1..=ktls_record::MAX_FRAME_LEN).contains(&max_frame_len) {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "max_frame_len {max_frame_len} is outside 1..=16384"
    )))
}
