//! A bound on searches that run at once. Owns the waiting; not the searches. Invariant: never more permits out than
//! the bound, and a permit comes back even when its search panics.

use std::sync::{Condvar, Mutex, PoisonError};

/// Counts free permits.
#[derive(Debug)]
pub(super) struct Searches {
    free: Mutex<usize>,
    freed: Condvar,
}

/// Gives the permit back when dropped.
#[derive(Debug)]
pub(super) struct Permit<'a>(&'a Searches);

impl Searches {
    /// `bound` permits; at least one.
    pub(super) fn new(bound: usize) -> Searches {
        Searches { free: Mutex::new(bound.max(1)), freed: Condvar::new() }
    }

    /// Takes a permit, waiting for one where none is free.
    pub(super) fn start(&self) -> Permit<'_> {
        // The lock guards a counter that no panic can leave half changed, so poison means nothing.
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Permit(self)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn never_more_than_the_bound() {
        let searches = Searches::new(2);
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _permit = searches.start();
                        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        running.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!((1..=2).contains(&most.into_inner()));
    }
}
