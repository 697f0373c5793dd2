//! What goes wrong while receiving, as the exceptions of `ssl`, with their `library` and `reason`.
//!
//! Alerts have OpenSSL's names, since programs compare `reason` with them.

use ktls_engine::Error;
use ktls_record::alert;
use pyo3::prelude::*;

use crate::errors::{SSLError, os_error};

pyo3::import_exception!(ssl, SSLEOFError);
pyo3::import_exception!(ssl, SSLWantReadError);
pyo3::import_exception!(ktls.errors, WantReadError);

/// `ssl.SSL_ERROR_SSL`, `SSL_ERROR_WANT_READ` and `SSL_ERROR_EOF`.
const ERROR_SSL: i32 = 1;
const ERROR_WANT_READ: i32 = 2;
const ERROR_EOF: i32 = 8;

/// The exception for a cause.
pub(crate) fn ssl_error(error: &Error) -> PyErr {
    match error {
        Error::NothingReceived | Error::WouldBlock => want_read(),
        Error::NoCloseNotify => with_attributes(
            SSLEOFError::new_err((
                ERROR_EOF,
                "[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol: the peer ended the \
                 stream without close_notify",
            )),
            Some("UNEXPECTED_EOF_WHILE_READING"),
        ),
        Error::DataBeforeCloseNotify => {
            with_reason("APPLICATION_DATA_AFTER_CLOSE_NOTIFY", &error.to_string())
        }
        Error::PeerAlert(description) => peer_alert(*description),
        Error::Refused { alert, reason } => with_reason(reason_of_refusal(*alert), reason),
        other => os_error(other),
    }
}

/// What the peer has ended the connection with.
pub(crate) fn peer_alert(description: u8) -> PyErr {
    let reason = reason_of_alert(description);
    with_reason(reason, &reason.to_lowercase().replace('_', " "))
}

pub(crate) fn want_read() -> PyErr {
    let words = "The operation did not complete (read)";
    with_attributes(WantReadError::new_err((ERROR_WANT_READ, words)), None)
}

/// An SSLError of the library "SSL".
pub(crate) fn with_reason(reason: &'static str, words: &str) -> PyErr {
    let words = format!("[SSL: {reason}] {words}");
    with_attributes(SSLError::new_err((ERROR_SSL, words)), Some(reason))
}

/// Every exception of `ssl` has the two attributes.
fn with_attributes(error: PyErr, reason: Option<&'static str>) -> PyErr {
    // None: the interpreter is at its end, and nobody will look at them.
    let set = Python::try_attach(|py| {
        let value = error.value(py);
        value.setattr("library", reason.map(|_| "SSL"))?;
        value.setattr("reason", reason)
    });
    match set {
        Some(Err(failed)) => failed,
        _ => error,
    }
}

/// OpenSSL's reason for what the peer was refused with this alert.
const fn reason_of_refusal(description: u8) -> &'static str {
    match description {
        alert::BAD_RECORD_MAC => "DECRYPTION_FAILED_OR_BAD_RECORD_MAC",
        alert::RECORD_OVERFLOW => "ENCRYPTED_LENGTH_TOO_LONG",
        alert::PROTOCOL_VERSION => "WRONG_VERSION_NUMBER",
        alert::DECODE_ERROR => "BAD_LENGTH",
        alert::ILLEGAL_PARAMETER => "BAD_VALUE",
        _ => "UNEXPECTED_MESSAGE",
    }
}

/// OpenSSL's reason for an alert of the peer (SSL_AD_REASON_OFFSET, `sslerr.h`).
const fn reason_of_alert(description: u8) -> &'static str {
    match description {
        alert::CLOSE_NOTIFY => "SSLV3_ALERT_CLOSE_NOTIFY",
        10 => "SSLV3_ALERT_UNEXPECTED_MESSAGE",
        20 => "SSLV3_ALERT_BAD_RECORD_MAC",
        21 => "TLSV1_ALERT_DECRYPTION_FAILED",
        22 => "TLSV1_ALERT_RECORD_OVERFLOW",
        30 => "SSLV3_ALERT_DECOMPRESSION_FAILURE",
        40 => "SSLV3_ALERT_HANDSHAKE_FAILURE",
        41 => "SSLV3_ALERT_NO_CERTIFICATE",
        42 => "SSLV3_ALERT_BAD_CERTIFICATE",
        43 => "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        44 => "SSLV3_ALERT_CERTIFICATE_REVOKED",
        45 => "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        46 => "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        47 => "SSLV3_ALERT_ILLEGAL_PARAMETER",
        48 => "TLSV1_ALERT_UNKNOWN_CA",
        49 => "TLSV1_ALERT_ACCESS_DENIED",
        50 => "TLSV1_ALERT_DECODE_ERROR",
        51 => "TLSV1_ALERT_DECRYPT_ERROR",
        60 => "TLSV1_ALERT_EXPORT_RESTRICTION",
        70 => "TLSV1_ALERT_PROTOCOL_VERSION",
        71 => "TLSV1_ALERT_INSUFFICIENT_SECURITY",
        80 => "TLSV1_ALERT_INTERNAL_ERROR",
        86 => "TLSV1_ALERT_INAPPROPRIATE_FALLBACK",
        90 => "TLSV1_ALERT_USER_CANCELLED",
        100 => "TLSV1_ALERT_NO_RENEGOTIATION",
        109 => "TLSV13_ALERT_MISSING_EXTENSION",
        110 => "TLSV1_UNSUPPORTED_EXTENSION",
        111 => "TLSV1_CERTIFICATE_UNOBTAINABLE",
        112 => "TLSV1_UNRECOGNIZED_NAME",
        113 => "TLSV1_BAD_CERTIFICATE_STATUS_RESPONSE",
        114 => "TLSV1_BAD_CERTIFICATE_HASH_VALUE",
        115 => "TLSV1_ALERT_UNKNOWN_PSK_IDENTITY",
        116 => "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        120 => "TLSV1_ALERT_NO_APPLICATION_PROTOCOL",
        _ => "UNKNOWN_ALERT_TYPE",
    }
}
