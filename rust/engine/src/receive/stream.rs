//! `RecvStream`: the calls of a receive half.

use std::ops::{Deref, DerefMut};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, OnceLock};

use ktls_record::Version;
use rustix::io::Errno;
use rustix::net::RecvFlags as SocketFlags;

use super::kept::Kept;
use super::output::Output;
use super::peer_control::{PeerControl, Reply};
use super::read_keys::{NewReadKeys, ReadKeys};
use super::state::{State, Step};
use super::turn;
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::fork_lock::{self, ForkGuard};
use crate::pool::lock;
use crate::replies::Replies;
use crate::traffic::{self, Traffic};
use crate::transport::TcpTransport;
use crate::turn::Turn;
use crate::{counters, sys};

/// Waits after which signals are looked at although bytes keep coming.
const WAITS_PER_LOOK: usize = 256;

/// Raw bytes taken at once into a buffer that grows.
const RAW_BURST: usize = 1 << 18;

/// How a call reads.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecvFlags {
    /// MSG_PEEK: what is returned comes again.
    pub peek: bool,
    /// MSG_WAITALL: the call waits until its buffer is full.
    pub wait_all: bool,
    /// Other flags of recv(2), for a stream without keys.
    pub raw: u32,
}

/// What a call of [`RecvStream::recv_message`] says of the record that its bytes are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// The content type; in TLS 1.3 the inner one.
    pub content_type: u8,
    /// The version bytes of the record's header.
    pub version: [u8; 2],
    /// Bytes of its plaintext; None when this is not its beginning.
    pub record_len: Option<usize>,
    /// Its last byte was returned.
    pub is_end: bool,
}

/// The receive half of a connection.
pub struct RecvStream {
    transport: TcpTransport,
    turn: Turn,
    state: Mutex<State>,
    replies: OnceLock<Box<dyn Replies>>,
}

impl RecvStream {
    /// A stream without keys: bytes come as they are.
    #[must_use]
    pub fn new(transport: TcpTransport) -> Self {
        Self {
            transport,
            turn: Turn::default(),
            state: Mutex::new(State::new()),
            replies: OnceLock::new(),
        }
    }

    /// Opens everything that was not read yet with these keys.
    ///
    /// # Errors
    /// EALREADY when there are keys; EPERM.
    pub fn install(&self, new: NewReadKeys) -> Result<()> {
        let mut state = self.enter()?;
        if state.keys.is_some() {
            return Err(Error::ReadKeyInstalled);
        }
        state.keys = Some(ReadKeys::first(new));
        Ok(())
    }

    /// The same, and acts upon what the peer says about the connection: alerts, KeyUpdates, messages. `ahead`: what was
    /// taken off the socket before.
    ///
    /// # Errors
    /// As [`RecvStream::install`].
    pub fn take_over(
        &self,
        new: NewReadKeys,
        control: PeerControl,
        replies: Box<dyn Replies>,
        ahead: Vec<u8>,
    ) -> Result<()> {
        let mut state = self.enter()?;
        if state.keys.is_some() {
            return Err(Error::ReadKeyInstalled);
        }
        let _ = self.replies.set(replies);
        state.keys = Some(ReadKeys::first(new));
        state.control(control, ahead);
        Ok(())
    }

    /// Waits for the close_notify of the peer. What follows it stays on the socket.
    ///
    /// # Errors
    /// [`Error::DataBeforeCloseNotify`], and the data is still to be received; [`Error::NoCloseNotify`]; as
    /// [`RecvStream::recv_into`].
    pub fn await_close(&self, deadline: &mut Deadline<'_>) -> Result<()> {
        self.run(RecvFlags::default(), deadline, &mut |state| {
            state.await_close(&self.transport)
        })
    }

    /// Handshake messages for the library that made the handshake, oldest first.
    ///
    /// # Errors
    /// EPERM.
    pub fn take_messages(&self) -> Result<Vec<Vec<u8>>> {
        Ok(self.enter()?.take_messages())
    }

    /// Whether there are any.
    pub fn has_messages(&self) -> bool {
        self.enter().is_ok_and(|state| state.has_messages())
    }

    /// The peer is about to be asked for a KeyUpdate: its answer is none of those that it may send only so often.
    ///
    /// # Errors
    /// EPERM.
    pub fn expect_key_update(&self) -> Result<()> {
        self.enter()?.key_update_requested();
        Ok(())
    }

    /// The peer, a client, was asked for a certificate: one answer is expected.
    ///
    /// # Errors
    /// EPERM.
    pub fn expect_certificate(&self) -> Result<()> {
        self.enter()?.certificate_requested();
        Ok(())
    }

    /// Takes data back that a call has received and could not return: it comes again. For a stream with keys.
    ///
    /// # Errors
    /// EPERM.
    pub fn put_back(&self, data: &[u8]) -> Result<()> {
        self.enter()?.kept.put_back(data);
        Ok(())
    }

    /// The library of the handshake has refused a message: the connection is over, and what came behind that is for
    /// nobody.
    ///
    /// # Errors
    /// EPERM.
    pub fn end(&self) -> Result<()> {
        self.enter()?.end();
        Ok(())
    }

    /// Bytes of data that a call returns without looking at the socket.
    pub fn pending(&self) -> usize {
        self.enter().map_or(0, |state| state.data_at_hand())
    }

    /// Opens every record that was not opened yet with other keys.
    ///
    /// # Errors
    /// ENOTCONN before there are keys; EPERM.
    pub fn rekey(&self, new: NewReadKeys) -> Result<()> {
        let mut state = self.enter()?;
        state.keys.as_mut().ok_or(Error::NoKey)?.replace(new);
        state.resume();
        Ok(())
    }

    /// Whether records are opened.
    pub fn has_keys(&self) -> bool {
        self.enter().is_ok_and(|state| state.keys.is_some())
    }

    /// Number of the next record; None before there are keys.
    pub fn sequence(&self) -> Option<u64> {
        let state = self.enter().ok()?;
        state.keys.as_ref().map(|keys| keys.sequence)
    }

    /// What it has received under its keys. Nothing in a child of the process.
    pub fn traffic(&self) -> Traffic {
        self.enter()
            .map_or_else(|_| Traffic::default(), |state| state.traffic())
    }

    /// Bytes kept between calls: the beginning of a record, and data that was opened. 0: the connection owns no buffer.
    pub fn kept_size(&self) -> usize {
        self.enter().map_or(0, |state| state.kept_size())
    }

    /// SO_RCVLOWAT: a call waits for so many bytes of plaintext.
    ///
    /// # Errors
    /// EPERM.
    pub fn set_low_water(&self, len: usize) -> Result<()> {
        self.enter()?.low_water = len.max(1);
        Ok(())
    }

    /// The bytes that a call waits for.
    pub fn low_water(&self) -> usize {
        self.enter().map_or(1, |state| state.low_water)
    }

    /// Receives data into `buffer`; 0: the end of the stream, or of a buffer without room. What lies behind the
    /// returned bytes may have been overwritten with zeros.
    ///
    /// # Errors
    /// EAGAIN when it may not wait, [`Error::DeadlinePassed`], EINTR, EBADF, EPERM; whatever ended the connection, once;
    /// with keys also [`Error::RecordLost`] and [`Error::NotARecord`], once each, [`Error::Truncated`],
    /// [`Error::NotData`], [`Error::ReadKeyExpired`].
    pub fn recv_into(
        &self,
        buffer: &mut [u8],
        flags: RecvFlags,
        deadline: &mut Deadline<'_>,
    ) -> Result<usize> {
        let mut output = Output::Borrowed { buffer, filled: 0 };
        self.recv_data(&mut output, flags, deadline)?;
        Ok(output.filled().len())
    }

    /// The same into a buffer of its own, of at most `max` bytes.
    ///
    /// # Errors
    /// As [`RecvStream::recv_into`].
    pub fn recv(
        &self,
        max: usize,
        flags: RecvFlags,
        deadline: &mut Deadline<'_>,
    ) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut output = Output::Growing {
            bytes: &mut bytes,
            max,
        };
        self.recv_data(&mut output, flags, deadline)?;
        Ok(bytes)
    }

    /// Receives at most `max` bytes of one record, and says what it is; None at the end of the stream, and without
    /// keys. `takes_type`: the caller has room to say so, without which a record that is no data is an error.
    ///
    /// # Errors
    /// As [`RecvStream::recv_into`].
    pub fn recv_message(
        &self,
        max: usize,
        takes_type: bool,
        flags: RecvFlags,
        deadline: &mut Deadline<'_>,
    ) -> Result<(Vec<u8>, Option<Message>)> {
        let mut bytes = Vec::new();
        let mut message = None;
        self.run(flags, deadline, &mut |state| {
            if state.keys.is_none() {
                let mut output = Output::Growing {
                    bytes: &mut bytes,
                    max,
                };
                return self.take_raw(state, &mut output, flags);
            }
            let step = state.next_record(&self.transport)?;
            if step != Step::Done {
                return Ok(step);
            }
            let Some(Kept::Record(record)) = state.kept.front() else {
                return Ok(Step::Done);
            };
            if !takes_type && !record.is_data() {
                return Err(Error::NotData(record.content_type));
            }
            let rest = record.rest();
            let count = rest.len().min(max);
            bytes.extend_from_slice(&rest[..count]);
            message = Some(Message {
                content_type: record.content_type,
                version: state
                    .keys
                    .as_ref()
                    .map_or(Version::Tls12, |keys| keys.suite.version())
                    .wire(),
                record_len: (!record.is_begun).then_some(rest.len()),
                is_end: count == rest.len(),
            });
            if !flags.peek {
                state.kept.consume(count);
            }
            Ok(Step::Done)
        })?;
        Ok((bytes, message))
    }

    fn recv_data(
        &self,
        output: &mut Output<'_>,
        flags: RecvFlags,
        deadline: &mut Deadline<'_>,
    ) -> Result<()> {
        if output.size() == 0 {
            return self.transport.check_open();
        }
        let mut has_keys = false;
        let result = self.run(flags, deadline, &mut |state| {
            has_keys = state.keys.is_some();
            if !has_keys {
                return self.take_raw(state, output, flags);
            }
            let target = if flags.wait_all {
                output.size()
            } else {
                state.low_water.min(output.size())
            };
            if flags.peek {
                state.peek_data(&self.transport, output, target)
            } else {
                state.take_data(&self.transport, output, target)
            }
        });
        match result {
            Err(error) if !output.filled().is_empty() => {
                if !error.is_would_block() && !error.is_timed_out() {
                    // The call cannot return them: they come again.
                    if has_keys && !flags.peek {
                        self.enter()?.kept.put_back(output.filled());
                    }
                    return Err(error);
                }
                Ok(())
            }
            other => other,
        }
    }

    /// Takes bytes as they are.
    fn take_raw(
        &self,
        state: &mut State,
        output: &mut Output<'_>,
        flags: RecvFlags,
    ) -> Result<Step> {
        let mut socket_flags = SocketFlags::from_bits_retain(flags.raw);
        socket_flags.set(SocketFlags::PEEK, flags.peek);
        let room = output.room().min(RAW_BURST);
        let received = output.fill_with(room, |room| {
            let received = sys::receive(self.transport.socket(), room, socket_flags);
            (received.unwrap_or(0).min(room.len()), received)
        });
        if flags.raw == 0 && !flags.peek {
            state.note_raw_read(received);
        }
        match received {
            Ok(1..) if flags.wait_all && !flags.peek && output.room() > 0 => Ok(Step::Again),
            Ok(_) => Ok(Step::Done),
            Err(Errno::INTR) => Ok(Step::Again),
            Err(Errno::AGAIN) => Ok(Step::Wait),
            // What came before is returned first; the socket says it again.
            Err(_) if !output.filled().is_empty() => Ok(Step::Done),
            Err(errno) => Err(self.transport.reading_failed(errno)),
        }
    }

    /// Repeats a step until it is done; waits for the socket without any lock.
    fn run(
        &self,
        flags: RecvFlags,
        deadline: &mut Deadline<'_>,
        step: &mut dyn FnMut(&mut State) -> Result<Step>,
    ) -> Result<()> {
        let _turn = if deadline.is_blocking() {
            Some(turn::take(&self.turn, &self.transport, deadline)?)
        } else {
            None
        };
        let mut waits = 0;
        loop {
            self.transport.check_open()?;
            let (taken, replies, opening) = {
                let mut state = self.enter()?;
                // Other flags may ask for what no wait for data tells of (MSG_OOB, MSG_ERRQUEUE).
                let may_wait_first = deadline.is_blocking() && flags.raw == 0;
                let taken = if may_wait_first && state.is_dry() {
                    Ok(Step::Wait)
                } else {
                    step(&mut state)
                };
                (taken, state.take_replies(), state.opening.take())
            };
            self.reply(&replies);
            match taken? {
                Step::Done => return Ok(()),
                Step::Open => {
                    let opened = opening.map(|opening| opening.run());
                    if let (Some(opened), Some(keys)) = (opened, &mut self.enter()?.keys) {
                        keys.take_in(opened);
                    }
                }
                Step::Wait | Step::Again if !deadline.is_blocking() => {
                    return Err(Error::NothingReceived);
                }
                Step::Again => {
                    deadline.nap()?;
                    deadline.check_signals()?;
                }
                Step::Wait => {
                    waits += 1;
                    let nap = deadline.nap()?;
                    match sys::wait_readable(self.transport.socket().as_fd(), Some(nap)) {
                        Ok(true) if waits % WAITS_PER_LOOK != 0 => {}
                        Ok(_) | Err(Errno::INTR) => deadline.check_signals()?,
                        Err(errno) => return Err(self.transport.reading_failed(errno)),
                    }
                }
            }
        }
    }

    /// Says what is due, outside the state.
    pub(super) fn reply(&self, due: &[Reply]) {
        if let Some(replies) = self.replies.get() {
            for reply in due {
                reply.send(&**replies);
            }
        }
    }

    pub(super) fn transport(&self) -> &TcpTransport {
        &self.transport
    }

    /// Whether a thread waits for the socket.
    pub(super) fn is_awaited(&self) -> bool {
        self.turn.is_taken()
    }

    /// Comes in unless another thread forks or is inside.
    pub(super) fn try_enter(&self) -> Option<Entered<'_>> {
        let fork = fork_lock::try_shared()?;
        self.transport.check_process_inside(&fork).ok()?;
        let state = self.state.try_lock().ok()?;
        Some(Entered { state, _fork: fork })
    }

    /// Comes in: holds forks off, and the state. Never to be held while waiting for anything.
    pub(super) fn enter(&self) -> Result<Entered<'_>> {
        let fork = fork_lock::shared();
        self.transport.check_process_inside(&fork)?;
        Ok(Entered {
            state: lock(&self.state),
            _fork: fork,
        })
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        // What was inherited through a fork is counted by the parent.
        let Ok(state) = self.state.get_mut() else {
            return;
        };
        if state.keys.is_some() && self.transport.check_process().is_ok() {
            counters::ACTIVE.sub(1);
            traffic::RECEIVED.add(&state.traffic());
        }
    }
}

/// Inside a stream, with its state. The fields are dropped in order.
pub(super) struct Entered<'a> {
    state: MutexGuard<'a, State>,
    _fork: ForkGuard,
}

impl Deref for Entered<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Entered<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.state.fail();
        }
    }
}
