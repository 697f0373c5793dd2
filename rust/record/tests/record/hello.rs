//! Hellos of a real library, hellos made by hand, and bytes that are no hello.

use ktls_record::Error;
use ktls_record::handshake::{ClientHello, ServerHello};

use crate::vector_file::{Case, cases};

fn recorded(section: &str) -> Vec<Case> {
    let all = cases(include_str!("../data/hellos.txt")).into_iter();
    all.filter(|case| case.find("section") == Some(section))
        .collect()
}

/// A message of type `kind` around `body`.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [.., high, mid, low] = body.len().to_be_bytes();
    [&[kind, high, mid, low], body].concat()
}

fn extensions(list: &[(u16, &[u8])]) -> Vec<u8> {
    let two = |len: usize| u16::try_from(len).expect("short").to_be_bytes();
    let each = list
        .iter()
        .map(|(kind, data)| [&kind.to_be_bytes()[..], &two(data.len()), data].concat());
    let all = each.collect::<Vec<_>>().concat();
    [&two(all.len())[..], &all].concat()
}

fn client_hello(list: &[(u16, &[u8])]) -> Vec<u8> {
    let fixed = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 0x01], &[1, 0]].concat();
    message(1, &[fixed, extensions(list)].concat())
}

fn server_hello(list: &[(u16, &[u8])]) -> Vec<u8> {
    let fixed = [&[3, 3][..], &[8; 32], &[0], &[0xc0, 0x2f], &[0]].concat();
    message(2, &[fixed, extensions(list)].concat())
}

#[test]
fn recorded_client_hellos() -> Result<(), Error> {
    let cases = recorded("client hello");
    assert_eq!(cases.len(), 2);
    for case in cases {
        let hello = ClientHello::parse(&case.bytes("Message"))?;
        assert_eq!(hello.random, *case.bytes("Random"));
        assert_eq!(
            (hello.max_fragment_len, hello.record_size_limit),
            (None, None)
        );
    }
    Ok(())
}

#[test]
fn recorded_server_hellos() -> Result<(), Error> {
    let cases = recorded("server hello");
    assert_eq!(cases.len(), 4);
    for case in cases {
        let hello = ServerHello::parse(&case.bytes("Message"))?;
        assert_eq!(hello.random, *case.bytes("Random"));
        assert_eq!(hello.cipher_suite.to_be_bytes(), *case.bytes("Suite"));
        assert_eq!([hello.tls_vminor], *case.bytes("Minor"));
        assert_eq!(
            [u8::from(hello.is_hello_retry_request)],
            *case.bytes("Retry")
        );
        assert_eq!([u8::from(hello.encrypt_then_mac)], *case.bytes("EtM"));
        assert_eq!(
            (hello.compression_method, hello.max_fragment_len),
            (0, None)
        );
    }
    Ok(())
}

// rule: RFC 6066 4, RFC 8449 4
#[test]
fn extensions_that_bound_records() -> Result<(), Error> {
    for (code, expected) in [
        (0, None),
        (1, Some(512)),
        (2, Some(1024)),
        (3, Some(2048)),
        (4, Some(4096)),
        (5, None),
    ] {
        let list: &[(u16, &[u8])] = &[(0, b"name"), (1, &[code]), (28, &[0x40, 0x01])];
        let hello = ClientHello::parse(&client_hello(list))?;
        assert_eq!(
            (hello.max_fragment_len, hello.record_size_limit),
            (expected, Some(0x4001))
        );
        let hello = ServerHello::parse(&server_hello(list))?;
        assert_eq!(hello.max_fragment_len, expected);
    }
    Ok(())
}

#[test]
fn offer_of_post_handshake_authentication() -> Result<(), Error> {
    assert!(!ClientHello::parse(&client_hello(&[(0, b"name")]))?.offers_post_handshake_auth);
    assert!(ClientHello::parse(&client_hello(&[(49, b"")]))?.offers_post_handshake_auth);
    Ok(())
}

// rule: RFC 8446 4.2.1
#[test]
fn versions_of_a_server_hello() -> Result<(), Error> {
    assert_eq!(ServerHello::parse(&server_hello(&[]))?.tls_vminor, 3);
    assert_eq!(
        ServerHello::parse(&server_hello(&[(43, &[3, 4])]))?.tls_vminor,
        4
    );
    for wrong in [[3, 0], [3, 5], [2, 3], [0xfe, 0xfd]] {
        let error = ServerHello::parse(&server_hello(&[(43, &wrong)])).expect_err("no version");
        assert!(
            matches!(
                error,
                Error::Malformed {
                    message: "ServerHello",
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(error.alert(), Some(50));
    }
    Ok(())
}

#[test]
fn a_message_may_end_without_extensions() -> Result<(), Error> {
    let with = client_hello(&[]);
    let bare = message(1, &with[4..with.len() - 2]);
    assert_eq!(ClientHello::parse(&bare)?, ClientHello::parse(&with)?);
    Ok(())
}

#[test]
fn other_messages_and_wrong_lengths_are_refused() {
    let good = client_hello(&[]);
    let mut longer = good.clone();
    longer.push(0);
    let mut trailing = good[4..].to_vec();
    trailing.push(0);
    for wrong in [
        longer,
        message(1, &trailing),
        server_hello(&[]),
        message(1, b""),
        vec![],
    ] {
        let error = ClientHello::parse(&wrong).expect_err("no ClientHello");
        assert!(error.to_string().contains("ClientHello"), "{error}");
    }
    assert!(ServerHello::parse(&good).is_err());
}

#[test]
fn every_cut_is_refused_and_names_the_field() {
    for section in ["client hello", "server hello"] {
        for case in recorded(section) {
            let whole = case.bytes("Message");
            let parse = |message: &[u8]| match section {
                "client hello" => ClientHello::parse(message).map(|_| ()),
                _ => ServerHello::parse(message).map(|_| ()),
            };
            assert_eq!(parse(&whole), Ok(()));
            // Where the extensions begin a shorter message is whole again.
            let mut whole_again = 0;
            for len in 0..whole.len() {
                assert!(parse(&whole[..len]).is_err());
                let cut = message(whole[0], &whole[4..len.max(4)]);
                match parse(&cut) {
                    Ok(()) => whole_again += 1,
                    Err(error) => assert!(matches!(error, Error::Truncated { .. }), "{error}"),
                }
            }
            assert_eq!(whole_again, 1);
        }
    }
}

#[test]
fn no_change_makes_it_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let all = recorded("client hello")
        .into_iter()
        .chain(recorded("server hello"));
    for case in all {
        let whole = case.bytes("Message");
        for at in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff, whole[at] ^ 1] {
                let mut changed = whole.clone();
                changed[at] = byte;
                parse_both(&changed);
            }
        }
        for _ in 0..2000 {
            let mut changed = whole.clone();
            for _ in 0..4 {
                let [low, mid, high, byte, ..] = random().to_le_bytes();
                let at = usize::from(u16::from_le_bytes([low, mid]) ^ u16::from(high));
                let at = at % changed.len();
                changed[at] = byte;
            }
            parse_both(&changed);
        }
    }
}

fn parse_both(bytes: &[u8]) {
    for kind in [1, 2] {
        let mut bytes = bytes.to_vec();
        bytes[0] = kind;
        if let Ok(hello) = ClientHello::parse(&bytes) {
            assert_eq!(hello.random, bytes[6..38]);
        }
        if let Ok(hello) = ServerHello::parse(&bytes) {
            assert!((1..=4).contains(&hello.tls_vminor));
        }
    }
}
