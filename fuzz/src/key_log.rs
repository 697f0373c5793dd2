//! Lines of a key log, which anybody may have written to.

use core::fmt::Write;

use ktls_record::keylog;

/// Any bytes as a line: what is accepted reads back the same from a line written anew, and is not shown.
pub fn key_log(line: &[u8]) {
    let Some(read) = keylog::parse(line) else {
        return;
    };
    assert!((1..=128).contains(&read.secret.len()));
    assert!(!read.label.is_empty() && read.label.is_ascii());
    let written = format!(
        "{} {} {}",
        read.label,
        hex(&read.client_random),
        hex(&read.secret)
    );
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    assert!(text.eq_ignore_ascii_case(written.as_bytes()));
    for ending in ["", "\n", "\r\n"] {
        let again = keylog::parse(format!("{written}{ending}").as_bytes());
        let again = again.expect("a line of the same content");
        assert_eq!(again.label, read.label);
        assert_eq!(again.client_random, read.client_random);
        assert_eq!(*again.secret, *read.secret);
    }
    // A short secret may be part of the label's text by chance.
    if read.secret.len() >= 8 {
        let shown = format!("{read:?}").to_ascii_lowercase();
        let label = read.label.to_ascii_lowercase();
        assert!(label.contains(&hex(&read.secret)) || !shown.contains(&hex(&read.secret)));
    }
    assert!(keylog::parse(&[text, b" 00"].concat()).is_none());
    assert!(keylog::parse(&[text, b"0"].concat()).is_none());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
