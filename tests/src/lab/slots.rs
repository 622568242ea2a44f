//! How many labs a process has up at a time. Tests that need none run beside them, on as many threads as there are.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, PoisonError};

/// A lab shares nothing with another; more than this starve the software-emulated guests of a small machine.
const AT_A_TIME: usize = 2;

static FREE: Mutex<usize> = Mutex::new(AT_A_TIME);
static FREED: Condvar = Condvar::new();

thread_local! {
    static HERE: Cell<usize> = const { Cell::new(0) };
}

/// Leave to have a lab up, until it is dropped. A thread that has one gets as many as it asks for, since two that
/// waited for each other's would wait for ever.
#[derive(Debug)]
pub(super) struct Slot {
    counts: bool,
}

impl Slot {
    /// Waits for it.
    pub(super) fn wait() -> Slot {
        let before = HERE.replace(HERE.get() + 1);
        let counts = before == 0;
        if counts {
            let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
            while *free == 0 {
                free = FREED.wait(free).unwrap_or_else(PoisonError::into_inner);
            }
            *free -= 1;
        }
        Slot { counts }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Dropped by another thread, that one never had any.
        HERE.set(HERE.get().saturating_sub(1));
        if self.counts {
            *FREE.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            FREED.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_so_many_threads_have_one_and_each_has_as_many_as_it_likes() {
        let first = Slot::wait();
        let _again = Slot::wait();
        let _and_again = Slot::wait();
        let (ask, asked) = std::sync::mpsc::channel();
        let others: Vec<_> = (0..AT_A_TIME)
            .map(|_| {
                let ask = ask.clone();
                std::thread::spawn(move || {
                    let slot = Slot::wait();
                    ask.send(()).expect("somebody listens");
                    slot
                })
            })
            .collect();
        // All but one of them come in beside us; that one not before we leave.
        for _ in 1..AT_A_TIME {
            asked.recv().expect("a thread has one");
        }
        let while_all_are_taken = asked.recv_timeout(std::time::Duration::from_millis(200));
        assert!(while_all_are_taken.is_err());
        drop(first);
        asked.recv().expect("the last one has it now");
        for other in others {
            drop(other.join().expect("it ended"));
        }
    }
}
