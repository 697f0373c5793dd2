//! Brings the payload of a job into a seal buffer at the record gaps, and seals it there.
//!
//! Reading and sealing are two steps: a file is read outside the fork lock, and a key is used inside it.

use std::io::IoSliceMut;

use rustix::io::Errno;

use ktls_record::Frame;

use super::run::{Framing, Payload, RecordRun, WriteKey};
use crate::counters;
use crate::error::{Error, Result};
use crate::sys;

/// How far reading came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Done,
    /// A file is not in memory; a thread that may wait has to read it.
    Cold,
}

/// Reads what lies in files into `buffer`, where sealing will find it. With `cached_only` a file that is not in memory
/// is [`Read::Cold`].
pub(super) fn read_files(
    parts: &[RecordRun],
    buffer: &mut [u8],
    cached_only: bool,
) -> Result<Read> {
    let mut at = 0;
    for part in parts {
        let size = part.wire_size();
        if let Payload::File { file, offset } = &part.payload {
            let mut gaps = gaps(part, region(buffer, at, size)?)?;
            let read = read_at(file, *offset, part.len, &mut gaps, cached_only)?;
            if read == Read::Cold {
                return Ok(Read::Cold);
            }
        }
        at += size;
    }
    Ok(Read::Done)
}

/// Seals every frame into `buffer`, from its start; what lies in files has been read. Returns the bytes that are ready.
pub(super) fn seal_parts(parts: &[RecordRun], buffer: &mut [u8]) -> Result<usize> {
    let mut at = 0;
    for part in parts {
        let size = part.wire_size();
        seal_part(part, region(buffer, at, size)?)?;
        at += size;
    }
    Ok(at)
}

/// The same for keys whose sealing may wait for others: the records of a key that follow each other go to it at once.
pub(super) fn seal_parts_waiting(parts: &[RecordRun], buffer: &mut [u8]) -> Result<usize> {
    let mut at = 0;
    let mut rest = buffer;
    let mut batch: Option<KeyBatch<'_>> = None;
    for part in parts {
        let size = part.wire_size();
        let (mut out, after) = rest.split_at_mut_checked(size).ok_or(TOO_SMALL)?;
        (rest, at) = (after, at + size);
        let Framing::Records {
            key,
            fragmenter,
            content_type,
            sequence,
        } = &part.framing
        else {
            seal_part(part, out)?;
            continue;
        };
        if batch
            .as_ref()
            .is_some_and(|(other, _)| !core::ptr::eq(*other, &raw const **key))
        {
            seal_batch(batch.take())?;
        }
        let (_, records) = batch.get_or_insert_with(|| (key, Vec::new()));
        let len = usize::try_from(part.len).unwrap_or(usize::MAX);
        let mut data = match &part.payload {
            Payload::Bytes { .. } => {
                let bytes = part.payload.bytes(len);
                Some(bytes.ok_or(Error::Internal("a payload became shorter"))?)
            }
            // It has been read into its place.
            Payload::File { .. } => None,
        };
        for frame in fragmenter.frames(*content_type, *sequence, len) {
            let (record, after) = out.split_at_mut(frame.record_size(key.suite()));
            if let Some(data) = &mut data {
                let (payload, after) = data.split_at(frame.payload_len);
                record[key.suite().header_size()..][..frame.payload_len].copy_from_slice(payload);
                *data = after;
            }
            records.push((frame, record));
            out = after;
        }
    }
    seal_batch(batch)?;
    Ok(at)
}

/// Records of one key.
type KeyBatch<'a> = (&'a WriteKey, Vec<(Frame, &'a mut [u8])>);

fn seal_batch(batch: Option<KeyBatch<'_>>) -> Result<()> {
    if let Some((key, mut records)) = batch {
        key.seal
            .seal_batch(&mut records)
            .map_err(|error| not_sealed(&error))?;
        let payload_len = records.iter().map(|(frame, _)| frame.payload_len).sum();
        key.count(records.len() as u64, payload_len);
    }
    Ok(())
}

/// Seals one whole write, which no run was made for, into the start of `out`.
pub(super) fn seal_now(framing: &Framing, data: &[u8], out: &mut [u8]) -> Result<()> {
    match framing {
        Framing::Plain => {
            region(out, 0, data.len())?.copy_from_slice(data);
            Ok(())
        }
        Framing::Records {
            key,
            fragmenter,
            content_type,
            sequence,
        } => {
            if let Some(frame) = fragmenter.only_frame(*content_type, *sequence, data.len()) {
                let record = region(out, 0, frame.record_size(key.suite()))?;
                seal_from(key, frame, data, record)?;
                key.count(1, data.len());
                return Ok(());
            }
            let frames = fragmenter.frames(*content_type, *sequence, data.len());
            seal_slice(key, frames, data, out)
        }
    }
}

fn seal_from(key: &WriteKey, frame: Frame, payload: &[u8], record: &mut [u8]) -> Result<()> {
    key.seal
        .seal_from(frame, payload, record)
        .map_err(|error| not_sealed(&error))
}

fn seal_part(part: &RecordRun, out: &mut [u8]) -> Result<()> {
    let len = usize::try_from(part.len).unwrap_or(usize::MAX);
    match (&part.framing, &part.payload) {
        (framing, Payload::Bytes { owner, start }) => {
            let data = (**owner).as_ref();
            let slice = start
                .checked_add(len)
                .and_then(|end| data.get(*start..end))
                .ok_or(Error::Internal("a payload became shorter"))?;
            seal_now(framing, slice, out)
        }
        (Framing::Plain, Payload::File { .. }) => Ok(()),
        (
            Framing::Records {
                key,
                fragmenter,
                content_type,
                sequence,
            },
            Payload::File { .. },
        ) => {
            let suite = key.suite();
            let mut rest = out;
            let mut sealed = 0;
            for frame in fragmenter.frames(*content_type, *sequence, len) {
                let (record, after) = rest.split_at_mut(frame.record_size(suite));
                key.seal
                    .seal_in_place(frame, record)
                    .map_err(|error| not_sealed(&error))?;
                sealed += 1;
                rest = after;
            }
            key.count(sealed, len);
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
    let len = data.len();
    let mut rest = out;
    let mut data = data;
    let mut sealed = 0;
    for frame in frames {
        let (payload, after) = data.split_at(frame.payload_len);
        let (record, remaining) = rest.split_at_mut(frame.record_size(suite));
        seal_from(key, frame, payload, record)?;
        sealed += 1;
        data = after;
        rest = remaining;
    }
    key.count(sealed, len);
    Ok(())
}

/// Where the payload of each record lies in the records of a file's run.
fn gaps<'a>(part: &RecordRun, out: &'a mut [u8]) -> Result<Vec<IoSliceMut<'a>>> {
    let Framing::Records {
        key,
        fragmenter,
        content_type,
        sequence,
    } = &part.framing
    else {
        return Ok(vec![IoSliceMut::new(out)]);
    };
    let suite = key.suite();
    let len = usize::try_from(part.len).unwrap_or(usize::MAX);
    let mut gaps = Vec::new();
    let mut rest = out;
    for frame in fragmenter.frames(*content_type, *sequence, len) {
        let (record, after) = rest.split_at_mut(frame.record_size(suite));
        let gap = record
            .get_mut(suite.header_size()..)
            .and_then(|rest| rest.get_mut(..frame.payload_len));
        gaps.push(IoSliceMut::new(gap.ok_or(TOO_SMALL)?));
        rest = after;
    }
    Ok(gaps)
}

fn read_at(
    file: &std::os::fd::OwnedFd,
    offset: u64,
    len: u64,
    mut gaps: &mut [IoSliceMut<'_>],
    cached_only: bool,
) -> Result<Read> {
    let mut done = 0;
    while done < len {
        // An iovec longer than IOV_MAX entries is refused whole.
        let count = gaps.len().min(1024);
        match sys::read_at(file, &mut gaps[..count], offset + done, cached_only) {
            Ok(0) => {
                return Err(Error::FileShrank {
                    at: offset + done,
                    wanted: offset + len,
                });
            }
            Ok(read) => {
                done += read as u64;
                IoSliceMut::advance_slices(&mut gaps, read);
            }
            Err(Errno::AGAIN) if cached_only => return Ok(Read::Cold),
            Err(errno) => {
                return Err(Error::File {
                    errno,
                    offset: offset + done,
                });
            }
        }
    }
    Ok(Read::Done)
}

const TOO_SMALL: Error = Error::Internal("a batch is larger than its buffer");

fn region(buffer: &mut [u8], at: usize, size: usize) -> Result<&mut [u8]> {
    buffer
        .get_mut(at..)
        .and_then(|rest| rest.get_mut(..size))
        .ok_or(TOO_SMALL)
}

fn not_sealed(error: &ktls_record::Error) -> Error {
    counters::FAILED_CRYPTO.add(1);
    Error::Seal(error.to_string().into())
}
