//! How fast a stage goes and when it will be done. Owns the arithmetic and its words; not the bar, and no clock: what is
//! counted and the time that went by come from outside. Invariants: what was kept of an earlier run takes part in no
//! speed; no speed and no time is shown that cannot be computed.

use std::fmt;
use std::time::Duration;

use indicatif::HumanDuration;

/// What was counted of a stage since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct StageCounts {
    /// Items of the whole stage, where known.
    total: Option<u64>,
    /// Items that are done, with those that were kept.
    done: u64,
    /// Items that need no work, as their embeddings are kept.
    kept: u64,
    /// Items of which is known whether they are kept.
    compared: u64,
    /// The latest of them, older ones counting ever less, and how many of these are kept.
    latest: (f64, f64),
    tokens: u64,
    pictures: u64,
    /// When work began, counted from the stage's start: items that were kept before are not waited for again.
    work_begins: Duration,
}

/// Speeds, and the time that is left.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Pace {
    /// Items that were worked on, by the second.
    pub(crate) items_per_second: Option<f64>,
    /// Tokens computed, by the second; `None` when there were none.
    pub(crate) tokens_per_second: Option<f64>,
    /// Pictures computed, by the second; `None` when there were none.
    pub(crate) pictures_per_second: Option<f64>,
    /// Time until the stage is done.
    pub(crate) remaining: Option<Duration>,
}

impl StageCounts {
    pub(crate) fn new(total: Option<u64>) -> StageCounts {
        StageCounts { total, ..StageCounts::default() }
    }

    /// Items were compared with what earlier runs left; `kept` of them need no work.
    pub(crate) fn compare(&mut self, items: u64, kept: u64, elapsed: Duration) {
        self.compared += items;
        self.kept += kept;
        self.latest = (self.latest.0 / 2.0 + items as f64, self.latest.1 / 2.0 + kept as f64);
        if self.kept == self.compared && self.tokens + self.pictures == 0 {
            self.work_begins = elapsed;
        }
    }

    pub(crate) fn advance(&mut self, items: u64) {
        self.done += items;
    }

    pub(crate) fn compute(&mut self, tokens: u64, pictures: u64) {
        self.tokens += tokens;
        self.pictures += pictures;
    }

    /// The pace when so much time has gone by since the stage's start.
    pub(crate) fn pace(&self, elapsed: Duration) -> Pace {
        let working = elapsed.saturating_sub(self.work_begins);
        let items_per_second = speed(self.done.saturating_sub(self.kept), working);
        Pace {
            items_per_second,
            tokens_per_second: speed(self.tokens, working),
            pictures_per_second: speed(self.pictures, working),
            remaining: self.remaining(items_per_second, elapsed),
        }
    }

    /// What is not compared yet is taken to need as much work as the latest items that were.
    fn remaining(&self, items_per_second: Option<f64>, elapsed: Duration) -> Option<Duration> {
        let total = self.total?;
        let pending = self.compared.saturating_sub(self.done);
        let unknown = total.saturating_sub(self.compared.max(self.done));
        let (latest, latest_kept) = self.latest;
        let share_of_work = if latest > 0.0 { 1.0 - latest_kept / latest } else { 1.0 };
        let work = pending as f64 + unknown as f64 * share_of_work;
        let seconds = if work > 0.0 {
            work / items_per_second?
        } else {
            // Nothing but comparing is left to do.
            unknown as f64 / speed(self.done, elapsed)?
        };
        Duration::try_from_secs_f64(seconds).ok()
    }
}

fn speed(count: u64, elapsed: Duration) -> Option<f64> {
    (count > 0 && !elapsed.is_zero()).then(|| count as f64 / elapsed.as_secs_f64())
}

/// `, 3.5 items/s, 5120 tokens/s, 31 pictures/s, eta 2 minutes`, without what is not known.
impl fmt::Display for Pace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let speeds = [
            (self.items_per_second, "items"),
            (self.tokens_per_second, "tokens"),
            (self.pictures_per_second, "pictures"),
        ];
        for (speed, what) in speeds {
            match speed {
                Some(speed) if speed < 10.0 => write!(out, ", {speed:.1} {what}/s")?,
                Some(speed) => write!(out, ", {speed:.0} {what}/s")?,
                None => {}
            }
        }
        match self.remaining {
            Some(remaining) if !remaining.is_zero() => write!(out, ", eta {}", HumanDuration(remaining)),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Counts of an encode stage after chunks of so many items, of which so many are kept, were compared and done.
    fn after(total: u64, chunks: &[(u64, u64, Duration)]) -> StageCounts {
        let mut counts = StageCounts::new(Some(total));
        for &(items, kept, elapsed) in chunks {
            counts.compare(items, kept, elapsed);
            counts.advance(items);
        }
        counts
    }

    #[test]
    fn speeds_and_remaining_time_follow_from_counts_and_elapsed_time() {
        let mut counts = after(1_000, &[(200, 0, 9 * SECOND)]);
        counts.compute(10_240, 62);
        let pace = counts.pace(10 * SECOND);
        let expected = Pace {
            items_per_second: Some(20.0),
            tokens_per_second: Some(1_024.0),
            pictures_per_second: Some(6.2),
            remaining: Some(40 * SECOND),
        };
        assert_eq!(pace, expected);
        assert_eq!(pace.to_string(), ", 20 items/s, 1024 tokens/s, 6.2 pictures/s, eta 40 seconds");
        // The same work in twice the time.
        let slower = counts.pace(20 * SECOND);
        assert_eq!((slower.items_per_second, slower.remaining), (Some(10.0), Some(80 * SECOND)));
    }

    #[test]
    fn nothing_is_shown_before_anything_is_done_or_time_has_gone_by() {
        assert_eq!(StageCounts::new(Some(10)).pace(SECOND), Pace::default());
        let mut counts = after(10, &[(5, 0, Duration::ZERO)]);
        counts.compute(7, 7);
        assert_eq!(counts.pace(Duration::ZERO), Pace::default());
        assert_eq!(Pace::default().to_string(), "");
    }

    #[test]
    fn a_stage_without_a_total_has_speeds_and_no_end() {
        let mut counts = StageCounts::new(None);
        counts.advance(30);
        let pace = counts.pace(2 * SECOND);
        assert_eq!((pace.items_per_second, pace.remaining), (Some(15.0), None));
        assert_eq!(pace.to_string(), ", 15 items/s");
    }

    #[test]
    fn a_stage_that_compares_nothing_works_on_every_item() {
        let mut counts = StageCounts::new(Some(100));
        counts.advance(25);
        assert_eq!(counts.pace(5 * SECOND).remaining, Some(15 * SECOND));
        counts.advance(75);
        assert_eq!(counts.pace(5 * SECOND).remaining, Some(Duration::ZERO));
    }

    #[test]
    fn what_a_stopped_run_finished_counts_neither_as_speed_nor_as_time() {
        // 600 items were finished before; comparing them took 6 s. Then 40 were encoded in 8 s.
        let mut counts = after(1_000, &[(300, 300, 3 * SECOND), (300, 300, 6 * SECOND)]);
        assert_eq!(counts.pace(6 * SECOND).items_per_second, None);
        for second in 7..=14 {
            counts.compare(5, 0, second * SECOND);
            counts.advance(5);
            counts.compute(50, 0);
        }
        let pace = counts.pace(14 * SECOND);
        assert_eq!((pace.items_per_second, pace.tokens_per_second), (Some(5.0), Some(50.0)));
        // All of the 360 that are left will be encoded, but for what the last kept ones still count: 72 s at most.
        let is_near = |remaining| remaining > 60 * SECOND && remaining <= 72 * SECOND;
        assert!(pace.remaining.is_some_and(is_near), "{pace:?}");
    }

    #[test]
    fn a_night_with_few_changes_ends_when_the_few_are_encoded() {
        // One of 100 items changes, 100 of 10,000 so far, in 50 s.
        let chunks: Vec<_> = (1..=10).map(|chunk| (1_000, 990, 5 * chunk * SECOND)).collect();
        let counts = after(40_000, &chunks);
        let pace = counts.pace(50 * SECOND);
        assert_eq!(pace.items_per_second, Some(2.0));
        let is_near = |remaining: Duration| (remaining.as_secs_f64() - 150.0).abs() < 1e-6;
        assert!(pace.remaining.is_some_and(is_near), "{pace:?}");
    }

    #[test]
    fn a_night_without_changes_ends_when_all_is_compared() {
        let counts = after(4_000, &[(1_000, 1_000, 10 * SECOND)]);
        let pace = counts.pace(10 * SECOND);
        assert_eq!((pace.items_per_second, pace.remaining), (None, Some(30 * SECOND)));
        assert_eq!(pace.to_string(), ", eta 30 seconds");
    }

    #[test]
    fn items_that_wait_for_the_device_are_left_to_do() {
        let mut counts = StageCounts::new(Some(100));
        counts.compare(100, 20, SECOND);
        counts.advance(20 + 40);
        assert_eq!(counts.pace(10 * SECOND).remaining, Some(10 * SECOND));
    }
}
