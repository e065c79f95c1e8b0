//! What is shown while a run goes on: a bar per stage on a terminal. Owns the bars; log lines are `logging.rs`'.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indexer::Progress;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::logging::{CurrentStage, Log};

/// A bar per stage.
pub(crate) struct StageBars {
    bars: MultiProgress,
    stage: CurrentStage,
    current: Mutex<Option<StageBar>>,
}

/// The running stage's bar, and what was computed in it.
struct StageBar {
    bar: ProgressBar,
    start: Instant,
    tokens: u64,
    pictures: u64,
}

impl StageBars {
    pub(crate) fn new(log: &Log) -> StageBars {
        StageBars { bars: log.bars.clone(), stage: log.stage.clone(), current: Mutex::new(None) }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Option<StageBar>> {
        // A panic while drawing leaves a bar that can still be used.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for StageBars {
    fn enter(&self, stage: &'static str) {
        self.stage.set(stage);
    }

    fn begin(&self, stage: &'static str, total: Option<u64>) {
        let (bar, template) = match total {
            Some(total) => (
                ProgressBar::new(total),
                "{prefix:>8} {wide_bar} {human_pos}/{human_len} items {per_sec}{msg} eta {eta}",
            ),
            None => (ProgressBar::new_spinner(), "{prefix:>8} {spinner} {human_pos} {elapsed}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let bar = self.bars.add(bar).with_prefix(stage);
        bar.enable_steady_tick(Duration::from_millis(200));
        *self.current() = Some(StageBar { bar, start: Instant::now(), tokens: 0, pictures: 0 });
    }

    fn advance(&self, steps: u64) {
        if let Some(stage) = self.current().as_ref() {
            stage.bar.inc(steps);
        }
    }

    fn computed(&self, tokens: u64, pictures: u64) {
        if let Some(stage) = self.current().as_mut() {
            stage.tokens += tokens;
            stage.pictures += pictures;
            stage.bar.set_message(speeds(stage.tokens, stage.pictures, stage.start.elapsed()));
        }
    }

    fn end(&self) {
        if let Some(stage) = self.current().take() {
            stage.bar.finish();
        }
    }
}

/// `, 5120 tokens/s, 31 pictures/s`, without what nothing was computed of.
fn speeds(tokens: u64, pictures: u64, elapsed: Duration) -> String {
    let speed = |count: u64, what: &str| match count {
        0 => String::new(),
        _ => format!(", {:.0} {what}/s", count as f64 / elapsed.as_secs_f64().max(0.001)),
    };
    speed(tokens, "tokens") + &speed(pictures, "pictures")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_name_what_was_computed() {
        let second = Duration::from_secs(2);
        assert_eq!(speeds(10_240, 62, second), ", 5120 tokens/s, 31 pictures/s");
        assert_eq!(speeds(0, 62, second), ", 31 pictures/s");
        assert_eq!(speeds(0, 0, Duration::ZERO), "");
    }
}
