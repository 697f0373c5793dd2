//! The extension module `ktls._core`: the engine and the record layer as Python sees them. Thin: one class per
//! file, arguments in, errors out. The documentation of every name is in `python/ktls/_core.pyi`.

mod aio_write;
#[expect(
    unsafe_code,
    reason = "raw buffers of Python; each block has its SAFETY note"
)]
mod buffer;
mod errors;
mod handshake;
mod key_log;
mod keys;
mod limit;
mod new_key;
mod opener;
mod pool;
mod records;
mod sealer;
mod secret;
mod send_all;
mod stream;

use pyo3::prelude::*;

#[pymodule]
mod _core {
    #[pymodule_export]
    use crate::aio_write::AioWrite;
    #[pymodule_export]
    use crate::handshake::{ClientHello, ServerHello};
    #[pymodule_export]
    use crate::key_log::KeyLog;
    #[pymodule_export]
    use crate::keys::Keys;
    #[pymodule_export]
    use crate::opener::Opener;
    #[pymodule_export]
    use crate::pool::{
        after_fork_in_child, after_fork_in_parent, aio_completions, before_fork, counters,
        set_tunable, start_workers, stop_aio, stop_workers,
    };
    #[pymodule_export]
    use crate::records::read_records;
    #[pymodule_export]
    use crate::sealer::{Sealer, providers};
    #[pymodule_export]
    use crate::secret::Secret;
    #[pymodule_export]
    use crate::stream::Stream;

    #[pymodule_export]
    const MSG_MORE: u32 = crate::stream::MSG_MORE;

    #[pymodule_export]
    const BUILD_PROFILE: &str = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
}
