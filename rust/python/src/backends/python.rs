//! A backend that is written in Python: its ciphers get records as views of memory that belongs to Python.
//!
//! A batch is copied into one `bytearray`, of which each record's views are slices, and copied back after the call; then
//! the views are released. One that somebody kept all the same (a `memoryview` of it, say) is of that array, which
//! nobody looks at any more: it keeps some memory, and does no harm.
//!
//! Nothing here is called while a lock of the engine is held (`may_wait`): the thread waits for the interpreter, and runs
//! any Python code. At the interpreter's end it gets an error instead.

use std::sync::Arc;

use ktls_record::external::{self, AeadRecord, ExternalAead};
use ktls_record::provider::Provider;
use ktls_record::{Error, Keys, Open, Seal, Suite};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PySlice, PyTuple};
use zeroize::Zeroizing;

use crate::buffer;
use crate::python_call::{call, call_method};

/// A provider whose ciphers are what a Python object returns for a key.
pub(crate) struct InPython {
    name: String,
    /// None: it is asked for each session what makes its ciphers.
    factory: Option<Arc<Py<PyAny>>>,
}

impl InPython {
    pub(crate) fn new(name: &str, factory: Option<Py<PyAny>>) -> Self {
        Self {
            name: name.to_owned(),
            factory: factory.map(Arc::new),
        }
    }

    /// Called under the locks of a stream when a key follows another: the interpreter is not asked for.
    fn cipher(&self, keys: &Keys) -> Result<Box<dyn ExternalAead>, Error> {
        let factory = self
            .factory
            .as_ref()
            .ok_or_else(|| Error::backend(&self.name, "it was not asked for the session"))?;
        Ok(Box::new(PythonAead {
            name: self.name.clone(),
            factory: Arc::clone(factory),
            key: Zeroizing::new(keys.key().to_vec()),
            cipher: PyOnceLock::new(),
        }))
    }
}

const ENDING: &str = "the interpreter is ending";

impl Provider for InPython {
    fn name(&self) -> &str {
        &self.name
    }

    fn takes(&self, suite: Suite) -> bool {
        suite.mac().is_none()
    }

    fn sealer(&self, keys: &Keys, explicit_base: u64) -> Result<Box<dyn Seal>, Error> {
        external::sealer(keys, explicit_base, self.cipher(keys)?)
    }

    fn opener(&self, keys: &Keys) -> Result<Arc<dyn Open>, Error> {
        external::opener(keys, self.cipher(keys)?)
    }
}

struct PythonAead {
    name: String,
    factory: Arc<Py<PyAny>>,
    key: Zeroizing<Vec<u8>>,
    /// Made at first use, which holds no lock.
    cipher: PyOnceLock<Py<PyAny>>,
}

impl PythonAead {
    fn run(&self, method: &str, batch: &mut [AeadRecord<'_>]) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let outcome = Python::try_attach(|py| {
            self.call(py, method, batch).map_err(|error| {
                if error.is_instance_of::<PyKeyboardInterrupt>(py) {
                    // Nobody above can raise it: the main thread is interrupted again, after this.
                    let module = py.import(intern!(py, "_thread"));
                    let _ = module
                        .and_then(|module| module.call_method0(intern!(py, "interrupt_main")));
                }
                error.to_string()
            })
        });
        outcome
            .unwrap_or_else(|| Err(ENDING.to_owned()))
            .map_err(|reason| Error::backend(&self.name, &reason))
    }

    fn call(&self, py: Python<'_>, method: &str, batch: &mut [AeadRecord<'_>]) -> PyResult<()> {
        let cipher = self.cipher.get_or_try_init(py, || {
            let key = PyBytes::new(py, &self.key);
            call(self.factory.bind(py), (key,)).map(Bound::unbind)
        })?;
        let size = batch.iter_mut().map(|record| record.bytes().len()).sum();
        let mut whole = Zeroizing::new(Vec::with_capacity(size));
        for record in &mut *batch {
            whole.extend_from_slice(record.bytes());
        }
        let memory = PyByteArray::new(py, &whole);
        let view = PyMemoryView::from(memory.as_any())?;
        let mut at = 0;
        let mut records = Vec::with_capacity(batch.len());
        for record in &mut *batch {
            let record = BatchRecord::new(&view, at, record)?;
            at += record.size;
            records.push(Bound::new(py, record)?);
        }
        let result = call_method(
            cipher.bind(py),
            &pyo3::types::PyString::intern(py, method),
            (PyTuple::new(py, &records)?,),
        );
        // Before the views go: whoever kept one may write to it still.
        let outcome = result.and_then(|result| {
            if !result.is_none() {
                return Err(pyo3::exceptions::PyTypeError::new_err(format!(
                    "{method} returned {}, and must return None",
                    result.repr()?
                )));
            }
            let changed = Zeroizing::new(buffer::copy(memory.as_any())?);
            if changed.len() != whole.len() {
                return Err(pyo3::exceptions::PyValueError::new_err(
                    "the memory has another length",
                ));
            }
            let mut rest = &changed[..];
            for (record, given) in batch.iter_mut().zip(&records) {
                let header_size = record.header_size();
                let (bytes, after) = rest.split_at(record.bytes().len());
                // The header is not its own.
                record.bytes()[header_size..].copy_from_slice(&bytes[header_size..]);
                if given
                    .get()
                    .is_refused
                    .load(std::sync::atomic::Ordering::Relaxed)
                {
                    record.refuse();
                }
                rest = after;
            }
            Ok(())
        });
        for record in &records {
            record.get().release(py);
        }
        // Held on to, it cannot be released.
        let _ = view.call_method0(intern!(py, "release"));
        let _ = buffer::fill(memory.as_any(), whole.len(), |bytes| {
            bytes.fill(0);
            Ok(())
        });
        outcome
    }
}

impl ExternalAead for PythonAead {
    fn seal(&self, batch: &mut [AeadRecord<'_>]) -> Result<(), Error> {
        self.run("seal", batch)
    }

    fn open(&self, batch: &mut [AeadRecord<'_>]) -> Result<(), Error> {
        self.run("open", batch)
    }

    fn may_wait(&self) -> bool {
        true
    }
}

/// `ktls._core.BatchRecord`: a record in the hands of a cipher that is written in Python.
#[pyclass(frozen, module = "ktls._core")]
pub(crate) struct BatchRecord {
    #[pyo3(get)]
    sequence: u64,
    #[pyo3(get)]
    content_type: u8,
    #[pyo3(get)]
    nonce: Py<PyBytes>,
    #[pyo3(get)]
    aad: Py<PyBytes>,
    #[pyo3(get)]
    header: Py<PyAny>,
    #[pyo3(get)]
    payload: Py<PyAny>,
    #[pyo3(get)]
    trailer: Py<PyAny>,
    #[pyo3(get)]
    text: Py<PyAny>,
    #[pyo3(get)]
    tag: Py<PyAny>,
    size: usize,
    is_refused: std::sync::atomic::AtomicBool,
}

#[pymethods]
impl BatchRecord {
    /// The record does not authenticate.
    fn refuse(&self) {
        self.is_refused
            .store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

impl BatchRecord {
    fn new(
        view: &Bound<'_, PyMemoryView>,
        at: usize,
        record: &mut AeadRecord<'_>,
    ) -> PyResult<Self> {
        let py = view.py();
        let size = record.bytes().len();
        let payload = at + record.header_size();
        let trailer = payload + record.payload_len();
        let end = at + size;
        let tag = end - TAG_LEN;
        let slice = |from: usize, to: usize| -> PyResult<Py<PyAny>> {
            let index = |place: usize| isize::try_from(place).unwrap_or(isize::MAX);
            let range = PySlice::new(py, index(from), index(to), 1);
            Ok(view.get_item(range)?.unbind())
        };
        Ok(Self {
            sequence: record.sequence(),
            content_type: record.content_type(),
            nonce: PyBytes::new(py, record.nonce()).unbind(),
            aad: PyBytes::new(py, record.aad()).unbind(),
            header: slice(at, payload)?,
            payload: slice(payload, trailer)?,
            trailer: slice(trailer, end)?,
            text: slice(payload, tag)?,
            tag: slice(tag, end)?,
            size,
            is_refused: false.into(),
        })
    }

    fn release(&self, py: Python<'_>) {
        for view in [
            &self.header,
            &self.payload,
            &self.trailer,
            &self.text,
            &self.tag,
        ] {
            // One that is exported further cannot be; it is harmless.
            let _ = view.call_method0(py, intern!(py, "release"));
        }
    }
}

/// Bytes of a tag.
const TAG_LEN: usize = 16;
