//! The sleep and the wake-up of a worker under every interleaving of a few threads, and every order that the memory
//! model lets them see each other's steps in.
//!
//! The protocol is the engine's own file; queue and poller are small models of `pool/worker.rs` and of an eventfd.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::collections::VecDeque;

use loom::sync::atomic;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

#[path = "../src/pool/parking.rs"]
mod parking;

use parking::Parking;

/// What a worker sleeps in: it keeps a wake-up until it is taken.
struct Poller {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Poller {
    fn wake(&self) {
        *self.woken.lock().unwrap() = true;
        self.changed.notify_one();
    }

    /// A model in which this never returns is one in which all threads wait: that fails the test.
    fn sleep(&self) {
        let mut woken = self.woken.lock().unwrap();
        while !*woken {
            woken = self.changed.wait(woken).unwrap();
        }
        *woken = false;
    }
}

struct Worker {
    turns: Mutex<VecDeque<u32>>,
    parking: Parking,
    poller: Poller,
}

impl Worker {
    fn new() -> Self {
        Self {
            turns: Mutex::new(VecDeque::new()),
            parking: Parking::new(),
            poller: Poller {
                woken: Mutex::new(false),
                changed: Condvar::new(),
            },
        }
    }

    fn push(&self, turn: u32) {
        self.turns.lock().unwrap().push_back(turn);
        if self.parking.note_queued() {
            self.poller.wake();
        }
    }

    fn pop(&self) -> Option<u32> {
        if !self.parking.has_queued() {
            return None;
        }
        let turn = self.turns.lock().unwrap().pop_front()?;
        self.parking.note_taken();
        Some(turn)
    }

    /// Works until so many turns were had.
    fn run(&self, count: u32) -> u32 {
        let (mut turns, mut sum) = (0, 0);
        loop {
            while let Some(turn) = self.pop() {
                turns += 1;
                sum += turn;
            }
            if turns == count {
                return sum;
            }
            if self.parking.park() {
                self.poller.sleep();
            }
            self.parking.unpark();
        }
    }
}

fn explore(pushes: &'static [&'static [u32]]) {
    let mut model = loom::model::Builder::new();
    // More switches against the will of a thread find nothing new here and take hours.
    model.preemption_bound = Some(3);
    model.check(move || {
        let worker = Arc::new(Worker::new());
        let pushers: Vec<_> = pushes
            .iter()
            .map(|turns| {
                let worker = Arc::clone(&worker);
                thread::spawn(move || turns.iter().for_each(|turn| worker.push(*turn)))
            })
            .collect();
        let all = pushes.iter().flat_map(|turns| turns.iter());
        let count = u32::try_from(all.clone().count()).unwrap();
        assert_eq!(worker.run(count), all.sum::<u32>());
        for pusher in pushers {
            pusher.join().unwrap();
        }
        assert!(!worker.parking.has_queued());
    });
}

#[test]
fn a_turn_is_never_slept_through() {
    explore(&[&[1]]);
}

#[test]
fn a_second_turn_of_the_same_thread_is_not_either() {
    explore(&[&[1, 2]]);
}

#[test]
fn turns_of_two_threads_are_not_either() {
    explore(&[&[1], &[2]]);
}
