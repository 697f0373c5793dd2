//! How long this crate alone takes to open a record, in place and into a buffer elsewhere.
//!
//! ```sh
//! cargo run --release -p ktls-record --example open_rate -- aws-lc aes-256-gcm 16384 0.5
//! ```
//! prints nanoseconds per record, TLS 1.3 (`aes-128-cbc`: TLS 1.2 with HMAC-SHA256), one thread, everything in the
//! cache: `in place` opens in the record's memory, `copied` also copies the payload out of it, `into` opens into another
//! buffer. The record that opening in place destroys is written anew each time; what that takes is subtracted.

use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ktls_record::{Algorithm, Frame, Keys, Mac, MacOrder, Open, Suite, Version, provider};

/// Records between two looks at the clock.
const BATCH: u32 = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [provider, cipher, payload_len, seconds] = arguments.as_slice() else {
        return Err("usage: open_rate PROVIDER CIPHER PAYLOAD_LEN SECONDS".into());
    };
    if cfg!(debug_assertions) {
        return Err("a debug build must not be measured; use --release".into());
    }
    let suite = match cipher.as_str() {
        "aes-128-gcm" => Suite::new(Version::Tls13, Algorithm::Aes128Gcm)?,
        "aes-256-gcm" => Suite::new(Version::Tls13, Algorithm::Aes256Gcm)?,
        "chacha20-poly1305" => Suite::new(Version::Tls13, Algorithm::ChaCha20Poly1305)?,
        "aes-128-cbc" => Suite::cbc(
            Version::Tls12,
            Algorithm::Aes128Cbc,
            Mac::HmacSha256,
            MacOrder::MacThenEncrypt,
        )?,
        _ => return Err("aes-128-gcm, aes-256-gcm, chacha20-poly1305 or aes-128-cbc".into()),
    };
    let limit = Duration::try_from_secs_f64(seconds.parse()?)?;
    let rates = Rates::measure(provider, suite, payload_len.parse()?, limit)?;
    writeln!(
        std::io::stdout(),
        "in place {:.0}, copied {:.0}, into {:.0}",
        rates.in_place,
        rates.copied,
        rates.into,
    )?;
    Ok(())
}

/// Nanoseconds per record.
struct Rates {
    in_place: f64,
    copied: f64,
    into: f64,
}

impl Rates {
    fn measure(
        provider: &str,
        suite: Suite,
        payload_len: usize,
        limit: Duration,
    ) -> Result<Self, ktls_record::Error> {
        let bytes = [7; 128];
        let keys = Keys::with_mac(
            suite,
            &bytes[..suite.key_len()],
            &bytes[..suite.iv_len()],
            &bytes[..suite.mac_key_len()],
        )?;
        let mut sealed = vec![0; suite.record_size(payload_len)];
        let frame = Frame {
            content_type: 23,
            sequence: 0,
            payload_len,
            padding_len: 0,
        };
        provider::sealer(provider, &keys, 0)?.seal_from(
            frame,
            &vec![0x5a; payload_len],
            &mut sealed,
        )?;
        let opener: Arc<dyn Open> = provider::opener(provider, &keys)?;
        let (mut record, mut out) = (sealed.clone(), sealed.clone());

        let renewing = nanoseconds(limit, || {
            record.copy_from_slice(black_box(&sealed));
            black_box(&mut record);
            Ok(())
        })?;
        let in_place = nanoseconds(limit, || {
            record.copy_from_slice(black_box(&sealed));
            opener.open_in_place(0, black_box(&mut record))?;
            Ok(())
        })?;
        let copied = nanoseconds(limit, || {
            record.copy_from_slice(black_box(&sealed));
            let opened = opener.open_in_place(0, black_box(&mut record))?;
            out[..payload_len].copy_from_slice(opened.payload);
            black_box(&mut out);
            Ok(())
        })?;
        let into = nanoseconds(limit, || {
            opener.open_into(0, black_box(&sealed), black_box(&mut out))?;
            Ok(())
        })?;
        Ok(Self {
            in_place: in_place - renewing,
            copied: copied - renewing,
            into,
        })
    }
}

/// The mean time of `work` within `limit`, after a batch that nobody counts.
fn nanoseconds(
    limit: Duration,
    mut work: impl FnMut() -> Result<(), ktls_record::Error>,
) -> Result<f64, ktls_record::Error> {
    let mut batch = || (0..BATCH).try_for_each(|_| work());
    batch()?;
    let start = Instant::now();
    let mut batches = 0_u32;
    while start.elapsed() < limit {
        batch()?;
        batches += 1;
    }
    let records = f64::from(batches.max(1)) * f64::from(BATCH);
    Ok(start.elapsed().as_secs_f64() * 1e9 / records)
}
