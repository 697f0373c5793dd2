//! Whose turn it is: a lock that a thread holds across waits and calls of Python, and that its own signal handlers can
//! see, which go in. It knows nothing of what it is the turn for; who holds it gives it back by a guard of its own.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::pool::lock;

/// See the head of this file.
#[derive(Debug, Default)]
pub struct Turn {
    place: Mutex<Place>,
    given_back: Condvar,
}

#[derive(Debug, Default)]
struct Place {
    holder: Option<ThreadId>,
    /// Threads asleep until it is given back: telling nobody is a system call all the same.
    waiting: usize,
}

impl Turn {
    /// Takes the turn without waiting. True: it is to be given back; false: it is this thread's already, or there is no
    /// need for it any more; None: another thread has it.
    pub fn try_take(&self, is_needless: impl Fn() -> bool) -> Option<bool> {
        self.look(&mut self.place(), &is_needless)
    }

    /// Waits for the turn, for which `check` is asked before each look; the result is that of [`Turn::try_take`].
    ///
    /// # Errors
    /// EAGAIN when it may not wait, [`Error::DeadlinePassed`], EINTR, or what `check` says.
    pub fn take(
        &self,
        check: impl Fn() -> Result<()>,
        is_needless: impl Fn() -> bool,
        deadline: &mut Deadline<'_>,
    ) -> Result<bool> {
        loop {
            check()?;
            let mut place = self.place();
            if let Some(is_holder) = self.look(&mut place, &is_needless) {
                return Ok(is_holder);
            }
            if !deadline.is_blocking() {
                return Err(Error::WouldBlock);
            }
            let nap = deadline.nap()?;
            place.waiting += 1;
            let (mut place, _) = self
                .given_back
                .wait_timeout(place, nap)
                .unwrap_or_else(PoisonError::into_inner);
            place.waiting -= 1;
            drop(place);
            deadline.check_signals()?;
        }
    }

    /// Gives back what was taken, by the thread that took it.
    pub fn give_back(&self) {
        let mut place = self.place();
        place.holder = None;
        let is_awaited = place.waiting > 0;
        drop(place);
        if is_awaited {
            self.given_back.notify_one();
        }
    }

    /// Whether a thread has it.
    pub fn is_taken(&self) -> bool {
        self.place().holder.is_some()
    }

    fn look(&self, place: &mut Place, is_needless: &impl Fn() -> bool) -> Option<bool> {
        let this_thread = std::thread::current().id();
        match place.holder {
            _ if is_needless() => {
                // Whoever else waits may have been passed over.
                self.given_back.notify_one();
                Some(false)
            }
            None => {
                place.holder = Some(this_thread);
                Some(true)
            }
            Some(other) => (other == this_thread).then_some(false),
        }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        lock(&self.place)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Instant;

    use super::Turn;
    use crate::deadline::{Deadline, LOOK_AGAIN};

    fn take(turn: &Turn) -> bool {
        let mut never = || false;
        turn.take(|| Ok(()), || false, &mut Deadline::until(None, &mut never))
            .expect("nothing ends the wait")
    }

    /// A busy machine may disturb a round; a turn that nobody is told of spoils each.
    #[test]
    fn who_waits_is_told() {
        let turn = Turn::default();
        let round = || {
            assert!(take(&turn));
            thread::scope(|scope| {
                let waiting = scope.spawn(|| {
                    let begin = Instant::now();
                    assert!(take(&turn));
                    turn.give_back();
                    begin.elapsed()
                });
                while turn.place().waiting == 0 {
                    thread::yield_now();
                }
                turn.give_back();
                waiting.join().expect("no panic") < LOOK_AGAIN
            })
        };
        assert!((0..8).any(|_| round()));
        assert_eq!(turn.place().waiting, 0);
        assert!(!turn.is_taken());
    }

    #[test]
    fn a_handler_goes_into_the_turn_of_its_thread() {
        let turn = Turn::default();
        assert_eq!(turn.try_take(|| false), Some(true));
        assert_eq!(
            turn.try_take(|| false),
            Some(false),
            "it gives nothing back"
        );
        assert!(turn.is_taken());
        turn.give_back();
        assert!(!turn.is_taken());
    }
}
