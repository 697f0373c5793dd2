//! Receiving what lies ready in a call that must not wait for anything: its caller holds the interpreter, which every
//! thread of the program wants.

use super::output::Output;
use super::state::Step;
use super::stream::RecvStream;
use crate::error::{Error, Result};
use crate::fork_lock;

impl RecvStream {
    /// As [`RecvStream::recv_into`] for what lies ready. None: the ordinary call has to be made, which waits first where
    /// this one found nothing. `may_wait`: it will; otherwise finding nothing is the same error.
    pub fn recv_into_at_once(&self, buffer: &mut [u8], may_wait: bool) -> Option<Result<usize>> {
        let mut output = Output::Borrowed { buffer, filled: 0 };
        let received = self.take_at_once(&mut output, may_wait)?;
        Some(received.map(|()| output.filled().len()))
    }

    /// The same into a buffer of its own, of at most `max` bytes.
    pub fn recv_at_once(&self, max: usize, may_wait: bool) -> Option<Result<Vec<u8>>> {
        let mut bytes = Vec::new();
        let mut output = Output::Growing {
            bytes: &mut bytes,
            max,
        };
        let received = self.take_at_once(&mut output, may_wait)?;
        Some(received.map(|()| bytes))
    }

    fn take_at_once(&self, output: &mut Output<'_>, may_wait: bool) -> Option<Result<()>> {
        // A forking thread holds the lock alone, and may need the interpreter to let go; held for the replies, too.
        let _fork = fork_lock::try_shared()?;
        self.transport().check_open().ok()?;
        // A reader with a turn may want more than one step, with nobody in between.
        if output.size() == 0 || may_wait && self.is_awaited() {
            return None;
        }
        let mut state = self.try_enter()?;
        let may_wait_for_others = state.keys.as_ref().is_none_or(|keys| keys.may_wait());
        if may_wait_for_others || state.low_water > 1 {
            return None;
        }
        if may_wait && state.is_dry() {
            state.wait_next();
            return None;
        }
        let step = state.take_data(self.transport(), output, 1);
        let filled = output.filled();
        let outcome = match step {
            Ok(Step::Done) => Some(Ok(())),
            Ok(Step::Again | Step::Wait) if !filled.is_empty() => Some(Ok(())),
            Ok(Step::Again | Step::Wait) if !may_wait => Some(Err(Error::NothingReceived)),
            Ok(Step::Again | Step::Open) => None,
            Ok(Step::Wait) => {
                state.wait_next();
                None
            }
            Err(error) => {
                state.kept.put_back(filled);
                Some(Err(error))
            }
        };
        let replies = state.take_replies();
        drop(state);
        self.reply(&replies);
        outcome
    }
}
