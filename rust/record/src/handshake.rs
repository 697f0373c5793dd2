//! What the record layer must know of the two hellos: randoms, version, suite, and the extensions that change records.
//!
//! Reads messages, as they are after reassembly, with their 4-byte header. It makes no handshake and judges no offer;
//! it never panics, whatever the bytes are, and accepts what it has no reason to refuse.

use crate::error::Error;

/// What a ClientHello says about records (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    /// The client random.
    pub random: [u8; 32],
    /// The largest payload the client asks for, in bytes (`max_fragment_length`, RFC 6066 §4).
    pub max_fragment_len: Option<u16>,
    /// The largest record the client takes, in bytes (`record_size_limit`, RFC 8449 §4).
    pub record_size_limit: Option<u16>,
    /// Whether the client can be asked for a certificate later (`post_handshake_auth`, RFC 8446 §4.2.6).
    pub offers_post_handshake_auth: bool,
}

impl ClientHello {
    /// Read a whole ClientHello message.
    ///
    /// # Errors
    /// [`Error::Truncated`] or [`Error::Malformed`] when the bytes are not exactly one such message.
    pub fn parse(message: &[u8]) -> Result<Self, Error> {
        let mut body = Reader::message("ClientHello", message_type::CLIENT_HELLO, message)?;
        body.bytes(2, "version")?;
        let random = *body.array::<32>("random")?;
        body.vector8("session id")?;
        body.vector16("cipher suites")?;
        body.vector8("compression methods")?;
        let mut hello = Self {
            random,
            max_fragment_len: None,
            record_size_limit: None,
            offers_post_handshake_auth: false,
        };
        body.extensions(|kind, data| {
            match kind {
                extension::MAX_FRAGMENT_LENGTH => hello.max_fragment_len = data.fragment_len()?,
                extension::RECORD_SIZE_LIMIT => {
                    hello.record_size_limit = Some(data.u16("record_size_limit")?);
                }
                extension::POST_HANDSHAKE_AUTH => hello.offers_post_handshake_auth = true,
                _ => {}
            }
            Ok(())
        })?;
        Ok(hello)
    }
}

/// What a ServerHello says about records (RFC 8446 §4.1.3, RFC 5246 §7.4.1.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHello {
    /// The server random.
    pub random: [u8; 32],
    /// Whether this is a HelloRetryRequest, told by its random (RFC 8446 §4.1.3).
    pub is_hello_retry_request: bool,
    /// The cipher suite by its 16-bit number.
    pub cipher_suite: u16,
    /// The compression method; anything but 0 means records that this crate cannot read.
    pub compression_method: u8,
    /// The second byte of the negotiated version, from `supported_versions` where present (RFC 8446 §4.2.1).
    pub tls_vminor: u8,
    /// Whether `encrypt_then_mac` was negotiated (RFC 7366).
    pub encrypt_then_mac: bool,
    /// The largest payload agreed, in bytes (`max_fragment_length`, RFC 6066 §4).
    pub max_fragment_len: Option<u16>,
}

impl ServerHello {
    /// Read a whole ServerHello message.
    ///
    /// # Errors
    /// [`Error::Truncated`] or [`Error::Malformed`] when the bytes are not exactly one such message, or the
    /// version is none of TLS 1.0 to 1.3.
    pub fn parse(message: &[u8]) -> Result<Self, Error> {
        let mut body = Reader::message("ServerHello", message_type::SERVER_HELLO, message)?;
        let legacy = body.minor()?;
        let random = *body.array::<32>("random")?;
        body.vector8("session id")?;
        let cipher_suite = body.u16("cipher suite")?;
        let [compression_method] = *body.array("compression method")?;
        let mut hello = Self {
            random,
            is_hello_retry_request: random == RETRY_RANDOM,
            cipher_suite,
            compression_method,
            tls_vminor: legacy,
            encrypt_then_mac: false,
            max_fragment_len: None,
        };
        body.extensions(|kind, data| {
            match kind {
                extension::MAX_FRAGMENT_LENGTH => hello.max_fragment_len = data.fragment_len()?,
                extension::ENCRYPT_THEN_MAC => hello.encrypt_then_mac = true,
                extension::SUPPORTED_VERSIONS => hello.tls_vminor = data.minor()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(hello)
    }
}

/// The random of a HelloRetryRequest: SHA-256 of "HelloRetryRequest" (RFC 8446 §4.1.3).
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

mod message_type {
    pub(super) const CLIENT_HELLO: u8 = 1;
    pub(super) const SERVER_HELLO: u8 = 2;
}

mod extension {
    pub(super) const MAX_FRAGMENT_LENGTH: u16 = 1;
    pub(super) const ENCRYPT_THEN_MAC: u16 = 22;
    pub(super) const RECORD_SIZE_LIMIT: u16 = 28;
    pub(super) const SUPPORTED_VERSIONS: u16 = 43;
    pub(super) const POST_HANDSHAKE_AUTH: u16 = 49;
}

/// Takes fields off the front of a message; every step is checked against what is left.
struct Reader<'m> {
    message: &'static str,
    rest: &'m [u8],
}

impl<'m> Reader<'m> {
    /// The body of a handshake message of type `kind`, which must be all there is.
    fn message(message: &'static str, kind: u8, bytes: &'m [u8]) -> Result<Self, Error> {
        let mut reader = Self {
            message,
            rest: bytes,
        };
        let [found, high, mid, low] = *reader.array("header")?;
        if found != kind {
            return Err(reader.malformed("it has another message type"));
        }
        let [high, mid, low] = [high, mid, low].map(usize::from);
        if reader.rest.len() != high << 16 | mid << 8 | low {
            return Err(reader.malformed("its length field is not the length of the rest"));
        }
        Ok(reader)
    }

    fn malformed(&self, reason: &'static str) -> Error {
        Error::Malformed {
            message: self.message,
            reason,
        }
    }

    fn bytes(&mut self, len: usize, field: &'static str) -> Result<&'m [u8], Error> {
        let Some((bytes, rest)) = self.rest.split_at_checked(len) else {
            return Err(Error::Truncated {
                message: self.message,
                field,
            });
        };
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<&'m [u8; N], Error> {
        let Some((array, rest)) = self.rest.split_first_chunk() else {
            return Err(Error::Truncated {
                message: self.message,
                field,
            });
        };
        self.rest = rest;
        Ok(array)
    }

    fn u16(&mut self, field: &'static str) -> Result<u16, Error> {
        Ok(u16::from_be_bytes(*self.array(field)?))
    }

    fn vector8(&mut self, field: &'static str) -> Result<&'m [u8], Error> {
        let [len] = *self.array(field)?;
        self.bytes(usize::from(len), field)
    }

    fn vector16(&mut self, field: &'static str) -> Result<&'m [u8], Error> {
        let len = self.u16(field)?;
        self.bytes(usize::from(len), field)
    }

    /// A version, by its second byte.
    fn minor(&mut self) -> Result<u8, Error> {
        match *self.array("version")? {
            [3, minor @ 1..=4] => Ok(minor),
            _ => Err(self.malformed("its version is none of TLS 1.0 to 1.3")),
        }
    }

    /// The code of `max_fragment_length` in bytes; codes that RFC 6066 does not define mean nothing.
    fn fragment_len(&mut self) -> Result<Option<u16>, Error> {
        let [code] = *self.array("max_fragment_length")?;
        Ok(match code {
            1..=4 => Some(0x100 << code),
            _ => None,
        })
    }

    /// Call `each` with type and data of every extension; a message may end without any.
    fn extensions(
        &mut self,
        mut each: impl FnMut(u16, &mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.rest.is_empty() {
            return Ok(());
        }
        let mut all = Reader {
            message: self.message,
            rest: self.vector16("extensions")?,
        };
        if !self.rest.is_empty() {
            return Err(self.malformed("something follows its extensions"));
        }
        while !all.rest.is_empty() {
            let kind = all.u16("extension type")?;
            let data = all.vector16("extension data")?;
            each(
                kind,
                &mut Reader {
                    message: self.message,
                    rest: data,
                },
            )?;
        }
        Ok(())
    }
}
