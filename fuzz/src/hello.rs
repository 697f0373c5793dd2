//! Hellos as the peer's bytes: whatever they are, the readers answer, and what they accept they have read right.

use ktls_record::handshake::{ClientHello, ServerHello};

/// Where the random lies: after the message header and the version.
const RANDOM: core::ops::Range<usize> = 6..38;

/// Any bytes as a ClientHello.
pub fn client_hello(message: &[u8]) {
    let Ok(hello) = ClientHello::parse(message) else {
        return;
    };
    assert_eq!(message[0], 1);
    assert_eq!(hello.random, message[RANDOM]);
    check_fragment_len(hello.max_fragment_len);
    check_whole(message, |bytes| ClientHello::parse(bytes).is_ok());
}

/// Any bytes as a ServerHello.
pub fn server_hello(message: &[u8]) {
    let Ok(hello) = ServerHello::parse(message) else {
        return;
    };
    assert_eq!(message[0], 2);
    assert_eq!(hello.random, message[RANDOM]);
    assert!((1..=4).contains(&hello.tls_vminor));
    check_fragment_len(hello.max_fragment_len);
    check_whole(message, |bytes| ServerHello::parse(bytes).is_ok());
}

/// RFC 6066 §4 knows four lengths.
fn check_fragment_len(len: Option<u16>) {
    assert!(matches!(len, None | Some(512 | 1024 | 2048 | 4096)));
}

/// A message that is accepted is refused when it is longer or shorter.
fn check_whole(message: &[u8], accepted: impl Fn(&[u8]) -> bool) {
    let mut longer = message.to_vec();
    longer.push(0);
    assert!(!accepted(&longer), "a byte too many");
    for end in [0, 3, message.len() / 2, message.len() - 1] {
        assert!(!accepted(&message[..end]), "cut at {end}");
    }
}
