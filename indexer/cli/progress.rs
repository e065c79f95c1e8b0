//! What is shown while a run goes on: a bar per stage on a terminal. Owns the bars; log lines are `logging.rs`', speeds and
//! remaining time are `pace.rs`'.

use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indexer::Progress;
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use crate::logging::{CurrentStage, Log};
use crate::pace::StageCounts;

/// A bar per stage.
pub(crate) struct StageBars {
    bars: MultiProgress,
    stage: CurrentStage,
    current: Mutex<Option<StageBar>>,
}

/// The running stage's bar, and what was counted in it.
struct StageBar {
    bar: ProgressBar,
    start: Instant,
    /// Never locked while the bar is told something: drawing it locks them.
    counts: Arc<Mutex<StageCounts>>,
}

impl StageBars {
    pub(crate) fn new(log: &Log) -> StageBars {
        StageBars { bars: log.bars.clone(), stage: log.stage.clone(), current: Mutex::new(None) }
    }

    /// Counts something of the running stage, after so much of its time.
    fn count(&self, count: impl FnOnce(&mut StageCounts, Duration)) {
        if let Some(StageBar { start, counts, .. }) = locked(&self.current).as_ref() {
            count(&mut locked(counts), start.elapsed());
        }
    }
}

/// A panic while drawing leaves a bar and counts that can still be used.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Progress for StageBars {
    fn enter(&self, stage: &'static str) {
        self.stage.set(stage);
    }

    fn begin(&self, stage: &'static str, total: Option<u64>) {
        let (bar, template) = match total {
            Some(total) => (ProgressBar::new(total), "{prefix:>8} {wide_bar} {human_pos}/{human_len} items{pace}"),
            None => (ProgressBar::new_spinner(), "{prefix:>8} {spinner} {human_pos} {elapsed}{pace}"),
        };
        let (start, counts) = (Instant::now(), Arc::new(Mutex::new(StageCounts::new(total))));
        if let Ok(style) = ProgressStyle::with_template(template) {
            let counts = Arc::clone(&counts);
            // Computed whenever the bar is drawn, so that it goes on between two messages of the pipeline.
            bar.set_style(style.with_key("pace", move |_: &ProgressState, out: &mut dyn Write| {
                // A bar that cannot be drawn is no error of the run.
                let _ = write!(out, "{}", locked(&counts).pace(start.elapsed()));
            }));
        }
        let bar = self.bars.add(bar).with_prefix(stage);
        bar.enable_steady_tick(Duration::from_millis(200));
        *locked(&self.current) = Some(StageBar { bar, start, counts });
    }

    fn compared(&self, items: u64, kept: u64) {
        self.count(|counts, elapsed| counts.compare(items, kept, elapsed));
    }

    fn advance(&self, steps: u64) {
        self.count(|counts, _| counts.advance(steps));
        if let Some(StageBar { bar, .. }) = locked(&self.current).as_ref() {
            bar.inc(steps);
        }
    }

    fn computed(&self, tokens: u64, pictures: u64) {
        self.count(|counts, _| counts.compute(tokens, pictures));
    }

    fn end(&self) {
        if let Some(stage) = locked(&self.current).take() {
            stage.bar.finish();
        }
    }
}
