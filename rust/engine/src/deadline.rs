//! How long a call may wait, and what ends the wait before: the only clock of a call.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// How long a wait sleeps before the waiting thread looks at the state and at signals again: the longest delay of a
/// signal handler, and of a change that nobody announced.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The time of one call, counted from its entry.
pub struct Deadline<'a> {
    call: &'static str,
    blocking: bool,
    until: Option<Instant>,
    check_signals: &'a mut dyn FnMut() -> bool,
}

impl<'a> Deadline<'a> {
    /// The call does not wait.
    pub fn nonblocking(check_signals: &'a mut dyn FnMut() -> bool) -> Self {
        Self {
            call: "socket",
            blocking: false,
            until: None,
            check_signals,
        }
    }

    /// The call waits until then; None: for ever. `check_signals` is asked whenever a signal came or a moment passed:
    /// true ends the wait with EINTR.
    pub fn until(until: Option<Instant>, check_signals: &'a mut dyn FnMut() -> bool) -> Self {
        Self {
            call: "socket",
            blocking: true,
            until,
            check_signals,
        }
    }

    /// The call waits for at most this long; None, or longer than any clock runs: for ever.
    pub fn within(timeout: Option<Duration>, check_signals: &'a mut dyn FnMut() -> bool) -> Self {
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Self::until(until, check_signals)
    }

    /// The same with the name of the call, for [`Error::DeadlinePassed`].
    #[must_use]
    pub fn of(self, call: &'static str) -> Self {
        Self { call, ..self }
    }

    /// Whether the call may wait.
    #[must_use]
    pub fn is_blocking(&self) -> bool {
        self.blocking
    }

    /// Whether the call waits as long as it takes.
    pub(crate) fn is_unlimited(&self) -> bool {
        self.blocking && self.until.is_none()
    }

    /// How long to sleep before looking again.
    ///
    /// # Errors
    /// [`Error::DeadlinePassed`] when the time is over.
    pub fn nap(&self) -> Result<Duration> {
        let Some(until) = self.until else {
            return Ok(LOOK_AGAIN);
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::DeadlinePassed {
                call: self.call,
                accepted: None,
            });
        }
        Ok(left.min(LOOK_AGAIN))
    }

    /// Runs the signal handlers that are due. To be called without any lock: a handler may call anything.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when one of them raised.
    pub fn check_signals(&mut self) -> Result<()> {
        if (self.check_signals)() {
            return Err(Error::Interrupted);
        }
        Ok(())
    }
}
