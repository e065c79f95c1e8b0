//! The measures that are always shown, of one ranked list. Owns which these are, their JSON names and trec_eval's order of
//! ties; the formulas are in [`super::measure`]. Invariants: JSON names only grow; every measure is between 0 and 1.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::measure::{GradedList, Measure, is_relevant, sum};

/// Ranks that the measures of the top look at.
const SHORT: usize = 10;
/// Ranks that recall@100 looks at.
const LONG: usize = 100;

/// One query's judgments: document id → grade.
pub type Judgments = BTreeMap<String, i64>;

/// The measures of one list, or their means over several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Metrics {
    /// nDCG@10 with linear gain.
    #[serde(rename = "ndcg@10")]
    pub ndcg_at_10: f64,
    /// nDCG@10 over judged documents only.
    #[serde(rename = "judged_ndcg@10")]
    pub judged_ndcg_at_10: f64,
    /// nDCG@10 with exponential gain.
    #[serde(rename = "ndcg_exponential@10")]
    pub ndcg_exponential_at_10: f64,
    /// The same over judged documents only.
    #[serde(rename = "judged_ndcg_exponential@10")]
    pub judged_ndcg_exponential_at_10: f64,
    /// Share of the first ten that is judged.
    #[serde(rename = "judged@10")]
    pub judged_at_10: f64,
    /// Share of the first ten places that hold a relevant document.
    #[serde(rename = "precision@10")]
    pub precision_at_10: f64,
    /// Recall@100.
    #[serde(rename = "recall@100")]
    pub recall_at_100: f64,
    /// Reciprocal rank, cut at ten.
    #[serde(rename = "mrr@10")]
    pub mrr_at_10: f64,
    /// Average precision.
    #[serde(rename = "map")]
    pub map: f64,
}

impl Metrics {
    /// The measures of one list, best document first.
    #[must_use]
    pub fn of(ranked: &[&str], judgments: &Judgments) -> Metrics {
        let ranked = grades(ranked, judgments);
        let judged = highest_first(judgments);
        let list = GradedList { ranked: &ranked, judged: &judged };
        Metrics {
            ndcg_at_10: Measure::Ndcg(SHORT).of(list),
            judged_ndcg_at_10: Measure::JudgedNdcg(SHORT).of(list),
            ndcg_exponential_at_10: Measure::NdcgExponential(SHORT).of(list),
            judged_ndcg_exponential_at_10: Measure::JudgedNdcgExponential(SHORT).of(list),
            judged_at_10: Measure::Judged(SHORT).of(list),
            precision_at_10: Measure::Precision(SHORT).of(list),
            recall_at_100: Measure::Recall(LONG).of(list),
            mrr_at_10: Measure::ReciprocalRank(SHORT).of(list),
            map: Measure::AveragePrecision.of(list),
        }
    }

    /// The mean of each measure; zeros for no list.
    #[must_use]
    pub fn mean(lists: &[Metrics]) -> Metrics {
        let mean = |measure: fn(&Metrics) -> f64| sum(lists.iter().map(measure)) / lists.len().max(1) as f64;
        Metrics {
            ndcg_at_10: mean(|metrics| metrics.ndcg_at_10),
            judged_ndcg_at_10: mean(|metrics| metrics.judged_ndcg_at_10),
            ndcg_exponential_at_10: mean(|metrics| metrics.ndcg_exponential_at_10),
            judged_ndcg_exponential_at_10: mean(|metrics| metrics.judged_ndcg_exponential_at_10),
            judged_at_10: mean(|metrics| metrics.judged_at_10),
            precision_at_10: mean(|metrics| metrics.precision_at_10),
            recall_at_100: mean(|metrics| metrics.recall_at_100),
            mrr_at_10: mean(|metrics| metrics.mrr_at_10),
            map: mean(|metrics| metrics.map),
        }
    }

    /// Names and values, in the order in which they are shown.
    #[must_use]
    pub fn named(&self) -> [(&'static str, f64); 9] {
        [
            ("nDCG@10", self.ndcg_at_10),
            ("judged nDCG@10", self.judged_ndcg_at_10),
            ("judged@10", self.judged_at_10),
            ("exp. nDCG@10", self.ndcg_exponential_at_10),
            ("exp. judged nDCG@10", self.judged_ndcg_exponential_at_10),
            ("P@10", self.precision_at_10),
            ("recall@100", self.recall_at_100),
            ("MRR@10", self.mrr_at_10),
            ("MAP", self.map),
        ]
    }
}

/// The grade of each listed document, `None` where it is not judged.
#[must_use]
pub fn grades(ranked: &[&str], judgments: &Judgments) -> Vec<Option<i64>> {
    ranked.iter().map(|document| judgments.get(*document).copied()).collect()
}

/// All grades of a query, highest first.
#[must_use]
pub fn highest_first(judgments: &Judgments) -> Vec<i64> {
    let mut grades: Vec<i64> = judgments.values().copied().collect();
    grades.sort_unstable_by(|left, right| right.cmp(left));
    grades
}

/// Whether any document is relevant; trec_eval leaves the other queries out of its means.
#[must_use]
pub fn has_relevant(judgments: &Judgments) -> bool {
    judgments.values().any(|grade| is_relevant(Some(*grade)))
}

/// A run's documents in trec_eval's order: by score, which it keeps in 32 bits, and equal scores by id, both from high
/// to low. The ranks in a run file play no part. A document that is listed twice counts at its best place.
#[must_use]
pub fn trec_order(run: &[(String, f64)]) -> Vec<&str> {
    let mut order: Vec<(f32, &str)> = run.iter().map(|(document, score)| (*score as f32, document.as_str())).collect();
    order.sort_by(|(left_score, left), (right_score, right)| {
        right_score.total_cmp(left_score).then_with(|| right.cmp(left))
    });
    let mut seen = HashSet::new();
    order.into_iter().map(|(_, document)| document).filter(|document| seen.insert(*document)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judgments(grades: &[(&str, i64)]) -> Judgments {
        grades.iter().map(|(document, grade)| ((*document).to_owned(), *grade)).collect()
    }

    #[test]
    fn a_list_by_hand() {
        let metrics = Metrics::of(&["unknown", "b", "a"], &judgments(&[("a", 2), ("b", 0), ("c", 1), ("d", -1)]));
        let ideal = 2.0 + 1.0 / 3f64.log2();
        assert!((metrics.ndcg_at_10 - 2.0 / 4f64.log2() / ideal).abs() < 1e-12);
        assert!((metrics.judged_ndcg_at_10 - 2.0 / 3f64.log2() / ideal).abs() < 1e-12);
        assert!((metrics.judged_at_10 - 2.0 / 3.0).abs() < 1e-12);
        assert!((metrics.recall_at_100 - 0.5).abs() < 1e-12);
        assert!((metrics.mrr_at_10 - 1.0 / 3.0).abs() < 1e-12);
        assert!((metrics.map - 1.0 / 6.0).abs() < 1e-12);
    }

    #[test]
    fn nothing_found_or_nothing_relevant_is_zero() {
        assert_eq!(Metrics::of(&[], &judgments(&[("a", 1)])), Metrics::default());
        let judged_only = Metrics { judged_at_10: 1.0, ..Metrics::default() };
        assert_eq!(Metrics::of(&["a"], &judgments(&[("a", 0)])), judged_only);
        assert_eq!(Metrics::mean(&[]), Metrics::default());
        let nothing = Metrics::of(&[], &judgments(&[("a", 1)])).named();
        assert!(nothing.iter().all(|(_, value)| value.is_sign_positive()));
        assert!(!has_relevant(&judgments(&[("a", 0), ("b", -1)])));
    }

    #[test]
    fn ties_come_by_id_from_high_to_low() {
        let run = [("a", 1.0), ("b", 1.0 + 1e-12), ("c", 2.0), ("b", 0.5)];
        let run = run.map(|(document, score)| (document.to_owned(), score));
        assert_eq!(trec_order(&run), ["c", "b", "a"]);
    }
}
