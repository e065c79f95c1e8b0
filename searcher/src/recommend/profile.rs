//! A user's profile. Owns the decayed sum of embeddings; not where events come from. Invariant: what comes out has unit
//! length, and does not depend on when it is asked for: with time all of a user's events lose weight by one factor.

use std::collections::BTreeSet;

use schemas::Row;

use crate::error::SearchError;
use crate::query_encoder::unit_sum;
use crate::snapshot::Searcher;

/// Days after which an event counts half. A convention, not a measurement: no histories are at hand to tune it on. Shops with
/// fast seasons take less, with durable goods more.
pub const DEFAULT_HALF_LIFE_DAYS: f64 = 30.0;

const SECONDS_OF_A_DAY: f64 = 86_400.0;

/// An event whose item the snapshot has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProfileEvent {
    /// The item's row.
    pub row: Row,
    /// When, in Unix seconds.
    pub time: f64,
    /// How much it says for the item; negative: against it.
    pub weight: f32,
}

/// What a user is drawn to, in the embeddings of one snapshot; and which items the user knows.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Profile {
    /// Unit length; one per modality of the snapshot, `None` where no event has it or they cancel each other out.
    pub(crate) embeddings: Vec<Option<Vec<f32>>>,
    pub(crate) seen: BTreeSet<Row>,
}

impl Profile {
    /// Whether nothing is known that could rank items: no event, or only of items without embeddings.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.embeddings.iter().all(Option::is_none)
    }

    /// The embeddings, one per modality of the snapshot, each of unit length.
    #[must_use]
    pub fn embeddings(&self) -> &[Option<Vec<f32>>] {
        &self.embeddings
    }

    /// The rows of the items that the user knows.
    #[must_use]
    pub fn seen(&self) -> &BTreeSet<Row> {
        &self.seen
    }
}

impl Searcher {
    /// The profile that events make: per modality the sum of the items' embeddings by `weight · 2^(−age / half-life)`, at
    /// unit length. Ages are counted from the newest event, which gives the same profile as counting them from any later
    /// time. An infinite half-life lets all events count by their weight alone. O(events · dimensions).
    ///
    /// # Errors
    /// When the half-life is not above 0, a row is not in the snapshot, or its embeddings cannot be read.
    pub fn profile(&self, events: &[ProfileEvent], half_life_days: f64) -> Result<Profile, SearchError> {
        if half_life_days.is_nan() || half_life_days <= 0.0 {
            let reason = format!("the half-life is {half_life_days} days, it must be above 0");
            return Err(SearchError::Query { reason });
        }
        let seen = events.iter().map(|event| event.row).collect();
        let Some(vector) = &self.vector else { return Ok(Profile { embeddings: Vec::new(), seen }) };
        let newest = events.iter().map(|event| event.time).fold(f64::NEG_INFINITY, f64::max);
        let mut embeddings = Vec::with_capacity(self.manifest().modalities.len());
        for (column, modality) in self.manifest().modalities.iter().enumerate() {
            let mut parts = Vec::with_capacity(events.len());
            for event in events.iter().filter(|event| event.weight != 0.0) {
                let age_days = (newest - event.time) / SECONDS_OF_A_DAY;
                let weight = f64::from(event.weight) * (-age_days / half_life_days).exp2();
                if let Some(stored) = vector.modalities.embedding(column, event.row)? {
                    parts.push((weight as f32, stored.iter().map(|value| value.to_f32()).collect()));
                }
            }
            embeddings.push(unit_sum(&parts, modality.encoder.dimension));
        }
        Ok(Profile { embeddings, seen })
    }
}
