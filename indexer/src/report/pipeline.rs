//! How the time of encoding was spent: busy and waiting seconds by stage, work and speed by modality. Owns the names in
//! the report and the sums; not the measuring. Invariant: a stage's busy and waiting seconds sum to the seconds its
//! threads existed.

use std::collections::BTreeMap;

/// The `pipeline` object of a report.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct PipelineReport {
    /// Seconds from the first row read to the last part written.
    pub seconds: f64,
    /// Devices that computed, each on a thread of its own.
    pub devices: Vec<String>,
    /// Seconds by stage: `read`, `prepare`, `encode` (summed over devices) and `write`.
    pub stages: BTreeMap<String, StageSeconds>,
    /// The stage that was busy for the largest share of its threads' time: making another one faster gains little.
    pub bottleneck: Option<String>,
    /// Work by modality.
    pub modalities: BTreeMap<String, ModalityWork>,
    /// Tokens computed, over all modalities.
    pub tokens: u64,
    /// Pictures computed.
    pub pictures: u64,
    /// Most chunks (of `part_rows` rows) that were on their way from the reader to their part at once.
    pub most_chunks: u64,
    /// Most decoded pictures that were held at once.
    pub most_pictures: u64,
}

/// How the threads of a stage spent their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct StageSeconds {
    /// At work.
    pub busy: f64,
    /// Waiting for the stage before.
    pub waiting_for_input: f64,
    /// Waiting for the stage after.
    pub waiting_for_room: f64,
}

/// What was computed of one modality.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct ModalityWork {
    /// Fingerprint of its encoder.
    pub encoder: String,
    /// Embeddings computed; equal contents that came together count once.
    pub embeddings: u64,
    /// Tokens of them.
    pub tokens: u64,
    /// Pictures of them.
    pub pictures: u64,
    /// Seconds that devices were busy with it; a batch of several modalities is shared out by tokens.
    pub seconds: f64,
    /// Embeddings in a busy second of one device; `null` when nothing was computed.
    pub embeddings_per_second: Option<f64>,
}

impl StageSeconds {
    /// Adds another thread's.
    pub(crate) fn add(&mut self, other: StageSeconds) {
        self.busy += other.busy;
        self.waiting_for_input += other.waiting_for_input;
        self.waiting_for_room += other.waiting_for_room;
    }

    fn busy_share(&self) -> f64 {
        let all = self.busy + self.waiting_for_input + self.waiting_for_room;
        if all > 0.0 { self.busy / all } else { 0.0 }
    }
}

impl PipelineReport {
    /// Fills in what follows from the rest: speeds, totals and the bottleneck.
    pub(crate) fn finish(&mut self) {
        for work in self.modalities.values_mut() {
            let measured = work.embeddings > 0 && work.seconds > 0.0;
            work.embeddings_per_second = measured.then(|| work.embeddings as f64 / work.seconds);
        }
        self.tokens = self.modalities.values().map(|work| work.tokens).sum();
        self.pictures = self.modalities.values().map(|work| work.pictures).sum();
        let stages = self.stages.iter().map(|(name, seconds)| (name, seconds.busy_share()));
        self.bottleneck = stages.max_by(|(_, left), (_, right)| left.total_cmp(right)).map(|(name, _)| name.clone());
    }

    /// One line for people: `encode held it back: busy 98% of 12.3 s (read 1%, prepare 20%, write 3%)`; `None` when there
    /// was nothing to encode with.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        let bottleneck = self.bottleneck.as_ref()?;
        let percent = |seconds: &StageSeconds| format!("{:.0}%", seconds.busy_share() * 100.0);
        let others: Vec<String> = self
            .stages
            .iter()
            .filter(|(name, _)| *name != bottleneck)
            .map(|(name, seconds)| format!("{name} {}", percent(seconds)))
            .collect();
        let busy = self.stages.get(bottleneck).map(percent).unwrap_or_default();
        Some(format!("{bottleneck} held it back: busy {busy} of {:.2} s ({})", self.seconds, others.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_stage_and_the_speeds_follow_from_the_rest() {
        let stage = |busy, input, room| StageSeconds { busy, waiting_for_input: input, waiting_for_room: room };
        let work =
            |embeddings, tokens, seconds| ModalityWork { embeddings, tokens, seconds, ..ModalityWork::default() };
        let mut encode = stage(9.0, 1.0, 0.0);
        encode.add(stage(10.0, 0.0, 0.0));
        let mut report = PipelineReport {
            seconds: 10.0,
            stages: [("read", stage(0.1, 0.0, 9.9)), ("prepare", stage(4.0, 0.0, 6.0)), ("encode", encode)]
                .map(|(name, seconds)| (name.to_owned(), seconds))
                .into(),
            modalities: [("title", work(100, 1000, 5.0)), ("description", work(0, 0, 0.0))]
                .map(|(name, work)| (name.to_owned(), work))
                .into(),
            ..PipelineReport::default()
        };
        report.finish();
        assert_eq!((report.tokens, report.bottleneck.as_deref()), (1000, Some("encode")));
        assert_eq!(report.modalities["title"].embeddings_per_second, Some(20.0));
        assert_eq!(report.modalities["description"].embeddings_per_second, None);
        let line = "encode held it back: busy 95% of 10.00 s (prepare 40%, read 1%)";
        assert_eq!(report.line().as_deref(), Some(line));
    }
}
