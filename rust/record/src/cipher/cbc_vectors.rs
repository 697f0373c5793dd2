//! Sealing with the IVs of published records, which the public interface does not take.

use crate::cipher::cbc::CbcSealer;
use crate::error::Error;
use crate::frame::Frame;
use crate::keys::Keys;
use crate::provider::rustcrypto::{HmacSha1, HmacSha256, HmacSha384, RecordMac};
use crate::provider::vector_file::cases;
use crate::suite::{Algorithm, Mac, MacOrder, Suite, Version};

fn written<M: RecordMac>(
    keys: &Keys,
    frame: Frame,
    payload: &[u8],
    iv: [u8; 16],
) -> Result<Vec<u8>, Error> {
    let suite = keys.suite();
    let mut record = vec![0xee; suite.record_size(payload.len())];
    if !suite.sequential() {
        record[5..21].copy_from_slice(&iv);
    }
    CbcSealer::<M>::new(keys)?.write(frame, Some(payload), &iv, &mut record);
    Ok(record)
}

#[test]
fn sealed_records_are_those_of_cryptography() -> Result<(), Error> {
    let mut compared = 0;
    for case in cases(include_str!("../../tests/data/cbc_records.txt")) {
        if case.find("ExtraBlocks") != Some("0") {
            continue;
        }
        let section = case.find("section").unwrap_or("");
        let (key, mac_key, record) = (
            case.bytes("Key"),
            case.bytes("MacKey"),
            case.bytes("Record"),
        );
        let version = Version::from_minor(record[2]).expect("a version");
        let algorithm = match key.len() {
            16 => Algorithm::Aes128Cbc,
            _ => Algorithm::Aes256Cbc,
        };
        let mac = match mac_key.len() {
            20 => Mac::HmacSha1,
            32 => Mac::HmacSha256,
            _ => Mac::HmacSha384,
        };
        let order = if section.ends_with("EtM") {
            MacOrder::EncryptThenMac
        } else {
            MacOrder::MacThenEncrypt
        };
        let suite = Suite::cbc(version, algorithm, mac, order)?;
        let iv = <[u8; 16]>::try_from(case.bytes("IV")).expect("16 bytes");
        let keys = Keys::with_mac(suite, &key, &iv[..suite.iv_len()], &mac_key)?;
        let payload = case.bytes("Payload");
        let sequence = case.find("Sequence").and_then(|text| text.parse().ok());
        let frame = Frame {
            content_type: record[0],
            sequence: sequence.expect("a number"),
            payload_len: payload.len(),
            padding_len: 0,
        };
        let sealed = match mac {
            Mac::HmacSha1 => written::<HmacSha1>(&keys, frame, &payload, iv)?,
            Mac::HmacSha256 => written::<HmacSha256>(&keys, frame, &payload, iv)?,
            Mac::HmacSha384 => written::<HmacSha384>(&keys, frame, &payload, iv)?,
        };
        assert_eq!(sealed, record, "{section}");
        compared += 1;
    }
    assert_eq!(compared, 100);
    Ok(())
}
