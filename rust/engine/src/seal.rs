//! Brings the payload of a claim into a hot buffer at the record gaps and seals it there.

use std::io::IoSliceMut;

use rustix::io::Errno;

use ktls_record::{Frame, MAX_FRAME_LEN};

use crate::counters;
use crate::error::{Error, Result};
use crate::frames::{Framing, Payload, Run, WriteKey};
use crate::send_buffer::Claim;
use crate::sys;

/// How far sealing came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// That many bytes lie ready at the start of the buffer.
    Done(usize),
    /// A file is not in memory; somebody who may wait has to read it.
    Cold,
}

/// Seals every frame of the claim into `pages`, from its start. With `cached_only` a file that is not in memory
/// is [`Outcome::Cold`].
pub(crate) fn seal(claim: &Claim, pages: &mut [u8], cached_only: bool) -> Result<Outcome> {
    // All reads come before the first record is sealed, so that a unit with a cold file is not sealed twice.
    let mut at = 0;
    for part in &claim.parts {
        let size = part.wire_size();
        if let Payload::File { .. } = part.payload
            && !read_part(part, region(pages, at, size)?, cached_only)?
        {
            return Ok(Outcome::Cold);
        }
        at += size;
    }
    let mut at = 0;
    for part in &claim.parts {
        let size = part.wire_size();
        seal_part(part, region(pages, at, size)?)?;
        at += size;
    }
    Ok(Outcome::Done(at))
}

/// Seals one whole write, which no run was made for, into the start of `out`.
pub(crate) fn seal_now(framing: &Framing, data: &[u8], out: &mut [u8]) -> Result<()> {
    match framing {
        Framing::Plain => {
            region(out, 0, data.len())?.copy_from_slice(data);
            Ok(())
        }
        Framing::Records {
            key,
            layout,
            content_type,
            sequence,
        } => {
            let frames = layout.frames(*content_type, *sequence, data.len());
            seal_slice(key, frames, data, out)
        }
    }
}

fn seal_part(part: &Run, out: &mut [u8]) -> Result<()> {
    match (&part.framing, &part.payload) {
        (framing, Payload::Bytes { owner, start }) => {
            let data = (**owner).as_ref();
            let len = usize::try_from(part.len).unwrap_or(usize::MAX);
            let slice = start
                .checked_add(len)
                .and_then(|end| data.get(*start..end))
                .ok_or_else(lost_payload)?;
            seal_now(framing, slice, out)
        }
        (Framing::Plain, Payload::File { .. }) => Ok(()),
        (
            Framing::Records {
                key,
                layout,
                content_type,
                sequence,
            },
            Payload::File { .. },
        ) => {
            let suite = key.suite();
            let len = usize::try_from(part.len).unwrap_or(usize::MAX);
            let mut rest = out;
            for frame in layout.frames(*content_type, *sequence, len) {
                let (record, after) = rest.split_at_mut(frame.record_size(suite));
                key.seal
                    .seal_in_place(frame, record)
                    .map_err(|error| crypto_failed(&error))?;
                counters::RECORDS.add(1);
                rest = after;
            }
            Ok(())
        }
    }
}

fn seal_slice(
    key: &WriteKey,
    frames: impl Iterator<Item = Frame>,
    data: &[u8],
    out: &mut [u8],
) -> Result<()> {
    let suite = key.suite();
    let mut rest = out;
    let mut data = data;
    for frame in frames {
        let (payload, after) = data.split_at(frame.payload_len);
        let (record, remaining) = rest.split_at_mut(frame.record_size(suite));
        key.seal
            .seal_from(frame, payload, record)
            .map_err(|error| crypto_failed(&error))?;
        counters::RECORDS.add(1);
        data = after;
        rest = remaining;
    }
    Ok(())
}

/// Reads a file run into the payload gaps of its records; false when that would have to wait.
fn read_part(part: &Run, out: &mut [u8], cached_only: bool) -> Result<bool> {
    let Payload::File { file, offset } = &part.payload else {
        return Ok(true);
    };
    let mut gaps: Vec<IoSliceMut<'_>> = Vec::new();
    match &part.framing {
        Framing::Plain => gaps.push(IoSliceMut::new(out)),
        Framing::Records {
            key,
            layout,
            content_type,
            sequence,
        } => {
            let suite = key.suite();
            let len = usize::try_from(part.len).unwrap_or(usize::MAX);
            let mut rest = out;
            for frame in layout.frames(*content_type, *sequence, len) {
                let (record, after) = rest.split_at_mut(frame.record_size(suite));
                let gap = record
                    .get_mut(suite.header_size()..)
                    .and_then(|r| r.get_mut(..frame.payload_len));
                gaps.push(IoSliceMut::new(gap.ok_or_else(lost_payload)?));
                rest = after;
            }
        }
    }
    let mut gaps = &mut gaps[..];
    let mut done = 0;
    while done < part.len {
        // An iovec longer than IOV_MAX entries is refused whole.
        let count = gaps.len().min(1024);
        match sys::read_at(file, &mut gaps[..count], offset + done, cached_only) {
            Ok(0) => return Err(shrunk(offset + done, offset + part.len)),
            Ok(read) => {
                done += read as u64;
                IoSliceMut::advance_slices(&mut gaps, read);
            }
            Err(Errno::AGAIN) if cached_only => return Ok(false),
            Err(errno) => {
                return Err(Error::from_errno(
                    errno,
                    &format!("cannot read the file at offset {}", offset + done),
                ));
            }
        }
    }
    Ok(true)
}

fn region(pages: &mut [u8], at: usize, size: usize) -> Result<&mut [u8]> {
    pages
        .get_mut(at..)
        .and_then(|rest| rest.get_mut(..size))
        .ok_or_else(lost_payload)
}

fn crypto_failed(error: &ktls_record::Error) -> Error {
    counters::FAILED_CRYPTO.add(1);
    Error::new(
        Errno::IO,
        format!("a record could not be sealed ({error}); the connection was reset"),
    )
}

fn lost_payload() -> Error {
    counters::FAILED_CRYPTO.add(1);
    Error::new(
        Errno::IO,
        format!(
            "a unit is larger than its buffer (records of {MAX_FRAME_LEN}); the connection was reset"
        ),
    )
}

fn shrunk(at: u64, wanted: u64) -> Error {
    Error::new(
        Errno::IO,
        format!(
            "the file ended at offset {at} while bytes up to {wanted} were accepted for sending: it shrank meanwhile; \
             the connection was reset, because the peer was promised them"
        ),
    )
}
