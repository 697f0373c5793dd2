//! `ktls._core.KeyLog`: the secrets of registered handshakes, out of a file that something else appends to.
//!
//! Every line of a random that is not registered is garbage as soon as it is written. So a sweep may come at any time,
//! from any thread, and does two things to a file that is wiped:
//!
//! - What was read is punched out. Whoever appends only adds at the end, so that nobody needs it.
//! - The file is cut to nothing, unless a registered handshake is inside OpenSSL (`enter`, `leave`). Only there are its
//!   lines written, and one that was inside before has its lines read by now; one that wants to go in waits for the lock.
//!   So what is appended between the reading and the cut is nobody's. A writer in the middle of a line has the kernel
//!   hold the inode until the line is whole, and its next line goes to the end, wherever that is by then (O_APPEND).

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ktls_engine::words;
use ktls_record::keylog::{self, LoggedSecret};
use pyo3::exceptions::{PyKeyError, PyOSError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use zeroize::Zeroizing;

use crate::python_call::call;
use crate::secret::{self, Secret};

/// Longest line taken: a label, two hex strings; anything longer is no secret of TLS.
const MAX_LINE_LEN: usize = 1024;

/// Bytes of the file that are read at once.
const MAX_CHUNK: usize = 16 * MAX_LINE_LEN;

/// Secrets kept for one client random: a connection logs at most five, a stranger who knows the random any number.
const MAX_SECRETS: usize = 64;

#[derive(Default)]
struct Handshake {
    registrations: usize,
    secrets: Vec<LoggedSecret>,
}

struct State {
    position: u64,
    /// Calls of OpenSSL under way that may log a line of a registered handshake.
    inside: usize,
    handshakes: HashMap<[u8; 32], Handshake>,
}

/// See the head of this file.
#[pyclass(frozen, module = "ktls._core")]
pub(crate) struct KeyLog {
    file: File,
    wipe: bool,
    fork_count: u32,
    state: Mutex<State>,
}

#[pymethods]
impl KeyLog {
    #[new]
    #[pyo3(signature = (fd, *, wipe))]
    fn new(fd: i32, wipe: bool) -> PyResult<Self> {
        let fd = ktls_engine::duplicate(fd).map_err(|errno| {
            PyOSError::new_err((
                errno.raw_os_error(),
                format!(
                    "the key log descriptor {fd} cannot be used: {}",
                    words(errno)
                ),
            ))
        })?;
        Self::of(File::from(fd), wipe)
    }

    /// Of a new file in memory, which is wiped. In one call: a signal handler may raise between any two.
    #[staticmethod]
    fn in_memory() -> PyResult<Self> {
        let file = ktls_engine::memory_file("ktls-keylog")
            .map_err(|errno| PyOSError::new_err((errno.raw_os_error(), words(errno))))?;
        Self::of(File::from(file), true)
    }

    /// For a name of the file below /proc.
    fn fileno(&self) -> i32 {
        self.file.as_raw_fd()
    }

    /// Whether it belongs to a process of which this one is a fork: its lines and their end are that one's.
    #[getter]
    fn is_inherited(&self) -> bool {
        self.fork_count != ktls_engine::fork_count()
    }

    #[pyo3(name = "register")]
    fn py_register(&self, client_random: &Bound<'_, PyAny>) -> PyResult<()> {
        self.register(secret::random(client_random)?)
    }

    #[pyo3(name = "release")]
    fn py_release(&self, client_random: &Bound<'_, PyAny>) -> PyResult<()> {
        self.release(secret::random(client_random)?)
    }

    #[pyo3(name = "secrets")]
    fn py_secrets(&self, client_random: &Bound<'_, PyAny>) -> PyResult<Vec<Secret>> {
        let secrets = self.secrets(secret::random(client_random)?)?;
        Ok(secrets.into_iter().map(Secret::from).collect())
    }

    #[pyo3(name = "sweep")]
    fn py_sweep(&self) -> PyResult<()> {
        self.check_process()?;
        self.sweep()
    }

    /// Calls, and sweeps whatever comes of it: no signal handler comes between.
    fn sweep_after<'py>(&self, function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let result = call(function, PyTuple::empty(function.py()));
        // What cannot be swept now is swept later: the call is not to fail for it.
        let _ = self.sweep();
        result
    }

    fn __len__(&self) -> usize {
        if self.is_inherited() {
            return 0;
        }
        self.lock().handshakes.len()
    }
}

impl KeyLog {
    fn of(file: File, wipe: bool) -> PyResult<Self> {
        let position = file.metadata()?.len();
        ktls_engine::watch_forks();
        Ok(Self {
            file,
            wipe,
            fork_count: ktls_engine::fork_count(),
            state: Mutex::new(State {
                position,
                inside: 0,
                handshakes: HashMap::new(),
            }),
        })
    }

    /// Keeps what is logged under this random. Counted: two connections may carry the same.
    pub(crate) fn register(&self, random: [u8; 32]) -> PyResult<()> {
        self.check_process()?;
        let mut state = self.lock();
        // Lines written before belong to others.
        self.read_lines(&mut state)?;
        state.handshakes.entry(random).or_default().registrations += 1;
        Ok(())
    }

    /// Forgets what was logged under this random. In a forked child nothing: the parent may still need it.
    pub(crate) fn release(&self, random: [u8; 32]) -> PyResult<()> {
        if self.is_inherited() {
            return Ok(());
        }
        let mut state = self.lock();
        self.read_lines(&mut state)?;
        let Some(handshake) = state.handshakes.get_mut(&random) else {
            return Err(PyKeyError::new_err("this client random is not registered"));
        };
        handshake.registrations -= 1;
        if handshake.registrations == 0 {
            state.handshakes.remove(&random);
        }
        Ok(())
    }

    /// Every secret logged so far under this random, oldest first.
    pub(crate) fn secrets(&self, random: [u8; 32]) -> PyResult<Vec<LoggedSecret>> {
        self.check_process()?;
        let mut state = self.lock();
        self.read_lines(&mut state)?;
        let handshake = state.handshakes.get(&random);
        handshake
            .map(|handshake| handshake.secrets.clone())
            .ok_or_else(|| PyKeyError::new_err("this client random is not registered"))
    }

    /// A registered handshake goes into OpenSSL, which may log its lines now.
    pub(crate) fn enter(&self) {
        if !self.is_inherited() {
            self.lock().inside += 1;
        }
    }

    /// It comes back.
    pub(crate) fn leave(&self) {
        if !self.is_inherited() {
            self.lock().inside -= 1;
        }
    }

    /// Wipes the lines that nobody has registered for. Nothing in a forked child, or in a file that is only read.
    pub(crate) fn sweep(&self) -> PyResult<()> {
        if !self.wipe || self.is_inherited() {
            return Ok(());
        }
        self.read_lines(&mut self.lock())
    }

    fn check_process(&self) -> PyResult<()> {
        if self.is_inherited() {
            return Err(PyOSError::new_err((
                1,
                "this key log belongs to the parent process; call ktls.prepare(context) again",
            )));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes every whole line that is new, and wipes the file (see its head).
    fn read_lines(&self, state: &mut State) -> PyResult<()> {
        loop {
            // Asked first: after most calls there is nothing.
            let len = self.file.metadata()?.len();
            let new = len.saturating_sub(state.position);
            if new == 0 {
                return self.cut(state, len);
            }
            let chunk_len = usize::try_from(new).map_or(MAX_CHUNK, |new| new.min(MAX_CHUNK));
            let mut chunk = Zeroizing::new(vec![0; chunk_len]);
            let read = self.file.read_at(&mut chunk, state.position)?;
            let whole = chunk[..read]
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(0, |end| end + 1);
            // A line that fills the chunk is not one of ours: it is passed over in pieces.
            let taken = if whole == 0 && read == MAX_CHUNK {
                read
            } else {
                whole
            };
            if taken == 0 {
                return self.cut(state, len);
            }
            for line in chunk[..whole]
                .split(|&byte| byte == b'\n')
                .filter(|line| line.len() <= MAX_LINE_LEN)
            {
                if let Some(line) = keylog::parse(line)
                    && let Some(handshake) = state.handshakes.get_mut(&line.client_random)
                    && handshake.secrets.len() < MAX_SECRETS
                {
                    handshake.secrets.push(LoggedSecret::from(line));
                }
            }
            if self.wipe {
                // From the start, since a page goes back only when the whole of it does.
                let end = state.position + taken as u64;
                if ktls_engine::discard(&self.file, 0, end).is_err() {
                    self.file.write_all_at(&vec![0; taken], state.position)?;
                }
            }
            state.position += taken as u64;
        }
    }

    /// After all whole lines of these `len` bytes were read. See the head of this file.
    fn cut(&self, state: &mut State, len: u64) -> PyResult<()> {
        if self.wipe && state.inside == 0 && len > 0 {
            self.file.set_len(0)?;
            state.position = 0;
        }
        Ok(())
    }
}
