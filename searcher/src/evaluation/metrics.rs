//! Relevance measures of one ranked list, as trec_eval 9 (and so pytrec_eval) computes them. Owns the formulas and
//! trec_eval's order of ties; not which queries count. Invariants: every measure is between 0 and 1; equal to
//! pytrec_eval's value on the same run to 1e-6 (`tests/evaluation.rs` holds the expected numbers).
//!
//! * relevant: a grade of at least 1; judged: any grade.
//! * nDCG@10: gain = grade (linear), discount log2(rank + 1), over the best possible ten (Järvelin, Kekäläinen 2002;
//!   `ndcg_cut_10`). A grade below 0 gains nothing.
//! * judged nDCG@10: nDCG@10 of the list with the unjudged documents removed (condensed list; Sakai 2007).
//! * judged@10: share of the first ten shown, or of all when fewer are shown, that is judged. It says how far nDCG@10 can
//!   be trusted; 0 for an empty list.
//! * recall@100: share of the relevant documents among the first hundred (`recall_100`).
//! * MRR@10: 1 / rank of the first relevant document, 0 when it is not among the first ten (`recip_rank` of ten).
//! * MAP: mean over the relevant documents of the precision at each one's rank, 0 for one that is not listed (`map`).

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

/// Ranks that nDCG@10, judged@10 and MRR@10 look at.
const SHORT: usize = 10;
/// Ranks that recall@100 looks at.
const LONG: usize = 100;
/// The least grade that is relevant; trec_eval's default.
const RELEVANT: i64 = 1;

/// One query's judgments: document id → grade.
pub type Judgments = BTreeMap<String, i64>;

/// The measures of one list, or their means over several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Metrics {
    /// nDCG@10.
    #[serde(rename = "ndcg@10")]
    pub ndcg_at_10: f64,
    /// nDCG@10 over judged documents only.
    #[serde(rename = "judged_ndcg@10")]
    pub judged_ndcg_at_10: f64,
    /// Share of the first ten that is judged.
    #[serde(rename = "judged@10")]
    pub judged_at_10: f64,
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
        let grades: Vec<Option<i64>> = ranked.iter().map(|document| judgments.get(*document).copied()).collect();
        let condensed: Vec<Option<i64>> = grades.iter().copied().filter(Option::is_some).collect();
        let relevant: Vec<usize> =
            (grades.iter().enumerate()).filter_map(|(place, grade)| is_relevant(*grade).then_some(place)).collect();
        let relevant_count = judgments.values().filter(|grade| is_relevant(Some(**grade))).count();
        let shown = grades.len().min(SHORT);
        let judged = grades.iter().take(SHORT).filter(|grade| grade.is_some()).count();
        let precisions = relevant.iter().enumerate().map(|(found, place)| ratio(found + 1, place + 1));
        Metrics {
            ndcg_at_10: ndcg(&grades, judgments),
            judged_ndcg_at_10: ndcg(&condensed, judgments),
            judged_at_10: ratio(judged, shown),
            recall_at_100: ratio(relevant.iter().filter(|place| **place < LONG).count(), relevant_count),
            mrr_at_10: relevant.first().filter(|place| **place < SHORT).map_or(0.0, |place| ratio(1, place + 1)),
            map: if relevant_count == 0 { 0.0 } else { sum(precisions) / relevant_count as f64 },
        }
    }

    /// The mean of each measure; zeros for no list.
    #[must_use]
    pub fn mean(lists: &[Metrics]) -> Metrics {
        let mean = |measure: fn(&Metrics) -> f64| sum(lists.iter().map(measure)) / lists.len().max(1) as f64;
        Metrics {
            ndcg_at_10: mean(|metrics| metrics.ndcg_at_10),
            judged_ndcg_at_10: mean(|metrics| metrics.judged_ndcg_at_10),
            judged_at_10: mean(|metrics| metrics.judged_at_10),
            recall_at_100: mean(|metrics| metrics.recall_at_100),
            mrr_at_10: mean(|metrics| metrics.mrr_at_10),
            map: mean(|metrics| metrics.map),
        }
    }

    /// Names and values, in the order in which they are shown.
    #[must_use]
    pub fn named(&self) -> [(&'static str, f64); 6] {
        let Metrics { ndcg_at_10, judged_ndcg_at_10, judged_at_10, recall_at_100, mrr_at_10, map } = *self;
        [
            ("nDCG@10", ndcg_at_10),
            ("judged nDCG@10", judged_ndcg_at_10),
            ("judged@10", judged_at_10),
            ("recall@100", recall_at_100),
            ("MRR@10", mrr_at_10),
            ("MAP", map),
        ]
    }
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

fn is_relevant(grade: Option<i64>) -> bool {
    grade.is_some_and(|grade| grade >= RELEVANT)
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn ndcg(grades: &[Option<i64>], judgments: &Judgments) -> f64 {
    let mut best: Vec<i64> = judgments.values().copied().collect();
    best.sort_unstable_by(|left, right| right.cmp(left));
    let ideal = discounted_gain(best.into_iter());
    if ideal > 0.0 { discounted_gain(grades.iter().map(|grade| grade.unwrap_or(0))) / ideal } else { 0.0 }
}

fn discounted_gain(grades: impl Iterator<Item = i64>) -> f64 {
    let discounted = |(rank, grade): (u32, i64)| grade.max(0) as f64 / f64::from(rank + 1).log2();
    sum((1u32..).zip(grades.take(SHORT)).map(discounted))
}

/// The sum from 0 up: the standard library's sum of nothing is −0, which would be shown.
fn sum(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |sum, value| sum + value)
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
