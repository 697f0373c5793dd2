//! AES-CBC records of others: `cryptography` with every shape of padding, and OpenSSL from the master secret on.

use std::sync::Arc;

use ktls_record::schedule::{Hash, key_block};
use ktls_record::{Algorithm, Error, Frame, Keys, Mac, MacOrder, Open, Suite, Version, provider};

use crate::vector_file::{Case, cases};

fn number(case: &Case, name: &str) -> u64 {
    let found = case.find(name).and_then(|text| text.parse().ok());
    found.unwrap_or_else(|| panic!("{name} is no number"))
}

fn content_type(case: &Case) -> u8 {
    u8::try_from(number(case, "Type")).expect("a byte")
}

/// The suite of a section such as "TLS 1.2 AES-128-CBC HMAC-SHA256 EtM".
fn suite_of(case: &Case) -> Result<Suite, Error> {
    let words: Vec<_> = case.find("section").unwrap_or("").split(' ').collect();
    let &["TLS", version, cipher, mac, order] = &words[..] else {
        panic!("cannot read section {words:?}");
    };
    let algorithm = match cipher {
        "AES-128-CBC" => Algorithm::Aes128Cbc,
        "AES-256-CBC" => Algorithm::Aes256Cbc,
        other => panic!("no such cipher: {other}"),
    };
    Suite::cbc(version_of(version), algorithm, mac_of(mac), order_of(order))
}

fn version_of(text: &str) -> Version {
    match text {
        "1.0" => Version::Tls10,
        "1.1" => Version::Tls11,
        "1.2" => Version::Tls12,
        other => panic!("no such version: {other}"),
    }
}

fn mac_of(text: &str) -> Mac {
    match text {
        "HMAC-SHA1" => Mac::HmacSha1,
        "HMAC-SHA256" => Mac::HmacSha256,
        "HMAC-SHA384" => Mac::HmacSha384,
        other => panic!("no such MAC: {other}"),
    }
}

fn order_of(text: &str) -> MacOrder {
    match text {
        "MtE" => MacOrder::MacThenEncrypt,
        "EtM" => MacOrder::EncryptThenMac,
        other => panic!("no such order: {other}"),
    }
}

#[test]
fn records_of_cryptography() -> Result<(), Error> {
    let cases = cases(include_str!("../data/cbc_records.txt"));
    assert_eq!(cases.len(), 160);
    let mut sealed_alike = 0;
    for case in cases {
        let suite = suite_of(&case)?;
        let (record, payload) = (case.bytes("Record"), case.bytes("Payload"));
        let implicit = &case.bytes("IV")[..suite.iv_len()];
        let keys = Keys::with_mac(suite, &case.bytes("Key"), implicit, &case.bytes("MacKey"))?;
        let sequence = number(&case, "Sequence");
        let mut received = record.clone();
        let opener = provider::opener("ring", &keys)?;
        let opened = opener.open_in_place(sequence, &mut received)?;
        assert_eq!(
            (opened.content_type, &*opened.payload),
            (content_type(&case), &*payload),
            "{suite:?}"
        );
        // With an IV of its own the sealer cannot repeat the others; src/cipher/cbc_vectors.rs does.
        if suite.sequential() && number(&case, "ExtraBlocks") == 0 {
            let frame = Frame {
                content_type: content_type(&case),
                sequence,
                payload_len: payload.len(),
                padding_len: 0,
            };
            let mut sealed = vec![0; record.len()];
            provider::sealer("ring", &keys, 0)?.seal_from(frame, &payload, &mut sealed)?;
            assert_eq!(sealed, record, "{suite:?}");
            sealed_alike += 1;
        }
    }
    assert_eq!(sealed_alike, 20);
    Ok(())
}

/// The suite and the PRF's hash of a section such as "1.2 ECDHE-RSA-AES128-SHA256 EtM".
fn openssl_suite(case: &Case) -> Result<(Suite, Hash), Error> {
    let words: Vec<_> = case.find("section").unwrap_or("").split(' ').collect();
    let &[version, cipher, order] = &words[..] else {
        panic!("cannot read section {words:?}");
    };
    let (algorithm, mac, hash) = match cipher {
        "ECDHE-RSA-AES128-SHA" => (Algorithm::Aes128Cbc, Mac::HmacSha1, Hash::Sha256),
        "ECDHE-RSA-AES256-SHA" => (Algorithm::Aes256Cbc, Mac::HmacSha1, Hash::Sha256),
        "ECDHE-RSA-AES128-SHA256" => (Algorithm::Aes128Cbc, Mac::HmacSha256, Hash::Sha256),
        "ECDHE-RSA-AES256-SHA384" => (Algorithm::Aes256Cbc, Mac::HmacSha384, Hash::Sha384),
        other => panic!("no such suite: {other}"),
    };
    let suite = Suite::cbc(version_of(version), algorithm, mac, order_of(order))?;
    Ok((suite, hash))
}

#[test]
fn records_of_openssl() -> Result<(), Error> {
    let cases = cases(include_str!("../data/openssl_cbc_records.txt"));
    assert_eq!(cases.len(), 118);
    let (mut opener, mut keys): (Option<Arc<dyn Open>>, _) = (None, None);
    let (mut connections, mut empty_fragments) = (0, 0);
    for case in cases {
        let (suite, hash) = openssl_suite(&case)?;
        let sequence = number(&case, "Sequence");
        if sequence == 0 {
            let random = |name| <[u8; 32]>::try_from(case.bytes(name)).expect("32 bytes");
            let (client, server) = (random("ClientRandom"), random("ServerRandom"));
            let block = key_block(suite, hash, &case.bytes("Master"), &client, &server)?;
            let own = match case.find("Side") {
                Some("Client") => block.client_write,
                _ => block.server_write,
            };
            opener = Some(provider::opener("ring", &own)?);
            keys = Some(own);
            connections += 1;
        }
        let (opener, keys) = (opener.as_ref().expect("keys"), keys.as_ref().expect("keys"));
        let record = case.bytes("Record");
        let chained = opener.chained_iv();
        let mut received = record.clone();
        let opened = opener.open_in_place(sequence, &mut received)?;
        assert_eq!(opened.content_type, content_type(&case));
        let payload = opened.payload.to_vec();
        match case.find("Payload") {
            Some(_) => assert_eq!(payload, case.bytes("Payload"), "{suite:?}"),
            // Finished (RFC 5246 §7.4.9).
            None => assert_eq!((payload.len(), &payload[..4]), (16, &[20, 0, 0, 12][..])),
        }
        empty_fragments += u32::from(payload.is_empty());
        if let Some(iv) = chained {
            let frame = Frame {
                content_type: content_type(&case),
                sequence,
                payload_len: payload.len(),
                padding_len: 0,
            };
            let mut sealed = vec![0; record.len()];
            let sealer = provider::sealer("ring", &keys.with_iv(&iv)?, 0)?;
            sealer.seal_from(frame, &payload, &mut sealed)?;
            assert_eq!(sealed, record, "{suite:?}");
        }
    }
    assert_eq!((connections, empty_fragments), (34, 16));
    Ok(())
}
