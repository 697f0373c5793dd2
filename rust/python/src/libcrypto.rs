//! The backend `openssl`: AEADs of the libcrypto that Python's own `_ssl` has loaded, fetched through its provider
//! framework, so that whatever provider openssl.cnf names does the work (a card's, say).
//!
//! Nothing is linked: the functions are looked up in the library that is there, and where one is missing the backend is
//! not there either (OpenSSL before 3.0, LibreSSL, an interpreter that is one file).

use std::ffi::{CStr, CString, c_char, c_int, c_uchar, c_void};
use std::ptr::{null, null_mut};
use std::sync::{Arc, Mutex, PoisonError};

use ktls_record::external::{self, AeadRecord, ExternalAead};
use ktls_record::provider::Provider;
use ktls_record::{Algorithm, Error, Keys, Open, Seal, Suite};

/// Its name.
pub(crate) const NAME: &str = "openssl";

const RTLD_LAZY: c_int = 1;
/// `EVP_CTRL_AEAD_GET_TAG` and `EVP_CTRL_AEAD_SET_TAG` (`openssl/evp.h`).
const GET_TAG: c_int = 0x10;
const SET_TAG: c_int = 0x11;

unsafe extern "C" {
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

type Cipher = *mut c_void;
type Context = *mut c_void;
type Fetch = unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char) -> Cipher;
type Free = unsafe extern "C" fn(*mut c_void);
type NewContext = unsafe extern "C" fn() -> Context;
type Control = unsafe extern "C" fn(Context, c_int, c_int, *mut c_void) -> c_int;
type ClearErrors = unsafe extern "C" fn();
type Init = unsafe extern "C" fn(
    Context,
    *const c_void,
    *const c_uchar,
    *const c_uchar,
    *const c_void,
) -> c_int;
type Update =
    unsafe extern "C" fn(Context, *mut c_uchar, *mut c_int, *const c_uchar, c_int) -> c_int;
type Final = unsafe extern "C" fn(Context, *mut c_uchar, *mut c_int) -> c_int;

/// The functions of `openssl/evp.h` that are needed.
#[derive(Clone, Copy)]
struct Evp {
    fetch: Fetch,
    free: Free,
    new_context: NewContext,
    free_context: Free,
    control: Control,
    encrypt_init: Init,
    encrypt_update: Update,
    encrypt_final: Final,
    decrypt_init: Init,
    decrypt_update: Update,
    decrypt_final: Final,
    clear_errors: ClearErrors,
}

macro_rules! look_up {
    ($library:expr, $name:literal, $type:ty) => {{
        // SAFETY: the library stays open, and the name is a C string.
        let found = unsafe { dlsym($library, concat!($name, "\0").as_ptr().cast()) };
        if found.is_null() {
            return Err(concat!("this libcrypto has no ", $name).to_owned());
        }
        // SAFETY: the function of this name has had this signature since OpenSSL 3.0, in which those of before that have
        // not changed (ossl evp.h); a library without EVP_CIPHER_fetch comes no further than that.
        unsafe { std::mem::transmute::<*mut c_void, $type>(found) }
    }};
}

/// The libcrypto that is there, and what it has.
pub(crate) struct Libcrypto {
    evp: Evp,
    ciphers: Vec<(Algorithm, FetchedCipher)>,
}

/// Of a fetch; lives as long as the process.
struct FetchedCipher(Cipher);

// SAFETY: a fetched method never changes, and its count of references is atomic (EVP_CIPHER_fetch(3), openssl-threads(7)).
unsafe impl Send for FetchedCipher {}
// SAFETY: as above.
unsafe impl Sync for FetchedCipher {}

impl Libcrypto {
    /// The library that this extension module (`_ssl`), or the program itself (None), was linked with. An error says what
    /// is missing.
    pub(crate) fn find(module: Option<&str>) -> Result<Self, String> {
        let name = module
            .map(CString::new)
            .transpose()
            .map_err(|error| error.to_string())?;
        let name = name.as_deref().map_or(null(), CStr::as_ptr);
        // SAFETY: the name is null or a C string. The module is loaded already, so that no code of it is run.
        let library = unsafe { dlopen(name, RTLD_LAZY) };
        if library.is_null() {
            return Err("the library that _ssl uses cannot be opened".to_owned());
        }
        let evp = Evp {
            fetch: look_up!(library, "EVP_CIPHER_fetch", Fetch),
            free: look_up!(library, "EVP_CIPHER_free", Free),
            new_context: look_up!(library, "EVP_CIPHER_CTX_new", NewContext),
            free_context: look_up!(library, "EVP_CIPHER_CTX_free", Free),
            control: look_up!(library, "EVP_CIPHER_CTX_ctrl", Control),
            encrypt_init: look_up!(library, "EVP_EncryptInit_ex2", Init),
            encrypt_update: look_up!(library, "EVP_EncryptUpdate", Update),
            encrypt_final: look_up!(library, "EVP_EncryptFinal_ex", Final),
            decrypt_init: look_up!(library, "EVP_DecryptInit_ex2", Init),
            decrypt_update: look_up!(library, "EVP_DecryptUpdate", Update),
            decrypt_final: look_up!(library, "EVP_DecryptFinal_ex", Final),
            clear_errors: look_up!(library, "ERR_clear_error", ClearErrors),
        };
        let names = [
            (Algorithm::Aes128Gcm, c"AES-128-GCM"),
            (Algorithm::Aes256Gcm, c"AES-256-GCM"),
            (Algorithm::ChaCha20Poly1305, c"ChaCha20-Poly1305"),
        ];
        let mut ciphers = Vec::new();
        for (algorithm, name) in names {
            // SAFETY: the default context, a C string, and no property query; null when no provider has it.
            let cipher = unsafe { (evp.fetch)(null_mut(), name.as_ptr(), null()) };
            if !cipher.is_null() {
                ciphers.push((algorithm, FetchedCipher(cipher)));
            }
        }
        // What was not found is nobody's error: `ssl` would take it for its own.
        // SAFETY: no argument; it is about the calling thread's list.
        unsafe { (evp.clear_errors)() };
        if ciphers.is_empty() {
            return Err("no provider of this libcrypto has an AEAD of TLS".to_owned());
        }
        Ok(Self { evp, ciphers })
    }

    fn keyed(&self, keys: &Keys, seals: bool) -> Result<Box<dyn ExternalAead>, Error> {
        let algorithm = keys.suite().algorithm();
        let cipher = self.ciphers.iter().find(|(other, _)| *other == algorithm);
        let (_, cipher) = cipher.ok_or_else(|| failed("no provider has the cipher"))?;
        // SAFETY: no argument; null is looked at.
        let context = unsafe { (self.evp.new_context)() };
        if context.is_null() {
            return Err(failed("there is no memory for a context"));
        }
        let aead = EvpAead {
            evp: self.evp,
            context: Mutex::new(Keyed(context)),
        };
        let init = if seals {
            self.evp.encrypt_init
        } else {
            self.evp.decrypt_init
        };
        // SAFETY: the context is new, the cipher fetched, and the key as long as the cipher's, which the suite has made
        // sure of; no IV yet, no parameters.
        let keyed = unsafe { init(context, cipher.0, keys.key().as_ptr(), null(), null()) };
        if keyed != 1 {
            aead.forget_errors();
            return Err(failed("the key was refused"));
        }
        Ok(Box::new(aead))
    }
}

impl Drop for Libcrypto {
    fn drop(&mut self) {
        for (_, cipher) in &self.ciphers {
            // SAFETY: fetched here, and freed once; contexts have references of their own.
            unsafe { (self.evp.free)(cipher.0) };
        }
    }
}

impl Provider for Libcrypto {
    fn name(&self) -> &str {
        NAME
    }

    fn takes(&self, suite: Suite) -> bool {
        let algorithm = suite.algorithm();
        self.ciphers.iter().any(|(other, _)| *other == algorithm)
    }

    fn sealer(&self, keys: &Keys, explicit_base: u64) -> Result<Box<dyn Seal>, Error> {
        external::sealer(keys, explicit_base, self.keyed(keys, true)?)
    }

    fn opener(&self, keys: &Keys) -> Result<Arc<dyn Open>, Error> {
        external::opener(keys, self.keyed(keys, false)?)
    }
}

/// A context with a key.
struct Keyed(Context);

// SAFETY: a context may be used by any thread, one at a time (openssl-threads(7)).
unsafe impl Send for Keyed {}

struct EvpAead {
    evp: Evp,
    context: Mutex<Keyed>,
}

impl EvpAead {
    /// Runs the text through the context. `tag`: when sealing, before or after, what is done with the tag.
    fn seal_record(&self, record: &mut AeadRecord<'_>) -> Option<()> {
        let context = self.context.lock().unwrap_or_else(PoisonError::into_inner);
        let (nonce, aad, text, tag) = record.parts();
        // SAFETY: the context has its cipher and key; the nonce has the 12 bytes that are the default of these ciphers.
        let begun =
            unsafe { (self.evp.encrypt_init)(context.0, null(), null(), nonce.as_ptr(), null()) };
        (begun == 1).then_some(())?;
        self.run(context.0, self.evp.encrypt_update, aad, text)?;
        let mut none = 0;
        let mut block = [0; 16];
        // SAFETY: there is room for a block, though an AEAD writes nothing here.
        let ended =
            unsafe { (self.evp.encrypt_final)(context.0, block.as_mut_ptr(), &raw mut none) };
        (ended == 1).then_some(())?;
        let len = c_int::try_from(tag.len()).ok()?;
        // SAFETY: so many bytes of the tag are written to where there is room for them.
        let tagged =
            unsafe { (self.evp.control)(context.0, GET_TAG, len, tag.as_mut_ptr().cast()) };
        (tagged == 1).then_some(())
    }

    /// Some(false): it does not authenticate.
    fn open_record(&self, record: &mut AeadRecord<'_>) -> Option<bool> {
        let context = self.context.lock().unwrap_or_else(PoisonError::into_inner);
        let (nonce, aad, text, tag) = record.parts();
        // SAFETY: as for sealing.
        let begun =
            unsafe { (self.evp.decrypt_init)(context.0, null(), null(), nonce.as_ptr(), null()) };
        (begun == 1).then_some(())?;
        self.run(context.0, self.evp.decrypt_update, aad, text)?;
        let len = c_int::try_from(tag.len()).ok()?;
        // SAFETY: so many bytes of the tag are read.
        let tagged =
            unsafe { (self.evp.control)(context.0, SET_TAG, len, tag.as_mut_ptr().cast()) };
        (tagged == 1).then_some(())?;
        let mut none = 0;
        let mut block = [0; 16];
        // SAFETY: there is room for a block, though an AEAD writes nothing here.
        let ended =
            unsafe { (self.evp.decrypt_final)(context.0, block.as_mut_ptr(), &raw mut none) };
        Some(ended == 1)
    }

    fn run(&self, context: Context, update: Update, aad: &[u8], text: &mut [u8]) -> Option<()> {
        let mut done = 0;
        let aad_len = c_int::try_from(aad.len()).ok()?;
        // SAFETY: without an output the input is additional data, of which so many bytes are read.
        let authenticated =
            unsafe { update(context, null_mut(), &raw mut done, aad.as_ptr(), aad_len) };
        (authenticated == 1).then_some(())?;
        if text.is_empty() {
            return Some(());
        }
        let len = c_int::try_from(text.len()).ok()?;
        let start = text.as_mut_ptr();
        // SAFETY: a stream cipher writes as many bytes as it reads, and may write to where it reads
        // (EVP_EncryptUpdate(3)).
        let worked = unsafe { update(context, start, &raw mut done, start, len) };
        (worked == 1 && done == len).then_some(())
    }

    /// What went wrong is ours to say: `ssl` would take it for its own.
    fn forget_errors(&self) {
        // SAFETY: no argument; it is about the calling thread's list.
        unsafe { (self.evp.clear_errors)() };
    }
}

impl ExternalAead for EvpAead {
    fn seal(&self, batch: &mut [AeadRecord<'_>]) -> Result<(), Error> {
        for record in batch {
            if self.seal_record(record).is_none() {
                self.forget_errors();
                return Err(failed("EVP_Encrypt failed"));
            }
        }
        Ok(())
    }

    fn open(&self, batch: &mut [AeadRecord<'_>]) -> Result<(), Error> {
        for record in batch {
            match self.open_record(record) {
                Some(true) => {}
                Some(false) => {
                    self.forget_errors();
                    record.refuse();
                }
                None => {
                    self.forget_errors();
                    return Err(failed("EVP_Decrypt failed"));
                }
            }
        }
        Ok(())
    }
}

impl Drop for EvpAead {
    fn drop(&mut self) {
        let context = self
            .context
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        // SAFETY: made by EVP_CIPHER_CTX_new, and freed once, which wipes the key.
        unsafe { (self.evp.free_context)(context.0) };
    }
}

fn failed(reason: &str) -> Error {
    Error::backend(NAME, reason)
}
