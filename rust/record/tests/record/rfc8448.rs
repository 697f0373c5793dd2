//! The trace of RFC 8448 §3: keys from secrets, and its records in both directions.

use ktls_record::handshake::ServerHello;
use ktls_record::schedule::{hkdf_expand_label, traffic_keys};
use ktls_record::{Algorithm, Error, Frame, Suite, Version, provider};

use crate::vector_file::{Case, cases};

const FILE: &str = include_str!("../data/rfc8448.txt");

fn suite() -> Result<Suite, Error> {
    Suite::new(Version::Tls13, Algorithm::Aes128Gcm)
}

fn with(name: &str) -> Vec<Case> {
    cases(FILE)
        .into_iter()
        .filter(|case| case.find(name).is_some())
        .collect()
}

// rule: RFC 8446 7.3
#[test]
fn traffic_keys_of_every_secret() -> Result<(), Error> {
    let cases = with("Secret");
    assert_eq!(cases.len(), 6);
    for case in cases {
        let keys = traffic_keys(suite()?, &case.bytes("Secret"))?;
        assert_eq!(keys.key(), case.bytes("Key"));
        assert_eq!(keys.iv(), case.bytes("IV"));
    }
    Ok(())
}

#[test]
fn finished_key() -> Result<(), Error> {
    let cases = with("Finished");
    assert_eq!(cases.len(), 1);
    let mut key = [0; 32];
    hkdf_expand_label(&cases[0].bytes("Secret"), "finished", b"", &mut key)?;
    assert_eq!(key, *cases[0].bytes("Finished"));
    Ok(())
}

// rule: RFC 8446 5.2, RFC 8446 5.3
#[test]
fn records() -> Result<(), Error> {
    let cases = with("Record");
    assert_eq!(cases.len(), 5);
    for case in cases {
        let number = |name| case.find(name).and_then(|text| text.parse().ok());
        let sequence: u64 = number("Sequence").expect("a number");
        let content_type = u8::try_from(number("Type").expect("a number")).expect("a byte");
        let (payload, expected) = (case.bytes("Payload"), case.bytes("Record"));
        let keys = traffic_keys(suite()?, &case.bytes("Secret"))?;
        for name in provider::names() {
            let frame = Frame {
                content_type,
                sequence,
                payload_len: payload.len(),
                padding_len: 0,
            };
            let mut record = vec![0; expected.len()];
            provider::sealer(name, &keys, 0)?.seal_from(frame, &payload, &mut record)?;
            assert_eq!(record, expected);

            let opener = provider::opener(name, &keys)?;
            let opened = opener.open_in_place(sequence, &mut record)?;
            assert_eq!(
                (opened.content_type, &*opened.payload),
                (content_type, &*payload)
            );
        }
    }
    Ok(())
}

#[test]
fn server_hello() -> Result<(), Error> {
    let cases = with("Message");
    assert_eq!(cases.len(), 1);
    let hello = ServerHello::parse(&cases[0].bytes("Message"))?;
    assert_eq!(hello.random, *cases[0].bytes("Random"));
    assert_eq!((hello.tls_vminor, hello.cipher_suite), (4, 0x1301));
    assert!(!hello.is_hello_retry_request);
    Ok(())
}
