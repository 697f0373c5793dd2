//! Opens one whole record: data straight into the output when all of its text fits there, else in place and as far as
//! it fits; whatever is no data, or found no place, is kept.

use ktls_record::content_type::{APPLICATION_DATA, HANDSHAKE};
use ktls_record::control::Refusal;
use ktls_record::{Error as RecordError, RecordHeader, Version};
use rustix::io::Errno;

use super::kept::{Kept, KeptQueue, KeptRecord};
use super::output::Output;
use super::partial::{lost, not_a_record};
use super::peer_control::{Heard, PeerControl};
use super::read_keys::ReadKeys;
use crate::error::Error;

/// The type of a KeyUpdate message (RFC 8446 §4.6.3).
const KEY_UPDATE: u8 = 24;

/// What a record was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Was {
    /// Data, all of which was delivered.
    Delivered,
    /// Something that is kept.
    Kept,
    /// Something about the connection, which was acted upon.
    Heard(Heard),
    /// A KeyUpdate, which is kept: what follows has other keys.
    KeyUpdate,
    /// Lost; the error is kept in its place.
    Lost,
    /// Such that nothing can follow it; the error is kept in its place.
    Last,
    /// Whoever opens has failed; the error is kept in its place.
    Failed,
}

impl Was {
    /// Whether the record opened, whatever it said.
    pub(super) fn is_opened(self) -> bool {
        !matches!(self, Self::Lost | Self::Last | Self::Heard(Heard::Failure))
    }
}

/// Why there is nothing of a record.
enum Failure {
    /// It does not open.
    Record(RecordError),
    /// It opens, and must not have been sent.
    Refused(Refusal),
}

/// Opens `record`, whose header is `header`. Without an output it is kept whole. What is opened in place is wiped.
pub(super) fn open_record(
    keys: &mut ReadKeys,
    header: RecordHeader,
    record: &mut [u8],
    output: Option<&mut Output<'_>>,
    kept: &mut KeptQueue,
    mut control: Option<&mut PeerControl>,
) -> Was {
    let version = keys.suite.version();
    let opened = match output {
        Some(output) if header.text_len() <= output.room() => {
            open_into_output(keys, header, record, output, control.as_deref_mut())
        }
        output => open_in_place(keys, header, record, output, control.as_deref_mut()),
    };
    if !matches!(opened, Err(Failure::Record(RecordError::SequenceExhausted))) {
        keys.sequence += 1;
    }
    match opened {
        Ok(None) => Was::Delivered,
        Ok(Some(rest)) if control.is_some() && !rest.is_data() => {
            let heard = control.map_or(Heard::Nothing, |control| {
                control.hear(keys, rest.content_type, rest.rest(), kept)
            });
            Was::Heard(heard)
        }
        Ok(Some(rest)) if control.is_some() && rest.rest().is_empty() => Was::Delivered,
        Ok(Some(rest)) => {
            let is_key_update = version == Version::Tls13
                && rest.content_type == HANDSHAKE
                && rest.rest().first() == Some(&KEY_UPDATE);
            kept.push(Kept::Record(rest));
            if is_key_update {
                Was::KeyUpdate
            } else {
                Was::Kept
            }
        }
        Err(failure) => {
            let Some(control) = control else {
                return lose(failure, kept);
            };
            match failure {
                Failure::Record(cause @ RecordError::Backend { .. }) => {
                    control.fail(Error::Open(cause.to_string().into()), kept);
                    return Was::Failed;
                }
                Failure::Record(cause) => control.refuse_record(&cause, kept),
                Failure::Refused(refusal) => {
                    control.refuse(refusal.alert, refusal.reason.into(), kept);
                }
            }
            Was::Heard(Heard::Failure)
        }
    }
}

type Rest = Result<Option<KeptRecord>, Failure>;

fn open_into_output(
    keys: &mut ReadKeys,
    header: RecordHeader,
    record: &[u8],
    output: &mut Output<'_>,
    control: Option<&mut PeerControl>,
) -> Rest {
    output.fill_with(header.text_len(), |room| {
        let (content_type, len) = match keys.open_into(record, room) {
            Ok(opened) => (opened.content_type, opened.payload.len()),
            Err(error) => return (0, Err(Failure::Record(error))),
        };
        keys.payload += len as u64;
        if content_type == APPLICATION_DATA {
            if let Some(Err(refusal)) = control.map(|control| control.hear_data(len)) {
                room.fill(0);
                return (0, Err(Failure::Refused(refusal)));
            }
            room[len..].fill(0);
            return (len, Ok(None));
        }
        let rest = KeptRecord::new(content_type, &room[..len], false);
        room.fill(0);
        (0, Ok(Some(rest)))
    })
}

fn open_in_place(
    keys: &mut ReadKeys,
    header: RecordHeader,
    record: &mut [u8],
    output: Option<&mut Output<'_>>,
    control: Option<&mut PeerControl>,
) -> Rest {
    let opened = keys
        .open_in_place(header, record)
        .map_err(Failure::Record)?;
    keys.payload += opened.payload.len() as u64;
    if opened.content_type == APPLICATION_DATA
        && let Some(Err(refusal)) = control.map(|control| control.hear_data(opened.payload.len()))
    {
        opened.payload.fill(0);
        return Err(Failure::Refused(refusal));
    }
    let delivered = match output {
        Some(output) if opened.content_type == APPLICATION_DATA => output.append(opened.payload),
        // Empty data is nothing to a reader of bytes, and a record to a reader of records.
        _ => {
            let whole = KeptRecord::new(opened.content_type, opened.payload, false);
            opened.payload.fill(0);
            return Ok(Some(whole));
        }
    };
    let rest = &opened.payload[delivered..];
    let kept =
        (!rest.is_empty()).then(|| KeptRecord::new(opened.content_type, rest, delivered > 0));
    opened.payload.fill(0);
    Ok(kept)
}

/// What becomes of a stream without control when a record does not open.
fn lose(failure: Failure, kept: &mut KeptQueue) -> Was {
    let (was, error) = match failure {
        Failure::Record(cause) => verdict(cause),
        Failure::Refused(_) => (Was::Last, Error::Internal("a refusal without control")),
    };
    kept.push(Kept::Error(error));
    was
}

fn verdict(cause: RecordError) -> (Was, Error) {
    match cause {
        RecordError::BadRecord | RecordError::NoContentType => {
            (Was::Lost, lost(Errno::BADMSG, cause))
        }
        RecordError::Backend { .. } | RecordError::Provider { .. } => {
            (Was::Failed, Error::Open(cause.to_string().into()))
        }
        RecordError::RecordOverflow { .. } => (Was::Last, not_a_record(Errno::MSGSIZE, cause)),
        cause => (Was::Last, not_a_record(Errno::BADMSG, cause)),
    }
}
