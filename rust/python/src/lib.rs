//! The extension module `ktls._core`: the engine and the record layer as Python sees them. Thin: one class per
//! file, arguments in, errors out. The documentation of every name is in `python/ktls/_core.pyi`.

mod async_write;
mod backends;
#[expect(
    unsafe_code,
    reason = "raw buffers of Python; each block has its SAFETY note"
)]
mod buffer;
mod call;
mod cork;
mod errors;
mod handover;
mod interpreter;
mod key_log;
mod keys;
#[expect(
    unsafe_code,
    reason = "functions of a libcrypto that is there at run time; each block has its SAFETY note"
)]
mod libcrypto;
mod main_interpreter;
mod opener;
mod openssl;
mod process;
mod provider;
#[expect(
    unsafe_code,
    reason = "a call that may unwind; each block has its SAFETY note"
)]
mod python_call;
mod python_socket;
mod record_params;
mod recv_stream;
mod sealer;
mod secret;
mod send_stream;
mod ssl_errors;
mod waiting;

use pyo3::prelude::*;

#[pymodule]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::async_write::AsyncWrite;
    #[pymodule_export]
    use crate::backends::python::BatchRecord;
    #[pymodule_export]
    use crate::cork::Cork;
    #[pymodule_export]
    use crate::handover::Handover;
    #[pymodule_export]
    use crate::key_log::KeyLog;
    #[pymodule_export]
    use crate::keys::Keys;
    #[pymodule_export]
    use crate::opener::Opener;
    #[pymodule_export]
    use crate::openssl::{OpenSSLSide, Reading};
    #[pymodule_export]
    use crate::process::{
        counters, fork_count, histograms, set_tunable, start_workers, stop_completions,
        stop_workers, tunables, wait_completions, worker_count, workers_started,
    };
    #[pymodule_export]
    use crate::provider::Provider;
    #[pymodule_export]
    use crate::python_socket::{adopt, takes_byte};
    #[pymodule_export]
    use crate::record_params::{DirectionKeys, RecordParams};
    #[pymodule_export]
    use crate::recv_stream::RecvStream;
    #[pymodule_export]
    use crate::sealer::{Sealer, providers};
    #[pymodule_export]
    use crate::secret::Secret;
    #[pymodule_export]
    use crate::send_stream::SendStream;
    #[pymodule_export]
    use crate::waiting::{get_wait_callback, set_wait_callback};

    /// Imported now: a thread that is inside an import when another forks leaves its lock to the child.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::main_interpreter::require(module.py())?;
        for name in ["_socket", "socket", "ssl"] {
            module.py().import(name)?;
        }
        crate::errors::import(module.py());
        Ok(())
    }

    #[pymodule_export]
    const MSG_MORE: u32 = crate::send_stream::MSG_MORE;

    #[pymodule_export]
    const BUILD_PROFILE: &str = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
}
