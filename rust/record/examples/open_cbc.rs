//! AES-CBC records with chosen padding and defects, opened where a profiler can count: the program of
//! `tests/keys/test_constant_time.py`.
//!
//! ```sh
//! cargo build --release -p ktls-record --example open_cbc
//! valgrind --tool=callgrind --toggle-collect=open_cbc::counted target/release/examples/open_cbc \
//!     mac-then-encrypt sha256 512 0 15 255 255:mac 15:padding 15:length
//! ```
//! Each record is made outside [`counted`], of `TEXT_LEN` encrypted bytes whatever its padding, and opened in it once.
//! Prints `PADDING[:DEFECT] opened` or `refused` for each.

use std::env;
use std::error::Error;
use std::io::Write;

use aes::cipher::{Array, BlockModeEncrypt, KeyIvInit};
use hmac::{Hmac, KeyInit};
use ktls_record::{Algorithm, Keys, Mac, MacOrder, Open, Suite, Version, provider};
use sha1::Sha1;
use sha2::{Sha256, Sha384};

type Result<T> = core::result::Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: open_cbc mac-then-encrypt|encrypt-then-mac sha1|sha256|sha384 TEXT_LEN \
    PADDING[:first|last|length|mac|payload]...";
const SEQUENCE: u64 = 4;
const KEY: [u8; 16] = [7; 16];
const IV: [u8; 16] = [9; 16];

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [order, mac, text_len, cases @ ..] = arguments.as_slice() else {
        return Err(USAGE.into());
    };
    let text_len = text_len.parse()?;
    let order = match order.as_str() {
        "mac-then-encrypt" => MacOrder::MacThenEncrypt,
        "encrypt-then-mac" => MacOrder::EncryptThenMac,
        _ => return Err(USAGE.into()),
    };
    let mac = match mac.as_str() {
        "sha1" => Mac::HmacSha1,
        "sha256" => Mac::HmacSha256,
        "sha384" => Mac::HmacSha384,
        _ => return Err(USAGE.into()),
    };
    let suite = Suite::cbc(Version::Tls12, Algorithm::Aes128Cbc, mac, order)?;
    let mac_key: Vec<u8> = (0..48).take(suite.mac_key_len()).collect();
    let opener = provider::opener("ring", &Keys::with_mac(suite, &KEY, &[], &mac_key)?)?;

    // Processor features are looked for once, and functions bound when they are first called.
    for warming in ["0", "0:mac"] {
        let mut record = Case::parse(warming)?.record(suite, &mac_key, text_len)?;
        let _ = opener.open_in_place(SEQUENCE, &mut record);
    }
    for case in cases {
        let mut record = Case::parse(case)?.record(suite, &mac_key, text_len)?;
        let opened = counted(opener.as_ref(), &mut record);
        let answer = if opened { "opened" } else { "refused" };
        writeln!(std::io::stdout(), "{case} {answer}")?;
    }
    Ok(())
}

/// What is counted.
#[inline(never)]
fn counted(opener: &dyn Open, record: &mut [u8]) -> bool {
    opener.open_in_place(SEQUENCE, record).is_ok()
}

/// What is to be opened.
struct Case {
    /// The value of the padding bytes, one less than their number (RFC 5246 §6.2.3.2).
    padding: u8,
    defect: Defect,
}

/// What is wrong with a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Defect {
    None,
    /// The padding byte farthest from the end is another.
    First,
    /// The padding byte before the last is another.
    Last,
    /// The last byte claims more padding than the record has room for.
    Length,
    /// A bit of the MAC is another.
    Mac,
    /// The last bit before the MAC is another.
    Payload,
}

impl Case {
    fn parse(text: &str) -> Result<Self> {
        let (padding, defect) = text.split_once(':').unwrap_or((text, ""));
        let defect = match defect {
            "" => Defect::None,
            "first" => Defect::First,
            "last" => Defect::Last,
            "length" => Defect::Length,
            "mac" => Defect::Mac,
            "payload" => Defect::Payload,
            _ => return Err(USAGE.into()),
        };
        let padding = padding.parse()?;
        Ok(Self { padding, defect })
    }

    /// The whole record, made without the crate that opens it.
    fn record(&self, suite: Suite, mac_key: &[u8], text_len: usize) -> Result<Vec<u8>> {
        let encrypts_then_macs = suite.mac_order() == Some(MacOrder::EncryptThenMac);
        let mac_len = suite.mac_key_len();
        let inside = if encrypts_then_macs { 0 } else { mac_len };
        let padding = vec![self.padding; usize::from(self.padding) + 1];
        let payload_len = text_len
            .checked_sub(inside + padding.len())
            .ok_or("the padding does not fit")?;
        let payload: Vec<u8> = (0..=250).cycle().take(payload_len).collect();
        let mut text = payload.clone();
        if !encrypts_then_macs {
            text.extend(mac_of(suite, mac_key, &[&prefix(payload_len)?, &payload])?);
        }
        text.extend(&padding);
        let at = match self.defect {
            Defect::First => Some(text_len - padding.len()),
            Defect::Last => Some(text_len.saturating_sub(2)),
            Defect::Mac if !encrypts_then_macs => Some(payload_len + mac_len / 2),
            Defect::Payload => Some(payload_len.checked_sub(1).ok_or("there is no payload")?),
            _ => None,
        };
        if let Some(byte) = at.and_then(|at| text.get_mut(at)) {
            *byte ^= 0x80;
        }
        if let (Defect::Length, Some(last)) = (self.defect, text.last_mut()) {
            *last = 255;
        }
        let (blocks, _) = Array::slice_as_chunks_mut(&mut text);
        cbc::Encryptor::<aes::Aes128>::new(&KEY.into(), &IV.into()).encrypt_blocks(blocks);

        let mut body = [&IV[..], &text].concat();
        if encrypts_then_macs {
            let mut tag = mac_of(suite, mac_key, &[&prefix(body.len())?, &body])?;
            if self.defect == Defect::Mac {
                tag[mac_len / 2] ^= 0x80;
            }
            body.extend(tag);
        }
        let length = u16::try_from(body.len())?.to_be_bytes();
        Ok([&[23, 3, 3][..], &length, &body].concat())
    }
}

/// What the MAC covers before payload or encrypted text (RFC 5246 §6.2.3.1).
fn prefix(len: usize) -> Result<Vec<u8>> {
    let len = u16::try_from(len)?.to_be_bytes();
    Ok([&SEQUENCE.to_be_bytes()[..], &[23, 3, 3], &len].concat())
}

fn mac_of(suite: Suite, key: &[u8], parts: &[&[u8]]) -> Result<Vec<u8>> {
    fn with<M: hmac::Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Result<Vec<u8>> {
        let mut mac = M::new_from_slice(key)?;
        parts.iter().for_each(|part| mac.update(part));
        Ok(mac.finalize().into_bytes().to_vec())
    }
    match suite.mac() {
        Some(Mac::HmacSha1) => with::<Hmac<Sha1>>(key, parts),
        Some(Mac::HmacSha256) => with::<Hmac<Sha256>>(key, parts),
        _ => with::<Hmac<Sha384>>(key, parts),
    }
}
