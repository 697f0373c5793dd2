//! What a receive half knows between two calls, and the steps that change it. No step waits or runs anything of the
//! program's, so that what was taken off the socket is here before a call can be interrupted.

use ktls_record::Version;
use ktls_record::content_type::APPLICATION_DATA;
use rustix::io::Errno;
use zeroize::Zeroize;

use super::guess::Guess;
use super::kept::{Kept, KeptQueue};
use super::opening::Opening;
use super::output::Output;
use super::partial::{Framed, frame};
use super::peer_control::{PeerControl, Reply};
use super::read_keys::ReadKeys;
use crate::error::{Error, Result};
use crate::traffic::Traffic;
use crate::transport::TcpTransport;

/// Room that takes any record's text.
const RECORD_ROOM: usize = 16384 + 256;

/// Bursts of one step; then signals and the time are looked at. A peer can send records without content for ever.
const BURSTS_PER_STEP: usize = 64;

/// Plaintext that a call may have gathered for MSG_PEEK or SO_RCVLOWAT.
const GATHERED_MAX: usize = 1 << 20;

/// What came of reading once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Something was opened, kept or found to have ended. `drained`: the socket had no more.
    Opened { drained: bool },
    /// A part of a record came.
    Taken,
    /// Nothing came.
    Dry,
    /// A record is here, and the key that opens it may wait for others: [`State::opening`] has it.
    NeedsOpening,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The call has what it wants.
    Done,
    /// It has to wait for the socket.
    Wait,
    /// It goes on after a look at signals and the time.
    Again,
    /// It goes on when records were opened without a lock.
    Open,
}

/// See the head of this file.
pub(super) struct State {
    pub(super) keys: Option<ReadKeys>,
    /// None: whatever is no data is the program's.
    pub(super) control: Option<Box<PeerControl>>,
    /// What was taken and not opened: the beginning of a record; whole ones behind a record that stopped a reader.
    pub(super) ciphertext: Vec<u8>,
    pub(super) kept: KeptQueue,
    /// Records that have to be opened without a lock.
    pub(super) opening: Option<Box<Opening>>,
    /// A KeyUpdate was opened: what follows waits for other keys.
    pub(super) is_paused: bool,
    /// Nothing more comes.
    pub(super) is_ended: bool,
    /// The peer has said close_notify.
    pub(super) is_closed: bool,
    /// SO_RCVLOWAT in plaintext.
    pub(super) low_water: usize,
    /// The socket gave less than was asked of it: what comes next has to arrive first.
    pub(super) has_drained: bool,
    /// There was nothing when a call looked that could not wait.
    waits_next: bool,
    pub(super) guess: Guess,
    /// Bytes of records, and how many of these did not open, or were none.
    pub(super) opened_size: u64,
    pub(super) open_errors: u64,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            keys: None,
            control: None,
            ciphertext: Vec::new(),
            kept: KeptQueue::default(),
            opening: None,
            is_paused: false,
            is_ended: false,
            is_closed: false,
            low_water: 1,
            has_drained: false,
            waits_next: false,
            guess: Guess::default(),
            opened_size: 0,
            open_errors: 0,
        }
    }

    /// What was received under the keys.
    pub(super) fn traffic(&self) -> Traffic {
        let keys = self.keys.as_ref();
        Traffic {
            records: keys.map_or(0, ReadKeys::record_count),
            payload_bytes: keys.map_or(0, |keys| keys.payload),
            wire_bytes: self.opened_size,
            errors: self.open_errors,
            key_changes: keys.map_or(0, ReadKeys::change_count),
            queued_bytes: (self.ciphertext.len() + self.data_at_hand()) as u64,
            sequence: keys.map(|keys| keys.sequence),
        }
    }

    /// Bytes kept between calls, but for records that are no data.
    pub(super) fn kept_size(&self) -> usize {
        self.ciphertext.capacity() + self.kept.data_at_hand().0
    }

    /// What the peer says about the connection is acted upon here from now on. `ahead`: bytes that were taken off the
    /// socket before.
    pub(super) fn control(&mut self, control: PeerControl, ahead: Vec<u8>) {
        self.control = Some(Box::new(control));
        self.ciphertext = ahead;
    }

    /// What is to be said now, by whoever lets the state go.
    pub(super) fn take_replies(&mut self) -> Vec<Reply> {
        let control = self.control.as_mut();
        control.map_or_else(Vec::new, |control| control.take_replies())
    }

    /// Messages for the library that made the handshake.
    pub(super) fn take_messages(&mut self) -> Vec<Vec<u8>> {
        let control = self.control.as_mut();
        control.map_or_else(Vec::new, |control| control.take_messages())
    }

    pub(super) fn has_messages(&self) -> bool {
        let control = self.control.as_ref();
        control.is_some_and(|control| control.has_messages())
    }

    fn has_urgent_messages(&self) -> bool {
        let control = self.control.as_ref();
        control.is_some_and(|control| control.has_urgent_messages())
    }

    /// The peer was asked for a KeyUpdate.
    pub(super) fn key_update_requested(&mut self) {
        if let Some(control) = &mut self.control {
            control.key_update_requested();
        }
    }

    /// The peer was asked for a certificate.
    pub(super) fn certificate_requested(&mut self) {
        if let Some(control) = &mut self.control {
            control.certificate_requested();
        }
    }

    /// Data that can be taken without the socket.
    pub(super) fn data_at_hand(&self) -> usize {
        self.kept.data_at_hand().0
    }

    /// The keys have changed: reading goes on.
    pub(super) fn resume(&mut self) {
        self.is_paused = false;
    }

    /// Whether a reader that may wait does best to wait first: nothing is here, and the socket was empty.
    pub(super) fn is_dry(&mut self) -> bool {
        let is_told = core::mem::take(&mut self.waits_next);
        let has_drained = core::mem::take(&mut self.has_drained);
        (is_told || has_drained)
            && !self.is_at_stop()
            && !self.has_whole_record()
            && !self.has_messages()
            && (is_told || self.guess.waits_first())
    }

    /// The next call that may wait does so first.
    pub(super) fn wait_next(&mut self) {
        self.waits_next = true;
    }

    /// Notes what a read without keys came to. Whether the socket is empty after it is not known: the guess says.
    pub(super) fn note_raw_read(&mut self, received: core::result::Result<usize, Errno>) {
        self.has_drained = matches!(received, Ok(1..));
        self.guess.note_read(received != Err(Errno::AGAIN));
    }

    /// Whether data waits for other keys, and all before it was read.
    pub(super) fn waits_for_keys(&self) -> bool {
        self.is_paused && self.kept.is_empty()
    }

    /// A thread panicked in a step: what is here cannot be trusted.
    pub(super) fn fail(&mut self) {
        self.end();
        self.kept.push(Kept::Error(Error::Internal("a panic")));
    }

    /// Nothing is received any more.
    pub(super) fn end(&mut self) {
        self.ciphertext.zeroize();
        self.kept = KeptQueue::default();
        self.take_messages();
        self.is_ended = true;
    }

    /// Moves data to the output until it has `target` bytes, and as much beyond as lies there.
    pub(super) fn take_data(
        &mut self,
        transport: &TcpTransport,
        output: &mut Output<'_>,
        target: usize,
    ) -> Result<Step> {
        let mut has_drained = false;
        for _ in 0..BURSTS_PER_STEP {
            self.kept.deliver(output);
            let is_enough = output.filled().len() >= target;
            let fits_no_record = has_drained || output.room() < RECORD_ROOM;
            if output.room() == 0 || is_enough && fits_no_record && self.kept.is_empty() {
                return Ok(Step::Done);
            }
            if self.is_at_stop() {
                return self.stop(!output.filled().is_empty());
            }
            if self.has_messages() {
                return stop_for_messages(!output.filled().is_empty());
            }
            match self.advance(transport, Some(output))? {
                Progress::Opened { drained } => has_drained = drained,
                Progress::Taken => {}
                Progress::Dry if output.filled().len() >= target => return Ok(Step::Done),
                Progress::Dry => return Ok(Step::Wait),
                Progress::NeedsOpening => return Ok(Step::Open),
            }
        }
        Ok(Step::Again)
    }

    /// Copies data to the output and leaves it here.
    pub(super) fn peek_data(
        &mut self,
        transport: &TcpTransport,
        output: &mut Output<'_>,
        target: usize,
    ) -> Result<Step> {
        let most = output.size().min(GATHERED_MAX);
        let target = target.min(most);
        for _ in 0..BURSTS_PER_STEP {
            let (at_hand, stops) = self.kept.data_at_hand();
            let is_over = stops || self.is_paused || self.is_ended;
            if at_hand >= most || is_over && at_hand > 0 {
                self.kept.peek(output);
                return Ok(Step::Done);
            }
            if is_over {
                // Empty data is passed over.
                self.kept.deliver(output);
                return self.stop(false);
            }
            if self.has_messages() {
                return stop_for_messages(false);
            }
            match self.advance(transport, None)? {
                Progress::Opened { .. } | Progress::Taken => {}
                Progress::Dry if at_hand >= target && at_hand > 0 => {
                    self.kept.peek(output);
                    return Ok(Step::Done);
                }
                Progress::Dry => return Ok(Step::Wait),
                Progress::NeedsOpening => return Ok(Step::Open),
            }
        }
        Ok(Step::Again)
    }

    /// Opens records until one is at hand, or something else is said.
    pub(super) fn next_record(&mut self, transport: &TcpTransport) -> Result<Step> {
        for _ in 0..BURSTS_PER_STEP {
            match self.kept.front() {
                Some(Kept::Record(_)) => return Ok(Step::Done),
                Some(Kept::Error(_)) => return self.stop(false),
                None if self.is_at_stop() => return self.stop(false),
                None => {}
            }
            match self.advance(transport, None)? {
                Progress::Dry => return Ok(Step::Wait),
                Progress::NeedsOpening => return Ok(Step::Open),
                Progress::Opened { .. } | Progress::Taken => {}
            }
        }
        Ok(Step::Again)
    }

    /// Opens records until the peer has said close_notify.
    pub(super) fn await_close(&mut self, transport: &TcpTransport) -> Result<Step> {
        for _ in 0..BURSTS_PER_STEP {
            match self.kept.front() {
                Some(Kept::Record(_)) => return Err(Error::DataBeforeCloseNotify),
                Some(Kept::Error(_)) => return self.stop(false),
                None if self.is_closed => return Ok(Step::Done),
                None if self.is_ended => return Err(Error::NoCloseNotify),
                None => {}
            }
            if self.has_messages() {
                return stop_for_messages(false);
            }
            match self.advance(transport, None)? {
                Progress::Dry => return Ok(Step::Wait),
                Progress::NeedsOpening => return Ok(Step::Open),
                Progress::Opened { .. } | Progress::Taken => {}
            }
        }
        Ok(Step::Again)
    }

    /// Whether a reader has something to return, as far as is known without opening anything.
    fn is_ready(&self) -> bool {
        let (at_hand, stops) = self.kept.data_at_hand();
        if self.waits_for_keys() {
            return false;
        }
        stops
            || self.is_ended
            || self.has_urgent_messages()
            || at_hand >= self.low_water
            || self.kept.has_empty_data()
            || self.low_water <= 1 && !self.is_paused && self.begins_with_news()
    }

    /// The same, of what was taken off the socket: whole records are opened to know it.
    pub(super) fn look_inside(&mut self, transport: &TcpTransport) -> bool {
        while !self.is_ready() {
            if self.is_paused || !self.has_whole_record() {
                return false;
            }
            // What has to be opened without a lock is left to the reader, who finds out what it is.
            if !matches!(
                self.advance(transport, None),
                Ok(Progress::Opened { .. } | Progress::Taken | Progress::Dry)
            ) {
                self.opening = None;
                return true;
            }
        }
        true
    }

    /// The same after a look at the socket, from which the missing part of one record is taken.
    pub(super) fn look(&mut self, transport: &TcpTransport) -> bool {
        for _ in 0..BURSTS_PER_STEP {
            if self.is_ready() {
                return true;
            }
            if self.is_paused {
                return false;
            }
            let looked = if self.low_water <= 1 && !self.has_whole_record() {
                self.take_missing(transport)
            } else {
                self.advance(transport, None)
            };
            match looked {
                Ok(Progress::Dry) => return false,
                Ok(Progress::Taken | Progress::Opened { .. }) => {}
                Ok(Progress::NeedsOpening) => {
                    self.opening = None;
                    return true;
                }
                // The reader finds it, too.
                Err(_) => return true,
            }
        }
        true
    }

    /// Whether what was taken begins with a whole record that means something to a reader, whatever it holds. One that
    /// is acted upon here, or has no data, means nothing, and in TLS 1.3 that is seen inside only.
    fn begins_with_news(&self) -> bool {
        self.keys
            .as_ref()
            .is_some_and(|keys| match frame(keys.suite, &self.ciphertext) {
                Framed::Incomplete { .. } => false,
                Framed::Unopenable { .. } | Framed::Invalid(_) => true,
                Framed::Whole(header) => {
                    self.control.is_none()
                        || keys.suite.version() != Version::Tls13
                            && keys.suite.mac().is_none()
                            && header.outer_type() == APPLICATION_DATA
                            && header.text_len() > 0
                }
            })
    }

    fn has_whole_record(&self) -> bool {
        self.keys.as_ref().is_some_and(|keys| {
            let framed = frame(keys.suite, &self.ciphertext);
            !matches!(framed, Framed::Incomplete { .. })
        })
    }

    fn is_at_stop(&self) -> bool {
        !self.kept.is_empty() || self.is_paused || self.is_ended
    }

    /// Says what stands before a reader of data; one that has something returns that first.
    fn stop(&mut self, has_data: bool) -> Result<Step> {
        if has_data {
            return Ok(Step::Done);
        }
        match self.kept.front() {
            Some(Kept::Error(_)) => match self.kept.take_error() {
                Some(error) => Err(error),
                None => Ok(Step::Done),
            },
            Some(Kept::Record(record)) => Err(Error::NotData(record.content_type)),
            None if self.is_paused => Err(Error::ReadKeyExpired),
            None => Ok(Step::Done),
        }
    }
}

/// A call that has data returns that first.
fn stop_for_messages(has_data: bool) -> Result<Step> {
    if has_data {
        Ok(Step::Done)
    } else {
        Err(Error::MessageWaits)
    }
}
