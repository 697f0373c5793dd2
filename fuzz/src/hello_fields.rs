//! Hellos put together from fields: the readers must find the fields again, by the rules written down here anew.

use arbitrary::{Arbitrary, Unstructured};
use ktls_record::handshake::{ClientHello, ServerHello};

/// A hello of either side before it is bytes.
#[derive(Arbitrary, Debug)]
struct Fields {
    from_server: bool,
    version: [u8; 2],
    random: [u8; 32],
    session_id: Vec<u8>,
    suites: Vec<u8>,
    compression: Vec<u8>,
    extensions: Option<Vec<(Kind, Vec<u8>)>>,
}

/// Extensions that mean something to the readers, and others.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Kind {
    FragmentLen,
    EncryptThenMac,
    RecordSizeLimit,
    SupportedVersions,
    Other(u16),
}

impl Kind {
    const fn number(self) -> u16 {
        match self {
            Self::FragmentLen => 1,
            Self::EncryptThenMac => 22,
            Self::RecordSizeLimit => 28,
            Self::SupportedVersions => 43,
            Self::Other(number) => number,
        }
    }
}

/// What a reader should find.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    random: [u8; 32],
    suite: u16,
    compression: u8,
    vminor: u8,
    encrypt_then_mac: bool,
    fragment_len: Option<u16>,
    size_limit: Option<u16>,
}

/// A message built from fields is read as the fields say, or refused where they say so.
pub fn hello_fields(data: &[u8]) {
    let Ok(mut fields) = Fields::arbitrary(&mut Unstructured::new(data)) else {
        return;
    };
    fields.session_id.truncate(255);
    fields.suites.truncate(2000);
    fields.compression.truncate(255);
    if let Some(extensions) = &mut fields.extensions {
        extensions.truncate(20);
        for (_, content) in extensions {
            content.truncate(1000);
        }
    }
    let message = encode(&fields);
    if fields.from_server {
        let found = ServerHello::parse(&message).ok().map(|hello| Found {
            random: hello.random,
            suite: hello.cipher_suite,
            compression: hello.compression_method,
            vminor: hello.tls_vminor,
            encrypt_then_mac: hello.encrypt_then_mac,
            fragment_len: hello.max_fragment_len,
            size_limit: None,
        });
        assert_eq!(found, server_should_find(&fields));
    } else {
        let found = ClientHello::parse(&message).ok().map(|hello| Found {
            random: hello.random,
            fragment_len: hello.max_fragment_len,
            size_limit: hello.record_size_limit,
            ..Found::default()
        });
        assert_eq!(found, client_should_find(&fields));
    }
}

fn encode(fields: &Fields) -> Vec<u8> {
    let mut body = fields.version.to_vec();
    body.extend_from_slice(&fields.random);
    vector8(&mut body, &fields.session_id);
    if fields.from_server {
        body.extend_from_slice(&chosen_suite(fields).to_be_bytes());
        body.push(chosen_compression(fields));
    } else {
        vector16(&mut body, &fields.suites);
        vector8(&mut body, &fields.compression);
    }
    if let Some(extensions) = &fields.extensions {
        let mut all = Vec::new();
        for (kind, content) in extensions {
            all.extend_from_slice(&kind.number().to_be_bytes());
            vector16(&mut all, content);
        }
        vector16(&mut body, &all);
    }
    let mut message = u32::try_from(body.len()).unwrap_or(0).to_be_bytes();
    message[0] = if fields.from_server { 2 } else { 1 };
    [message.to_vec(), body].concat()
}

fn vector8(out: &mut Vec<u8>, content: &[u8]) {
    out.push(u8::try_from(content.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(content);
}

fn vector16(out: &mut Vec<u8>, content: &[u8]) {
    out.extend_from_slice(
        &u16::try_from(content.len())
            .unwrap_or(u16::MAX)
            .to_be_bytes(),
    );
    out.extend_from_slice(content);
}

fn chosen_suite(fields: &Fields) -> u16 {
    fields
        .suites
        .first_chunk()
        .map_or(0, |two| u16::from_be_bytes(*two))
}

fn chosen_compression(fields: &Fields) -> u8 {
    fields.compression.first().copied().unwrap_or(0)
}

fn client_should_find(fields: &Fields) -> Option<Found> {
    let mut found = Found {
        random: fields.random,
        ..Found::default()
    };
    for (kind, content) in fields.extensions.iter().flatten() {
        match kind.number() {
            1 => found.fragment_len = fragment_len(content)?,
            28 => found.size_limit = Some(u16::from_be_bytes(*content.first_chunk()?)),
            _ => {}
        }
    }
    Some(found)
}

fn server_should_find(fields: &Fields) -> Option<Found> {
    let mut found = Found {
        random: fields.random,
        suite: chosen_suite(fields),
        compression: chosen_compression(fields),
        vminor: vminor(&fields.version)?,
        ..Found::default()
    };
    for (kind, content) in fields.extensions.iter().flatten() {
        match kind.number() {
            1 => found.fragment_len = fragment_len(content)?,
            22 => found.encrypt_then_mac = true,
            43 => found.vminor = vminor(content)?,
            _ => {}
        }
    }
    Some(found)
}

fn vminor(version: &[u8]) -> Option<u8> {
    match *version.first_chunk()? {
        [3, minor] if (1..=4).contains(&minor) => Some(minor),
        _ => None,
    }
}

fn fragment_len(content: &[u8]) -> Option<Option<u16>> {
    Some(match content.first()? {
        1 => Some(512),
        2 => Some(1024),
        3 => Some(2048),
        4 => Some(4096),
        _ => None,
    })
}
