//! The life of a connection's send side: what it still accepts, and what its end still owes.
//!
//! | phase | a write | `shutdown_write` | `close` | drained | a failure |
//! |---|---|---|---|---|---|
//! | Open | is accepted | -> Draining | -> Draining | stays | -> Failed |
//! | Draining | EPIPE | stays | stays | FIN, -> Finished | -> Failed |
//! | Finished | EPIPE | stays | stays | stays | -> Failed |
//! | Failed | its cause once, then EPIPE | the same | stays | stays | stays |
//!
//! `close` is no phase: it takes the program's word away (every later call is EBADF), and what was accepted drains in
//! whatever phase the stream is in. `release` ends all duties: the transport goes on without the stream.

use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, Result};

#[derive(Clone, Debug)]
enum Phase {
    Open,
    Draining,
    Finished,
    Failed { cause: Error, raised: bool },
}

/// When a closed stream last made progress.
#[derive(Clone, Copy, Debug)]
struct Progress {
    wire_sent: u64,
    since: Instant,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Lifecycle {
    phase: Phase,
    closed: bool,
    /// The transport has had a peer.
    connected: bool,
    /// close_notify or an error alert was said, by either side: no data follows it.
    data_ended: bool,
    /// It was the peer that ended the connection, with this alert.
    peer_alert: Option<u8>,
    progress: Option<Progress>,
}

impl Lifecycle {
    pub(super) fn new(connected: bool) -> Self {
        Self {
            phase: Phase::Open,
            closed: false,
            connected,
            data_ended: false,
            peer_alert: None,
            progress: None,
        }
    }

    /// Raises what keeps a call from being done: the close of this program, a failure (once, then EPIPE), the end of
    /// the write side.
    #[inline]
    pub(super) fn check(&mut self) -> Result<()> {
        if self.is_open() {
            return Ok(());
        }
        self.raise()
    }

    #[cold]
    fn raise(&mut self) -> Result<()> {
        if self.closed {
            return Err(Error::Closed);
        }
        match &mut self.phase {
            Phase::Open if self.data_ended => {
                Err(self.peer_alert.map_or(Error::DataEnded, Error::PeerAlert))
            }
            Phase::Open => Ok(()),
            Phase::Draining | Phase::Finished => Err(Error::ShutDown),
            Phase::Failed { cause, raised } => {
                let error = if *raised {
                    Error::Failed(Arc::new(cause.clone()))
                } else {
                    cause.clone()
                };
                *raised = true;
                Err(error)
            }
        }
    }

    /// What ended the connection while a call waited: each of several that wait is told the cause.
    pub(super) fn raise_to_waiter(&mut self) -> Option<Error> {
        match &mut self.phase {
            Phase::Failed { cause, raised } if !self.closed => {
                *raised = true;
                Some(cause.clone())
            }
            _ => None,
        }
    }

    /// The same as [`Lifecycle::check`] for a call that waits for what was accepted: it may go on after the end of the write side.
    pub(super) fn check_drain(&mut self) -> Result<()> {
        match self.check() {
            Err(Error::ShutDown | Error::DataEnded | Error::PeerAlert(_)) => Ok(()),
            other => other,
        }
    }

    /// The same for a message of the TLS library, which may follow the end of the data.
    pub(super) fn check_message(&mut self) -> Result<()> {
        match self.check() {
            Err(Error::DataEnded | Error::PeerAlert(_)) => Ok(()),
            other => other,
        }
    }

    /// No data follows any more.
    pub(super) fn end_data(&mut self) {
        self.data_ended = true;
    }

    /// The peer has ended the connection with an error alert.
    pub(super) fn end_data_by_peer(&mut self, description: u8) {
        self.data_ended = true;
        self.peer_alert = Some(description);
    }

    /// Whether [`Lifecycle::check`] would raise nothing.
    pub(super) fn is_open(&self) -> bool {
        !self.closed && !self.data_ended && matches!(self.phase, Phase::Open)
    }

    /// Differs after every step of this life: a wait ends with it.
    pub(super) fn stamp(&self) -> (bool, u8) {
        let phase = match self.phase {
            Phase::Open => 0,
            Phase::Draining => 1,
            Phase::Finished => 2,
            Phase::Failed { .. } => 3,
        };
        (self.closed || self.data_ended, phase)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected
    }

    pub(super) fn note_connected(&mut self) {
        self.connected = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(self.phase, Phase::Failed { .. })
    }

    /// Whether nothing more is accepted, and what was accepted is still to be followed by FIN.
    pub(super) fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining)
    }

    /// The write side ends after what was accepted.
    pub(super) fn shut_down(&mut self) {
        if matches!(self.phase, Phase::Open) {
            self.phase = Phase::Draining;
        }
    }

    /// This program has said its last word. Returns whether it had not before.
    pub(super) fn close(&mut self) -> bool {
        self.shut_down();
        !core::mem::replace(&mut self.closed, true)
    }

    /// Everything was sent. Returns whether FIN is due.
    pub(super) fn finish(&mut self) -> bool {
        let due = self.is_draining();
        if due {
            self.phase = Phase::Finished;
        }
        due
    }

    /// The transport goes on without this stream.
    pub(super) fn release(&mut self) {
        self.phase = Phase::Finished;
        self.closed = true;
    }

    /// The connection has failed. Returns whether it had not before: the first cause is the one that is raised.
    pub(super) fn fail(&mut self, cause: Error) -> bool {
        if self.has_failed() {
            return false;
        }
        self.phase = Phase::Failed {
            cause,
            raised: false,
        };
        true
    }

    /// Takes the cause as known to the program, which made it.
    pub(super) fn mark_raised(&mut self) {
        if let Phase::Failed { raised, .. } = &mut self.phase {
            *raised = true;
        }
    }

    /// Since when a closed stream has made no progress; None: it has made some, or was not closed.
    pub(super) fn stalled_since(&mut self, wire_sent: u64, now: Instant) -> Option<Instant> {
        if !self.closed {
            return None;
        }
        match self.progress {
            Some(progress) if progress.wire_sent == wire_sent => Some(progress.since),
            _ => {
                self.progress = Some(Progress {
                    wire_sent,
                    since: now,
                });
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, Instant, Lifecycle};
    use std::time::Duration;

    fn failed() -> Lifecycle {
        let mut life = Lifecycle::new(true);
        assert!(life.fail(Error::Aborted));
        life
    }

    #[test]
    fn an_open_stream_takes_calls_until_it_is_shut_down() {
        let mut life = Lifecycle::new(true);
        life.check().expect("open");
        assert!(!life.finish(), "nobody asked for FIN");
        life.shut_down();
        assert!(matches!(life.check(), Err(Error::ShutDown)));
        life.check_drain().expect("waiting for the drain goes on");
        assert!(life.is_draining());
    }

    #[test]
    fn fin_is_due_once() {
        let mut life = Lifecycle::new(true);
        life.shut_down();
        assert!(life.finish());
        assert!(!life.finish());
        life.shut_down();
        assert!(!life.is_draining(), "finished stays finished");
    }

    #[test]
    fn close_is_said_once_and_wins_over_everything() {
        let mut life = failed();
        assert!(life.close());
        assert!(!life.close());
        assert!(matches!(life.check(), Err(Error::Closed)));
        assert!(matches!(life.check_drain(), Err(Error::Closed)));
    }

    #[test]
    fn close_of_an_open_stream_owes_fin() {
        let mut life = Lifecycle::new(true);
        life.close();
        assert!(life.finish());
    }

    #[test]
    fn a_cause_is_raised_once_then_epipe() {
        let mut life = failed();
        assert!(matches!(life.check(), Err(Error::Aborted)));
        assert!(matches!(life.check(), Err(Error::Failed(_))));
        assert!(!life.fail(Error::Closed), "the first cause stays");
        assert!(matches!(life.check_drain(), Err(Error::Failed(_))));
        assert!(!life.finish(), "no FIN after a failure");
    }

    #[test]
    fn a_cause_that_the_program_made_is_not_raised() {
        let mut life = failed();
        life.mark_raised();
        assert!(matches!(life.check(), Err(Error::Failed(_))));
    }

    #[test]
    fn a_released_stream_owes_nothing() {
        let mut life = Lifecycle::new(true);
        life.release();
        assert!(matches!(life.check(), Err(Error::Closed)));
        assert!(!life.finish());
    }

    #[test]
    fn messages_may_follow_the_end_of_the_data() {
        let mut life = Lifecycle::new(true);
        life.end_data();
        assert!(matches!(life.check(), Err(Error::DataEnded)));
        life.check_message().expect("an alert may");
        life.check_drain().expect("so may a flush");
        life.end_data_by_peer(40);
        assert!(matches!(life.check(), Err(Error::PeerAlert(_))));
        life.check_message().expect("an alert may");
        life.check_drain().expect("so may a flush");
        life.shut_down();
        assert!(matches!(life.check_message(), Err(Error::ShutDown)));
    }

    #[test]
    fn only_a_closed_stream_without_progress_is_stalled() {
        let mut life = Lifecycle::new(true);
        let start = Instant::now();
        let later = start + Duration::from_secs(5);
        assert_eq!(life.stalled_since(0, start), None);
        assert_eq!(life.stalled_since(0, later), None, "not closed");
        life.close();
        assert_eq!(life.stalled_since(7, start), None, "the first look");
        assert_eq!(life.stalled_since(7, later), Some(start));
        assert_eq!(life.stalled_since(8, later), None, "a byte left");
    }
}
