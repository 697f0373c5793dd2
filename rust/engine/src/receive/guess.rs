//! Whether a reader that may wait reads first or waits first, when the socket was empty after the last read.
//!
//! | the last read without a wait | the next call |
//! |---|---|
//! | found something | reads: one system call where bytes lie there |
//! | found nothing | waits: two where they do not, not three; every 16th call reads |

/// Calls that wait first, one after another.
const WAITS: u8 = 15;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Guess {
    was_in_vain: bool,
    waits: u8,
    /// The next read follows a wait, and says nothing of what it would have found without.
    has_waited: bool,
}

impl Guess {
    /// Whether the call waits before it reads.
    pub(super) fn waits_first(&mut self) -> bool {
        self.has_waited = self.was_in_vain && self.waits < WAITS;
        self.waits = if self.has_waited { self.waits + 1 } else { 0 };
        self.has_waited
    }

    /// The socket was read. A call that found nothing waits.
    pub(super) fn note_read(&mut self, found: bool) {
        if !found {
            self.was_in_vain = true;
            self.has_waited = true;
        } else if !core::mem::take(&mut self.has_waited) {
            self.was_in_vain = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Guess, WAITS};

    #[test]
    fn reads_first_where_bytes_lie_there() {
        let mut guess = Guess::default();
        for _ in 0..100 {
            assert!(!guess.waits_first());
            guess.note_read(true);
        }
    }

    #[test]
    fn waits_first_where_none_do_and_tries_again_now_and_then() {
        let mut guess = Guess::default();
        guess.note_read(false);
        guess.note_read(true);
        for _ in 0..3 {
            for _ in 0..WAITS {
                assert!(guess.waits_first());
                guess.note_read(true);
            }
            assert!(!guess.waits_first());
            guess.note_read(false);
            guess.note_read(true);
        }
    }

    #[test]
    fn goes_back_to_reading_when_a_try_finds_something() {
        let mut guess = Guess::default();
        guess.note_read(false);
        guess.note_read(true);
        while guess.waits_first() {
            guess.note_read(true);
        }
        guess.note_read(true);
        assert!(!guess.waits_first());
    }

    #[test]
    fn a_wait_that_ends_without_anything_is_still_a_wait() {
        let mut guess = Guess::default();
        guess.note_read(false);
        guess.note_read(false);
        guess.note_read(true);
        assert!(guess.waits_first());
        guess.note_read(false);
        guess.note_read(true);
        assert!(guess.waits_first());
    }
}
