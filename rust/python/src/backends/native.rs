//! A native backend: the functions of `ktls_backend.h`, called with an AEAD's record.
//!
//! What such a library does with the memory that it is given is its own affair, as with any extension module; what it
//! returns is not believed.

use std::ffi::{c_int, c_void};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use ktls_record::external::{self, AeadRecord, ExternalAead};
use ktls_record::provider::Provider;
use ktls_record::{Algorithm, Error, Keys, Open, Seal, Suite};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyCapsuleMethods};

use crate::keys::algorithm_number;

/// `KTLS_BACKEND_API_VERSION`.
const API_VERSION: u32 = 1;

/// `KTLS_BACKEND_CAPSULE`.
const CAPSULE: &std::ffi::CStr = c"ktls.backend.v1";

const EINVAL: i32 = 22;
const EBADMSG: c_int = 74;

/// `struct ktls_suite`.
#[repr(C)]
struct CSuite {
    cipher_algorithm: u32,
    tls_vminor: u32,
    key_len: usize,
}

/// `struct ktls_record`.
#[repr(C)]
struct CRecord {
    sequence: u64,
    nonce: *const u8,
    aad: *const u8,
    aad_len: usize,
    text: *mut u8,
    text_len: usize,
    tag: *mut u8,
    content_type: u32,
}

/// `struct ktls_backend`. The functions may be missing.
#[repr(C)]
#[derive(Clone, Copy)]
struct CBackend {
    size: usize,
    api_version: u32,
    takes: Option<unsafe extern "C" fn(*const CSuite) -> c_int>,
    new_session: Option<unsafe extern "C" fn(*const CSuite, *const u8, *mut *mut c_void) -> c_int>,
    seal: Option<Call>,
    open: Option<Call>,
    free: Option<unsafe extern "C" fn(*mut c_void)>,
}

type Call = unsafe extern "C" fn(*mut c_void, *mut CRecord) -> c_int;

/// The functions, all of which are there.
#[derive(Clone, Copy)]
struct Functions {
    takes: unsafe extern "C" fn(*const CSuite) -> c_int,
    new_session: unsafe extern "C" fn(*const CSuite, *const u8, *mut *mut c_void) -> c_int,
    seal: Call,
    open: Call,
    free: unsafe extern "C" fn(*mut c_void),
}

/// See the head of this file.
pub(crate) struct Native {
    name: String,
    functions: Functions,
    /// Keeps what it is about.
    _capsule: Py<PyCapsule>,
}

impl Native {
    /// The backend of a capsule. OSError EINVAL for another version or size; ValueError for another capsule.
    pub(crate) fn new(name: &str, capsule: &Bound<'_, PyCapsule>) -> PyResult<Self> {
        let backend: NonNull<CBackend> = capsule.pointer_checked(Some(CAPSULE))?.cast();
        // SAFETY: a capsule of this name points to a `struct ktls_backend`, whose first member is its size.
        let size = unsafe { backend.cast::<usize>().read() };
        if size < size_of::<CBackend>() {
            return Err(refused(format!(
                "the backend {name:?} has a struct ktls_backend of {size} bytes, this ktls one of {}; build it again \
                 with ktls_backend.h of this version",
                size_of::<CBackend>()
            )));
        }
        // SAFETY: it has at least so many bytes, and every value of their types is valid.
        let backend = unsafe { backend.read() };
        if backend.api_version != API_VERSION {
            return Err(refused(format!(
                "KTLS: API version mismatch ({} vs {API_VERSION}) for {name}",
                backend.api_version
            )));
        }
        let functions = (|| {
            Some(Functions {
                takes: backend.takes?,
                new_session: backend.new_session?,
                seal: backend.seal?,
                open: backend.open?,
                free: backend.free?,
            })
        })();
        let functions = functions.ok_or_else(|| {
            refused(format!(
                "the backend {name:?} lacks a function; all of struct ktls_backend are needed"
            ))
        })?;
        Ok(Self {
            name: name.to_owned(),
            functions,
            _capsule: capsule.clone().unbind(),
        })
    }

    fn cipher(&self, keys: &Keys) -> Result<Box<dyn ExternalAead>, Error> {
        let suite = c_suite(keys.suite());
        let mut cipher = std::ptr::null_mut();
        // SAFETY: both pointers are valid during the call, and the key has as many bytes as the suite says.
        let made = unsafe {
            (self.functions.new_session)(&raw const suite, keys.key().as_ptr(), &raw mut cipher)
        };
        if made != 0 {
            let reason = format!("new_session returned {made}");
            return Err(Error::backend(&self.name, &reason));
        }
        Ok(Box::new(NativeAead {
            name: self.name.clone(),
            functions: self.functions,
            cipher: Mutex::new(Cipher(cipher)),
        }))
    }
}

impl Provider for Native {
    fn name(&self) -> &str {
        &self.name
    }

    fn takes(&self, suite: Suite) -> bool {
        if suite.mac().is_some() {
            return false;
        }
        let suite = c_suite(suite);
        // SAFETY: the pointer is valid during the call.
        unsafe { (self.functions.takes)(&raw const suite) != 0 }
    }

    fn sealer(&self, keys: &Keys, explicit_base: u64) -> Result<Box<dyn Seal>, Error> {
        external::sealer(keys, explicit_base, self.cipher(keys)?)
    }

    fn opener(&self, keys: &Keys) -> Result<Arc<dyn Open>, Error> {
        external::opener(keys, self.cipher(keys)?)
    }
}

/// What `new_session` made.
struct Cipher(*mut c_void);

// SAFETY: `ktls_backend.h` says that calls come from any thread, one after another.
unsafe impl Send for Cipher {}

struct NativeAead {
    name: String,
    functions: Functions,
    cipher: Mutex<Cipher>,
}

impl NativeAead {
    fn call(&self, function: Call, record: &mut AeadRecord<'_>) -> c_int {
        let (sequence, content_type) = (record.sequence(), u32::from(record.content_type()));
        let (nonce, aad, text, tag) = record.parts();
        let mut record = CRecord {
            sequence,
            nonce: nonce.as_ptr(),
            aad: aad.as_ptr(),
            aad_len: aad.len(),
            text: text.as_mut_ptr(),
            text_len: text.len(),
            tag: tag.as_mut_ptr(),
            content_type,
        };
        let cipher = self.cipher.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the cipher is from `new_session` and not freed; the pointers of the record are valid during the call
        // for as many bytes as it says, and nobody else uses them.
        unsafe { function(cipher.0, &raw mut record) }
    }

    fn failed(&self, function: &str, result: c_int) -> Error {
        Error::backend(&self.name, &format!("{function} returned {result}"))
    }
}

impl ExternalAead for NativeAead {
    fn seal(&self, batch: &mut [AeadRecord<'_>]) -> Result<(), Error> {
        batch
            .iter_mut()
            .try_for_each(|record| match self.call(self.functions.seal, record) {
                0 => Ok(()),
                other => Err(self.failed("seal", other)),
            })
    }

    fn open(&self, batch: &mut [AeadRecord<'_>]) -> Result<(), Error> {
        batch
            .iter_mut()
            .try_for_each(|record| match self.call(self.functions.open, record) {
                0 => Ok(()),
                EBADMSG => {
                    record.refuse();
                    Ok(())
                }
                other => Err(self.failed("open", other)),
            })
    }
}

impl Drop for NativeAead {
    fn drop(&mut self) {
        let cipher = self
            .cipher
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the cipher is from `new_session`, and nobody uses it any more.
        unsafe { (self.functions.free)(cipher.0) }
    }
}

fn c_suite(suite: Suite) -> CSuite {
    debug_assert!(!matches!(
        suite.algorithm(),
        Algorithm::Aes128Cbc | Algorithm::Aes256Cbc
    ));
    CSuite {
        cipher_algorithm: algorithm_number(suite),
        tls_vminor: u32::from(suite.version().minor()),
        key_len: suite.key_len(),
    }
}

fn refused(why: String) -> PyErr {
    PyOSError::new_err((EINVAL, why))
}
