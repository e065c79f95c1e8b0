//! What a run tells while it goes on, and how it is told to stop. Owns the two traits of talk; not how it is shown.
//! Invariant: a run behaves the same whoever listens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::IndexError;

/// Listens to a run's progress. All methods have empty defaults.
pub trait Progress: Send + Sync {
    /// A stage of the run begins, whether or not it has steps to tell of.
    fn enter(&self, stage: &'static str) {
        let _ = stage;
    }

    /// Steps of a stage begin; `total` counts them where known.
    fn begin(&self, stage: &'static str, total: Option<u64>) {
        let _ = (stage, total);
    }

    /// Items of the current stage were compared with what earlier runs left; `kept` of them need no work (an item of
    /// which a part is kept counts by its share). They are done when [`Progress::advance`] says so.
    fn compared(&self, items: u64, kept: u64) {
        let _ = (items, kept);
    }

    /// Steps of the current stage are done.
    fn advance(&self, steps: u64) {
        let _ = steps;
    }

    /// Tokens and pictures of the current stage were computed by a device.
    fn computed(&self, tokens: u64, pictures: u64) {
        let _ = (tokens, pictures);
    }

    /// The current stage is done.
    fn end(&self) {}
}

/// Listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}

/// Set by a signal handler, looked at between batches.
#[derive(Clone, Debug, Default)]
pub struct StopSignal(Arc<AtomicBool>);

impl StopSignal {
    /// The flag itself, for a signal handler to set.
    #[must_use]
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// An error once the flag is set.
    ///
    /// # Errors
    /// [`IndexError::Stopped`].
    pub fn check(&self) -> Result<(), IndexError> {
        if self.0.load(Ordering::Relaxed) { Err(IndexError::Stopped) } else { Ok(()) }
    }
}
