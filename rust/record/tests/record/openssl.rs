//! Records of OpenSSL, from the secret of the handshake to the last byte: its records open, and ours are the same.

use ktls_record::schedule::{Hash, key_block, traffic_keys};
use ktls_record::{Algorithm, Error, Frame, Keys, Suite, Version, explicit_nonce, provider};

use crate::sample::algorithm;
use crate::vector_file::{Case, cases};

fn check(case: &Case, keys: &Keys) -> Result<(), Error> {
    let number = |name| case.find(name).and_then(|text| text.parse().ok());
    let sequence: u64 = number("Sequence").expect("a number");
    let content_type = u8::try_from(number("Type").expect("a number")).expect("a byte");
    let (payload, record) = (case.bytes("Payload"), case.bytes("Record"));
    let explicit = explicit_nonce(keys.suite(), &record).unwrap_or(0);
    for name in provider::names() {
        let mut received = record.clone();
        let opener = provider::opener(name, keys)?;
        let opened = opener.open_in_place(sequence, &mut received)?;
        assert_eq!(
            (opened.content_type, &*opened.payload),
            (content_type, &*payload)
        );

        let frame = Frame {
            content_type,
            sequence,
            payload_len: payload.len(),
            padding_len: 0,
        };
        let mut sealed = vec![0; record.len()];
        let sealer = provider::sealer(name, keys, explicit.wrapping_sub(sequence))?;
        sealer.seal_from(frame, &payload, &mut sealed)?;
        assert_eq!(sealed, record, "{name} {:?}", keys.suite());
    }
    Ok(())
}

#[test]
fn tls12_records() -> Result<(), Error> {
    let cases = cases(include_str!("../data/openssl_tls12_records.txt"));
    assert_eq!(cases.len(), 18);
    for case in cases {
        let suite = Suite::new(Version::Tls12, algorithm(&case))?;
        let hash = match suite.algorithm() {
            Algorithm::Aes256Gcm => Hash::Sha384,
            _ => Hash::Sha256,
        };
        let random = |name| <[u8; 32]>::try_from(case.bytes(name)).expect("32 bytes");
        let (client, server) = (random("ClientRandom"), random("ServerRandom"));
        let block = key_block(suite, hash, &case.bytes("Master"), &client, &server)?;
        let keys = match case.find("Side") {
            Some("Client") => block.client_write,
            _ => block.server_write,
        };
        check(&case, &keys)?;
    }
    Ok(())
}

#[test]
fn tls13_records() -> Result<(), Error> {
    let cases = cases(include_str!("../data/openssl_tls13_records.txt"));
    assert_eq!(cases.len(), 12);
    for case in cases {
        let suite = Suite::new(Version::Tls13, algorithm(&case))?;
        check(&case, &traffic_keys(suite, &case.bytes("Secret"))?)?;
    }
    Ok(())
}

// rule: RFC 5288 3
#[test]
fn explicit_nonces_count_up_by_one() -> Result<(), Error> {
    let cases = cases(include_str!("../data/openssl_tls12_records.txt"));
    let mut pairs = 0;
    for pair in cases.windows(2) {
        let suite = Suite::new(Version::Tls12, algorithm(&pair[0]))?;
        let same_key = ["section", "Side"]
            .iter()
            .all(|name| pair[0].find(name) == pair[1].find(name));
        let [first, second] = [0, 1].map(|n| explicit_nonce(suite, &pair[n].bytes("Record")));
        if let (true, Some(first), Some(second)) = (same_key, first, second) {
            assert_eq!(second, first.wrapping_add(1));
            pairs += 1;
        }
    }
    assert_eq!(pairs, 8);
    Ok(())
}
