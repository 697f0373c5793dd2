//! How long this crate alone takes to seal a record: the figure that the Python API is held against.
//!
//! ```sh
//! cargo run --release -p ktls-record --example seal_rate -- aws-lc 16384 0.5
//! ```
//! prints nanoseconds per record: payload from elsewhere, TLS 1.3, AES-256-GCM, one thread, everything in the cache.
//! It measures nothing else: no framing of a write, no socket.

use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use ktls_record::{Algorithm, Frame, Keys, Suite, Version, provider};

/// Records between two looks at the clock.
const BATCH: u32 = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [provider, payload_len, seconds] = arguments.as_slice() else {
        return Err("usage: seal_rate PROVIDER PAYLOAD_LEN SECONDS".into());
    };
    if cfg!(debug_assertions) {
        return Err("a debug build must not be measured; use --release".into());
    }
    let limit = Duration::try_from_secs_f64(seconds.parse()?)?;
    let ns = nanoseconds_per_record(provider, payload_len.parse()?, limit)?;
    writeln!(std::io::stdout(), "{ns:.1}")?;
    Ok(())
}

fn nanoseconds_per_record(
    provider: &str,
    payload_len: usize,
    limit: Duration,
) -> Result<f64, ktls_record::Error> {
    let suite = Suite::new(Version::Tls13, Algorithm::Aes256Gcm)?;
    let sealer = provider::sealer(provider, &Keys::new(suite, &[7; 32], &[9; 12])?, 0)?;
    let payload = vec![0x5a; payload_len];
    let mut record = vec![0; suite.record_size(payload_len)];
    let mut sequence = 0;
    let mut batch = || -> Result<(), ktls_record::Error> {
        for _ in 0..BATCH {
            let frame = Frame {
                content_type: 23,
                sequence,
                payload_len,
                padding_len: 0,
            };
            sealer.seal_from(frame, black_box(&payload), black_box(&mut record))?;
            sequence += 1;
        }
        Ok(())
    };
    batch()?;
    let start = Instant::now();
    let mut batches = 0_u32;
    loop {
        batch()?;
        batches += 1;
        let elapsed = start.elapsed();
        if elapsed >= limit {
            return Ok(elapsed.as_secs_f64() * 1e9 / (f64::from(batches) * f64::from(BATCH)));
        }
    }
}
