//! Labels: values proposed for items of the published snapshot that lack a declared field. Owns what is proposed and how sure
//! it is; not the file (`schemas::labels`), and nothing of it enters a snapshot. Invariants: a value that the catalog has is
//! never replaced; the same snapshot and settings give the same proposals.
//!
//! Two methods, and both together: `neighbours`, a vote of the nearest items that have a value (k nearest neighbours; Fix, Hodges
//! 1951), each with weight `exp(sharpness · cosine)`; and `zero_shot`, the softmax of `scale · cosine` between the item's
//! embeddings and the embeddings of the values' names (Radford et al. 2021, "Learning transferable visual models from natural
//! language supervision"). Each side is mixed with the values' frequencies, and both together are
//! `(1 − z) · neighbours + z · zero_shot`. The numbers of these formulas are those of a small grid under which the values that
//! items do have are likeliest, each item's own left out; what is left for values that nobody has is Good's estimate. How near
//! confidences are to the share that is right, `evaluate` measures.

mod evaluate;
mod labeller;
mod probabilities;
mod values;

use rayon::prelude::*;
use schemas::Row;
use schemas::labels::{Label, LabelMethod};
use searcher::Searcher;

use crate::error::IndexError;
pub use evaluate::{DEFAULT_SAMPLE, DEFAULT_SEED, EvaluationSettings, FieldEvaluation, MethodEvaluation, evaluate};
pub use labeller::MAX_LABEL_NAMES;
use labeller::{Labeller, Prediction};
use values::FieldValues;

/// Labelled neighbours that vote.
pub const DEFAULT_NEIGHBOURS: usize = 10;
/// Proposals that are less sure are not made.
pub const DEFAULT_MIN_CONFIDENCE: f32 = 0.5;
/// Neighbours that a proposal names as its evidence, at most.
const MAX_EVIDENCE: usize = 5;

/// How values are proposed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelSettings {
    /// What names values. [`LabelMethod::Neighbours`] loads no model.
    pub method: LabelMethod,
    /// Labelled neighbours that vote, at least 1. Default: [`DEFAULT_NEIGHBOURS`].
    pub neighbours: usize,
    /// Proposals that are less sure are not made, 0 to 1. Default: [`DEFAULT_MIN_CONFIDENCE`].
    pub min_confidence: f32,
}

impl Default for LabelSettings {
    fn default() -> Self {
        LabelSettings {
            method: LabelMethod::Both,
            neighbours: DEFAULT_NEIGHBOURS,
            min_confidence: DEFAULT_MIN_CONFIDENCE,
        }
    }
}

impl LabelSettings {
    fn check(&self) -> Result<(), IndexError> {
        let refuse = |reason: String| Err(IndexError::Label { reason });
        if self.neighbours == 0 {
            return refuse("0 neighbours cannot vote; take at least 1".to_owned());
        }
        if !(0.0..=1.0).contains(&self.min_confidence) {
            return refuse(format!("the least confidence is {}, it must be between 0 and 1", self.min_confidence));
        }
        Ok(())
    }
}

/// What was proposed for a field.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct FieldLabels {
    /// The field.
    pub field: String,
    /// Items that have a value.
    pub labelled: usize,
    /// Items that lack one.
    pub missing: usize,
    /// Of these, items for which nothing can be said: without embeddings, or with nothing in common with others.
    pub silent: usize,
    /// Of these, items whose likeliest value is less sure than asked for.
    pub unsure: usize,
    /// The proposals, by row.
    #[serde(skip)]
    pub labels: Vec<Label>,
}

/// Proposes values of a field for the items that lack one. One search for each of these, and for a sample of the others;
/// in parallel on rayon's threads. Loads the text encoders unless the method is [`LabelMethod::Neighbours`].
///
/// # Errors
/// When the settings are out of range, the field is not declared or of a type without names, no item has a value, or the
/// snapshot or an encoder cannot be read.
pub fn propose(searcher: &Searcher, field: &str, settings: &LabelSettings) -> Result<FieldLabels, IndexError> {
    settings.check()?;
    let values = FieldValues::read(searcher, field)?;
    let labelled = values.labelled_rows();
    let labeller = Labeller::fit(searcher, &values, &labelled, settings)?;
    let missing: Vec<Row> = values.missing_rows().collect();
    let predictions = missing.par_iter().map(|row| Ok((*row, labeller.predict(*row)?)));
    let predictions = predictions.collect::<Result<Vec<(Row, Option<Prediction>)>, IndexError>>()?;
    let mut found = FieldLabels {
        field: field.to_owned(),
        labelled: usize::try_from(labelled.len()).unwrap_or(usize::MAX),
        missing: missing.len(),
        silent: 0,
        unsure: 0,
        labels: Vec::new(),
    };
    for (row, prediction) in predictions {
        let Some(prediction) = prediction else {
            found.silent += 1;
            continue;
        };
        let Some((value, confidence)) = prediction.best(settings.method) else {
            found.silent += 1;
            continue;
        };
        if confidence < settings.min_confidence {
            found.unsure += 1;
            continue;
        }
        let evidence = prediction.neighbours.iter().filter(|(_, of_neighbour)| *of_neighbour == value);
        let evidence = evidence.take(MAX_EVIDENCE).map(|(row, _)| Ok(searcher.items().id(*row)?.to_owned()));
        found.labels.push(Label {
            id: searcher.items().id(row)?.to_owned(),
            field: field.to_owned(),
            value: values.name(value).to_owned(),
            confidence,
            method: prediction.named_by(value),
            evidence: evidence.collect::<Result<Vec<String>, IndexError>>()?,
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
