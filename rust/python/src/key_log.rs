//! `ktls._core.KeyLog`: the secrets of registered handshakes, out of a file that something else appends to.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ktls_record::keylog;
use pyo3::exceptions::{PyKeyError, PyOSError};
use pyo3::prelude::*;
use zeroize::Zeroizing;

use crate::secret::{self, Secret};

/// Longest line taken: a label, two hex strings; anything longer is no secret of TLS.
const MAX_LINE_LEN: usize = 1024;

#[derive(Default)]
struct Handshake {
    registrations: usize,
    secrets: Vec<Secret>,
}

struct State {
    position: u64,
    handshakes: HashMap<[u8; 32], Handshake>,
}

/// See the head of this file.
#[pyclass(frozen, module = "ktls._core")]
pub(crate) struct KeyLog {
    file: File,
    wipe: bool,
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
                format!("the key log descriptor {fd} is not open"),
            ))
        })?;
        let file = File::from(fd);
        let position = file.metadata()?.len();
        Ok(Self {
            file,
            wipe,
            state: Mutex::new(State {
                position,
                handshakes: HashMap::new(),
            }),
        })
    }

    fn register(&self, client_random: &Bound<'_, PyAny>) -> PyResult<()> {
        let random = secret::random(client_random)?;
        let mut state = self.lock();
        // Lines written before belong to others.
        self.read_lines(&mut state)?;
        state.handshakes.entry(random).or_default().registrations += 1;
        Ok(())
    }

    fn release(&self, client_random: &Bound<'_, PyAny>) -> PyResult<()> {
        let random = secret::random(client_random)?;
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

    fn secrets(&self, client_random: &Bound<'_, PyAny>) -> PyResult<Vec<Secret>> {
        let random = secret::random(client_random)?;
        let mut state = self.lock();
        self.read_lines(&mut state)?;
        let handshake = state.handshakes.get(&random);
        handshake
            .map(|handshake| handshake.secrets.clone())
            .ok_or_else(|| PyKeyError::new_err("this client random is not registered"))
    }

    fn __len__(&self) -> usize {
        self.lock().handshakes.len()
    }
}

impl KeyLog {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes every whole line that is new.
    fn read_lines(&self, state: &mut State) -> PyResult<()> {
        loop {
            let mut chunk = Zeroizing::new(vec![0; 16 * MAX_LINE_LEN]);
            let read = self.file.read_at(&mut chunk, state.position)?;
            let whole = chunk[..read]
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(0, |end| end + 1);
            // A line that fills the chunk is not one of ours: it is passed over in pieces.
            let taken = if whole == 0 && read == chunk.len() {
                read
            } else {
                whole
            };
            if taken == 0 {
                return Ok(());
            }
            for line in chunk[..whole]
                .split(|&byte| byte == b'\n')
                .filter(|line| line.len() <= MAX_LINE_LEN)
            {
                if let Some(line) = keylog::parse(line)
                    && let Some(handshake) = state.handshakes.get_mut(&line.client_random)
                {
                    handshake
                        .secrets
                        .push(Secret::from_parts(line.label, line.secret));
                }
            }
            if self.wipe {
                // Whoever appends only adds at the end, so all that was read is nobody's any more. From the start, since
                // a page goes back only when the whole of it does.
                let end = state.position + taken as u64;
                if ktls_engine::discard(&self.file, 0, end).is_err() {
                    self.file.write_all_at(&vec![0; taken], state.position)?;
                }
            }
            state.position += taken as u64;
        }
    }
}
