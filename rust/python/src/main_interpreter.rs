//! Whether this is the main interpreter of the process. The pool, its counters and the locks that forks wait for are the
//! process's, and end with one interpreter: a second one would share them, and be cut off by the end of the first.

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

/// Where CPython says which interpreter runs, by version: 3.13 and later, before that.
const MODULES: [&str; 2] = ["_interpreters", "_xxsubinterpreters"];

/// ImportError in a sub-interpreter. A CPython that does not say which one runs is taken for one that has none.
pub(crate) fn require(py: Python<'_>) -> PyResult<()> {
    let Some(module) = MODULES.iter().find_map(|name| py.import(*name).ok()) else {
        return Ok(());
    };
    let current = module.call_method0("get_current")?;
    let id: i64 = match current.get_item(0) {
        Ok(id) => id.extract()?,
        Err(_) => current.extract()?,
    };
    if id == 0 {
        return Ok(());
    }
    Err(PyImportError::new_err(format!(
        "ktls cannot be imported in sub-interpreter {id}: its worker threads belong to the process and end with the main \
         interpreter; use ktls there"
    )))
}
