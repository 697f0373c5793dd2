//! Reads once and opens what is whole: the one place that takes bytes off the socket and knows where records end.

use rustix::io::Errno;
use rustix::net::RecvFlags as SocketFlags;

use super::kept::Kept;
use super::open::{Was, open_record};
use super::opening::Opening;
use super::output::Output;
use super::partial::{Framed, frame};
use super::peer_control::Heard;
use super::scratch::Scratch;
use super::state::{Progress, State};
use crate::counters;
use crate::error::{Error, Result};
use crate::sys;
use crate::transport::{TcpTransport, Transport};

/// Ciphertext taken off the socket at once: eight full records, which the second level of a core's cache holds beside
/// their plaintext.
const BURST_SIZE: usize = 8 * (16384 + 256);

impl State {
    /// Reads once and opens what is whole: into the output as far as that goes, without one the next record.
    pub(super) fn advance(
        &mut self,
        transport: &TcpTransport,
        mut output: Option<&mut Output<'_>>,
    ) -> Result<Progress> {
        let Some(suite) = self.keys.as_ref().map(|keys| keys.suite) else {
            return Ok(Progress::Dry);
        };
        if self.is_paused || self.is_ended {
            return Ok(Progress::Dry);
        }
        let _working = Working::new();
        let before = self.ciphertext.len();
        let room = output.as_ref().map_or(0, |output| output.room());
        let (mut scratch, end, asked) = match frame(suite, &self.ciphertext) {
            Framed::Incomplete { missing } => {
                // Not more than there is room for, so that a partial record is all that is left over. One byte more says
                // whether the socket is empty after a record that fills the room.
                let overhead = suite.header_size() + suite.max_trailer_size();
                let ahead = match room.min(BURST_SIZE) {
                    0 => 0,
                    room => (room + overhead + 1).saturating_sub(before),
                };
                let asked = before + missing.max(ahead);
                let mut scratch = Scratch::take(asked);
                scratch[..before].copy_from_slice(&self.ciphertext);
                match self.receive(transport, &mut scratch[before..asked])? {
                    Some(0) => return Ok(Progress::Opened { drained: true }),
                    None => return Ok(Progress::Dry),
                    Some(count) => (scratch, before + count, asked),
                }
            }
            _ => {
                let mut scratch = Scratch::take(before);
                scratch[..before].copy_from_slice(&self.ciphertext);
                (scratch, before, before)
            }
        };
        let mut at = 0;
        let mut opened = 0;
        loop {
            if output.as_ref().is_some_and(|output| output.room() == 0) {
                break;
            }
            match self.open_next(transport, &mut scratch[at..end], output.as_deref_mut()) {
                None => break,
                Some((size, Was::Delivered | Was::Heard(Heard::Nothing))) => {
                    opened += 1;
                    at += size;
                }
                Some((size, was)) => {
                    opened += u64::from(was.is_opened());
                    at += size;
                    break;
                }
            }
        }
        counters::RX_RECORDS.add(opened);
        if let Some(keys) = &self.keys {
            keys.count(opened);
        }
        let needs_opening = at == 0 && self.needs_opening(&scratch[..end]);
        if needs_opening && let Some(keys) = &self.keys {
            let opening = Opening::new(&keys.opener, keys.sequence, &scratch[..end]);
            self.opening = Some(Box::new(opening));
        }
        let has_failed = self.is_ended && !self.is_closed;
        let taken = if self.control.is_none() || at == 0 && !needs_opening || has_failed {
            end
        } else {
            at.max(before)
        };
        if self.control.is_some() && end > before {
            take_off(transport, &mut scratch[..taken - before])?;
            self.has_drained = end < asked && taken == end;
        }
        self.ciphertext = if self.is_ended {
            Vec::new()
        } else {
            scratch[at..taken].to_vec()
        };
        if needs_opening {
            return Ok(Progress::NeedsOpening);
        }
        Ok(if at > 0 || self.is_ended {
            Progress::Opened {
                drained: self.has_drained,
            }
        } else {
            Progress::Taken
        })
    }

    /// Opens the record that these bytes begin with; returns its size and what it was. None: it is not whole.
    fn open_next(
        &mut self,
        transport: &TcpTransport,
        bytes: &mut [u8],
        output: Option<&mut Output<'_>>,
    ) -> Option<(usize, Was)> {
        if self.needs_opening(bytes) {
            return None;
        }
        let keys = self.keys.as_mut()?;
        let (size, was) = match frame(keys.suite, bytes) {
            Framed::Incomplete { .. } => return None,
            Framed::Whole(header) => {
                let size = header.record_size();
                self.opened_size += size as u64;
                let record = &mut bytes[..size];
                (
                    size,
                    open_record(
                        keys,
                        header,
                        record,
                        output,
                        &mut self.kept,
                        self.control.as_deref_mut(),
                    ),
                )
            }
            Framed::Unopenable { size, error } => {
                self.opened_size += size as u64;
                match &mut self.control {
                    Some(control) => {
                        control.refuse_framing(&error, &mut self.kept);
                        (size, Was::Heard(Heard::Failure))
                    }
                    None => {
                        keys.sequence = keys.sequence.saturating_add(1);
                        self.kept.push(Kept::Error(error));
                        (size, Was::Lost)
                    }
                }
            }
            Framed::Invalid(error) => match &mut self.control {
                Some(control) => {
                    control.refuse_framing(&error, &mut self.kept);
                    (bytes.len(), Was::Heard(Heard::Failure))
                }
                None => {
                    self.kept.push(Kept::Error(error));
                    (bytes.len(), Was::Last)
                }
            },
        };
        match was {
            Was::Delivered | Was::Kept | Was::Heard(Heard::Nothing | Heard::Message) => {}
            Was::Heard(Heard::Close) => {
                self.is_ended = true;
                self.is_closed = true;
            }
            Was::Heard(Heard::Failure) => {
                counters::CORRUPTED_RECORDS.add(1);
                self.open_errors += 1;
                self.is_ended = true;
            }
            Was::KeyUpdate => self.is_paused = true,
            Was::Lost => {
                counters::FAILED_CRYPTO.add(1);
                self.open_errors += 1;
            }
            Was::Failed => {
                counters::FAILED_CRYPTO.add(1);
                self.open_errors += 1;
                self.is_ended = true;
                if self.control.is_none() {
                    transport.abort();
                }
            }
            Was::Last => {
                counters::CORRUPTED_RECORDS.add(1);
                self.open_errors += 1;
                self.is_ended = true;
                transport.abort();
            }
        }
        Some((size, was))
    }

    /// Whether the record that these bytes begin with has to be opened before its turn.
    fn needs_opening(&self, bytes: &[u8]) -> bool {
        self.keys.as_ref().is_some_and(|keys| {
            keys.may_wait()
                && keys.ahead.is_empty()
                && matches!(frame(keys.suite, bytes), Framed::Whole(_))
        })
    }

    /// Takes what is missing of one record, and opens nothing.
    pub(super) fn take_missing(&mut self, transport: &TcpTransport) -> Result<Progress> {
        let Some(suite) = self.keys.as_ref().map(|keys| keys.suite) else {
            return Ok(Progress::Dry);
        };
        let Framed::Incomplete { missing } = frame(suite, &self.ciphertext) else {
            return Ok(Progress::Dry);
        };
        let mut ciphertext = core::mem::take(&mut self.ciphertext);
        let before = ciphertext.len();
        ciphertext.resize(before + missing, 0);
        let flags = SocketFlags::empty();
        let received = self.receive_behind(transport, before, &mut ciphertext[before..], flags);
        ciphertext.truncate(before + received.as_ref().map_or(0, |count| count.unwrap_or(0)));
        if !self.is_ended {
            self.ciphertext = ciphertext;
            if self.ciphertext.is_empty() {
                self.ciphertext = Vec::new();
            }
        }
        Ok(match received? {
            None => Progress::Dry,
            Some(0) => Progress::Opened { drained: true },
            Some(_) => Progress::Taken,
        })
    }

    fn receive(&mut self, transport: &TcpTransport, out: &mut [u8]) -> Result<Option<usize>> {
        // What follows a close_notify is somebody else's: bytes are taken when it is known what they were.
        let flags = match self.control {
            Some(_) => SocketFlags::PEEK,
            None => SocketFlags::empty(),
        };
        let before = self.ciphertext.len();
        let received = self.receive_behind(transport, before, out, flags)?;
        if self.is_ended {
            self.ciphertext = Vec::new();
        }
        Ok(received)
    }

    /// Takes bytes that follow `before` others of the same record. Some(0): nothing more comes, which is noted; None:
    /// nothing now.
    fn receive_behind(
        &mut self,
        transport: &TcpTransport,
        before: usize,
        out: &mut [u8],
        flags: SocketFlags,
    ) -> Result<Option<usize>> {
        loop {
            let received = sys::receive(transport.socket(), out, flags);
            self.has_drained = matches!(received, Ok(count @ 1..) if count < out.len());
            self.guess.note_read(received != Err(Errno::AGAIN));
            return match received {
                Ok(0) => {
                    self.is_ended = true;
                    if self.control.is_some() {
                        self.kept.push(Kept::Error(Error::NoCloseNotify));
                    } else if before > 0 {
                        self.kept.push(Kept::Error(Error::Truncated));
                    }
                    Ok(Some(0))
                }
                Ok(count) => Ok(Some(count)),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Ok(None),
                // It may be connected later.
                Err(Errno::NOTCONN) if before == 0 => Err(transport.reading_failed(Errno::NOTCONN)),
                Err(errno) => {
                    self.is_ended = true;
                    self.kept.push(Kept::Error(transport.reading_failed(errno)));
                    Ok(Some(0))
                }
            };
        }
    }
}

/// Takes bytes off the socket that were looked at before.
fn take_off(transport: &TcpTransport, scrap: &mut [u8]) -> Result<()> {
    if scrap.is_empty() {
        return Ok(());
    }
    loop {
        // TCP copies nothing with this flag (tcp(7)).
        match sys::receive(transport.socket(), scrap, SocketFlags::TRUNC) {
            Ok(count) if count == scrap.len() => return Ok(()),
            Ok(_) => return Err(Error::Internal("bytes that were looked at are gone")),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(transport.reading_failed(errno)),
        }
    }
}

/// Counts a connection whose records are being opened.
struct Working;

impl Working {
    fn new() -> Self {
        counters::RX_INQUEUE.add(1);
        Self
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        counters::RX_INQUEUE.sub(1);
    }
}
