//! What the stages of the pipeline have in common: how they end together, what they hold at once, and how their time is
//! measured. Owns the first error; not the stages. Invariant: once an error is noted every stage ends at its next step,
//! and that error is the one that is reported.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use crate::error::IndexError;
use crate::progress::StopSignal;
use crate::report::StageSeconds;

/// Why a stage ended before its work was done.
#[derive(Debug)]
pub(super) enum Halt {
    /// Its own error.
    Failed(Box<IndexError>),
    /// Another stage ended first.
    Ended,
}

impl<E: Into<IndexError>> From<E> for Halt {
    fn from(error: E) -> Halt {
        Halt::Failed(Box::new(error.into()))
    }
}

/// What all stages share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The error that ended the pipeline.
    pub(super) first_error: FirstError,
    /// Chunks on their way: from when the reader hands one over until its part is written.
    pub(super) chunks: Held,
    /// Decoded pictures, until their embeddings are computed.
    pub(super) pictures: Held,
}

/// Counts what is held at once.
#[derive(Debug, Default)]
pub(super) struct Held {
    now: AtomicU64,
    most: AtomicU64,
}

impl Held {
    pub(super) fn add(&self, count: u64) {
        let now = self.now.fetch_add(count, Ordering::Relaxed) + count;
        self.most.fetch_max(now, Ordering::Relaxed);
    }

    /// Takes away what was added before.
    pub(super) fn remove(&self, count: u64) {
        self.now.fetch_sub(count, Ordering::Relaxed);
    }

    /// How many are held.
    #[cfg(test)]
    pub(super) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// The most that were held at once.
    pub(super) fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }
}

/// The error that ended the pipeline, if one did.
#[derive(Debug, Default)]
pub(super) struct FirstError {
    error: Mutex<Option<IndexError>>,
    is_set: AtomicBool,
}

impl FirstError {
    /// Runs a stage to its end and notes its error while the stage still holds its channels.
    pub(super) fn run<Stage>(&self, stage: Stage, watch: &mut StageWatch)
    where
        Stage: FnOnce(&mut StageWatch) -> Result<(), Halt>,
    {
        let result = stage(watch);
        self.note(result);
    }

    /// Notes a stage's error unless there is one; gives what the stage made.
    pub(super) fn note<T>(&self, result: Result<T, Halt>) -> Option<T> {
        match result {
            Ok(made) => Some(made),
            Err(Halt::Ended) => None,
            Err(Halt::Failed(error)) => {
                self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(*error);
                self.is_set.store(true, Ordering::Release);
                None
            }
        }
    }

    /// Ends the stage when another one failed or the run is stopped.
    pub(super) fn check(&self, stop: &StopSignal) -> Result<(), Halt> {
        if self.is_set.load(Ordering::Acquire) { Err(Halt::Ended) } else { Ok(stop.check()?) }
    }

    /// The error, once all stages ended.
    pub(super) fn take(&self) -> Result<(), IndexError> {
        match self.error.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// Measures how long a stage waits; the rest of its time it was busy.
#[derive(Debug)]
pub(super) struct StageWatch {
    start: Instant,
    input: Duration,
    room: Duration,
}

impl StageWatch {
    pub(super) fn start() -> StageWatch {
        StageWatch { start: Instant::now(), input: Duration::ZERO, room: Duration::ZERO }
    }

    /// The next message; `None` when the stage before has ended.
    pub(super) fn receive<T>(&mut self, channel: &Receiver<T>) -> Option<T> {
        let start = Instant::now();
        let message = channel.recv().ok();
        self.input += start.elapsed();
        message
    }

    /// Hands a message on, when there is room.
    pub(super) fn send<T>(&mut self, channel: &Sender<T>, message: T) -> Result<(), Halt> {
        let start = Instant::now();
        let sent = channel.send(message);
        self.room += start.elapsed();
        sent.map_err(|_| Halt::Ended)
    }

    pub(super) fn finish(&self) -> StageSeconds {
        let busy = self.start.elapsed().saturating_sub(self.input + self.room);
        StageSeconds {
            busy: busy.as_secs_f64(),
            waiting_for_input: self.input.as_secs_f64(),
            waiting_for_room: self.room.as_secs_f64(),
        }
    }
}
