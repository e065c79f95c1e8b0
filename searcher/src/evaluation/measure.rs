//! One measure of one ranked list, as trec_eval 9 (and so pytrec_eval) computes it. Owns the names and formulas; not which
//! measures are shown nor which queries count. Invariants: every value is between 0 and 1; equal to pytrec_eval's on the
//! same run to 1e-6 where it has the measure (`tests/evaluation.rs` holds the expected numbers).
//!
//! Relevant is a grade of at least 1, judged any grade.
//!
//! * `ndcg@k`: gain = grade (linear), discount log2(rank + 1), over the best possible k (Järvelin, Kekäläinen 2002;
//!   `ndcg_cut_k`). A grade below 0 gains nothing.
//! * `ndcg_exponential@k`: the same with gain = 2^grade − 1 (Burges et al. 2005), which learning-to-rank papers report.
//! * `judged_ndcg@k`, `judged_ndcg_exponential@k`: those of the list with the unjudged documents removed (condensed
//!   list; Sakai 2007).
//! * `precision@k`: relevant documents among the first k, over k (`P_k`).
//! * `judged@k`: share of the first k shown, or of all when fewer are shown, that is judged. It says how far nDCG@k can
//!   be trusted; 0 for an empty list.
//! * `recall@k`: share of the relevant documents among the first k (`recall_k`).
//! * `mrr@k`: 1 / rank of the first relevant document, 0 when it is not among the first k (`recip_rank` of k).
//! * `map`: mean over the relevant documents of the precision at each one's rank, 0 for one that is not listed (`map`).

use std::str::FromStr;

use serde::{Serialize, Serializer};

/// The least grade that is relevant; trec_eval's default.
const RELEVANT: i64 = 1;
/// The highest grade that exponential gain tells from a higher one: 2^60 is still exact.
const HIGHEST_EXPONENT: i64 = 60;

/// What is measured; `k` is the number of ranks looked at, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Measure {
    /// `ndcg@k`.
    Ndcg(usize),
    /// `ndcg_exponential@k`.
    NdcgExponential(usize),
    /// `judged_ndcg@k`.
    JudgedNdcg(usize),
    /// `judged_ndcg_exponential@k`.
    JudgedNdcgExponential(usize),
    /// `precision@k`.
    Precision(usize),
    /// `judged@k`.
    Judged(usize),
    /// `recall@k`.
    Recall(usize),
    /// `mrr@k`.
    ReciprocalRank(usize),
    /// `map`.
    AveragePrecision,
}

/// One query's ranked list as grades.
#[derive(Clone, Copy, Debug)]
pub struct GradedList<'a> {
    /// Grade of each document, best document first; `None` where it is not judged.
    pub ranked: &'a [Option<i64>],
    /// The grades of all judged documents, found or not, highest first.
    pub judged: &'a [i64],
}

impl Measure {
    /// The value for one list. O(length of the list).
    #[must_use]
    pub fn of(self, list: GradedList<'_>) -> f64 {
        let GradedList { ranked, judged } = list;
        debug_assert!(judged.is_sorted_by(|left, right| left >= right), "the highest grade comes first");
        let shown = |cutoff: usize| &ranked[..ranked.len().min(cutoff)];
        let relevant_count = judged.iter().filter(|grade| **grade >= RELEVANT).count();
        let condensed = || ranked.iter().copied().filter(Option::is_some);
        match self {
            Measure::Ndcg(cutoff) => ndcg(ranked.iter().copied(), judged, linear_gain, cutoff),
            Measure::NdcgExponential(cutoff) => ndcg(ranked.iter().copied(), judged, exponential_gain, cutoff),
            Measure::JudgedNdcg(cutoff) => ndcg(condensed(), judged, linear_gain, cutoff),
            Measure::JudgedNdcgExponential(cutoff) => ndcg(condensed(), judged, exponential_gain, cutoff),
            Measure::Precision(cutoff) => ratio(relevant_places(shown(cutoff)).count(), cutoff),
            Measure::Judged(cutoff) => {
                ratio(shown(cutoff).iter().filter(|grade| grade.is_some()).count(), shown(cutoff).len())
            }
            Measure::Recall(cutoff) => ratio(relevant_places(shown(cutoff)).count(), relevant_count),
            Measure::ReciprocalRank(cutoff) => {
                relevant_places(shown(cutoff)).next().map_or(0.0, |place| ratio(1, place + 1))
            }
            Measure::AveragePrecision => {
                let precisions = (1..).zip(relevant_places(ranked)).map(|(found, place)| ratio(found, place + 1));
                if relevant_count == 0 { 0.0 } else { sum(precisions) / relevant_count as f64 }
            }
        }
    }

    /// Name and cut-off; `map` has none.
    fn parts(self) -> (&'static str, Option<usize>) {
        match self {
            Measure::Ndcg(cutoff) => ("ndcg", Some(cutoff)),
            Measure::NdcgExponential(cutoff) => ("ndcg_exponential", Some(cutoff)),
            Measure::JudgedNdcg(cutoff) => ("judged_ndcg", Some(cutoff)),
            Measure::JudgedNdcgExponential(cutoff) => ("judged_ndcg_exponential", Some(cutoff)),
            Measure::Precision(cutoff) => ("precision", Some(cutoff)),
            Measure::Judged(cutoff) => ("judged", Some(cutoff)),
            Measure::Recall(cutoff) => ("recall", Some(cutoff)),
            Measure::ReciprocalRank(cutoff) => ("mrr", Some(cutoff)),
            Measure::AveragePrecision => ("map", None),
        }
    }
}

impl std::fmt::Display for Measure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.parts() {
            (name, Some(cutoff)) => write!(formatter, "{name}@{cutoff}"),
            (name, None) => formatter.write_str(name),
        }
    }
}

impl FromStr for Measure {
    type Err = String;

    fn from_str(text: &str) -> Result<Measure, String> {
        let (name, cutoff) = match text.split_once('@') {
            Some((name, cutoff)) => (name, cutoff.parse().ok().filter(|cutoff| *cutoff > 0)),
            None => (text, None),
        };
        let at: Option<fn(usize) -> Measure> = match name {
            "ndcg" => Some(Measure::Ndcg),
            "ndcg_exponential" => Some(Measure::NdcgExponential),
            "judged_ndcg" => Some(Measure::JudgedNdcg),
            "judged_ndcg_exponential" => Some(Measure::JudgedNdcgExponential),
            "precision" => Some(Measure::Precision),
            "judged" => Some(Measure::Judged),
            "recall" => Some(Measure::Recall),
            "mrr" => Some(Measure::ReciprocalRank),
            _ => None,
        };
        match (at, cutoff) {
            (Some(at), Some(cutoff)) => Ok(at(cutoff)),
            _ if text == "map" => Ok(Measure::AveragePrecision),
            _ => Err(format!(
                "`{text}` is no measure; there are ndcg@K, ndcg_exponential@K, judged_ndcg@K, \
                 judged_ndcg_exponential@K, precision@K, judged@K, recall@K, mrr@K with a K of at least 1, and map"
            )),
        }
    }
}

impl Serialize for Measure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whether a grade counts as relevant.
pub(super) fn is_relevant(grade: Option<i64>) -> bool {
    grade.is_some_and(|grade| grade >= RELEVANT)
}

/// The sum from 0 up: the standard library's sum of nothing is −0, which would be shown.
pub(super) fn sum(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |sum, value| sum + value)
}

/// Places of the relevant documents, from 0.
fn relevant_places(ranked: &[Option<i64>]) -> impl Iterator<Item = usize> {
    ranked.iter().enumerate().filter_map(|(place, grade)| is_relevant(*grade).then_some(place))
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn linear_gain(grade: i64) -> f64 {
    grade.max(0) as f64
}

fn exponential_gain(grade: i64) -> f64 {
    (grade.clamp(0, HIGHEST_EXPONENT) as f64).exp2() - 1.0
}

fn ndcg(ranked: impl Iterator<Item = Option<i64>>, judged: &[i64], gain: fn(i64) -> f64, cutoff: usize) -> f64 {
    let discounted = |grades: &mut dyn Iterator<Item = i64>| {
        sum((1u32..).zip(grades.take(cutoff)).map(|(rank, grade)| gain(grade) / f64::from(rank + 1).log2()))
    };
    let ideal = discounted(&mut judged.iter().copied());
    if ideal > 0.0 { discounted(&mut ranked.map(|grade| grade.unwrap_or(0))) / ideal } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANKED: [Option<i64>; 4] = [None, Some(0), Some(2), Some(1)];
    const JUDGED: [i64; 5] = [3, 2, 1, 0, -1];

    fn of(measure: Measure) -> f64 {
        measure.of(GradedList { ranked: &RANKED, judged: &JUDGED })
    }

    #[test]
    fn gains_are_linear_or_exponential() {
        let log = f64::log2;
        let linear = (2.0 / log(4.0) + 1.0 / log(5.0)) / (3.0 + 2.0 / log(3.0) + 1.0 / log(4.0));
        let exponential = (3.0 / log(4.0) + 1.0 / log(5.0)) / (7.0 + 3.0 / log(3.0) + 1.0 / log(4.0));
        assert!((of(Measure::Ndcg(10)) - linear).abs() < 1e-12);
        assert!((of(Measure::NdcgExponential(10)) - exponential).abs() < 1e-12);
        let condensed = (3.0 / log(3.0) + 1.0 / log(4.0)) / (7.0 + 3.0 / log(3.0) + 1.0 / log(4.0));
        assert!((of(Measure::JudgedNdcgExponential(10)) - condensed).abs() < 1e-12);
        assert!((of(Measure::JudgedNdcg(2)) - (2.0 / log(3.0)) / (3.0 + 2.0 / log(3.0))).abs() < 1e-12);
        let endless = GradedList { ranked: &[Some(i64::MAX)], judged: &[i64::MAX] };
        assert_eq!(Measure::NdcgExponential(1).of(endless), 1.0);
    }

    #[test]
    fn cutoffs_count_ranks() {
        assert_eq!([3, 4].map(|cutoff| of(Measure::Precision(cutoff))), [1.0 / 3.0, 0.5]);
        assert_eq!([1, 4, 9].map(|cutoff| of(Measure::Judged(cutoff))), [0.0, 0.75, 0.75]);
        assert_eq!([2, 3, 9].map(|cutoff| of(Measure::Recall(cutoff))), [0.0, 1.0 / 3.0, 2.0 / 3.0]);
        assert_eq!([2, 3].map(|cutoff| of(Measure::ReciprocalRank(cutoff))), [0.0, 1.0 / 3.0]);
        assert!((of(Measure::AveragePrecision) - (1.0 / 3.0 + 0.5) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn names_read_back() {
        let names = "ndcg@10 ndcg_exponential@5 judged_ndcg@10 judged_ndcg_exponential@3 precision@1 judged@10 \
                     recall@100 mrr@10 map";
        for name in names.split_whitespace() {
            assert_eq!(name.parse::<Measure>().map(|measure| measure.to_string()), Ok(name.to_owned()));
        }
        for wrong in ["", "ndcg", "ndcg@0", "ndcg@ten", "map@10", "score@10"] {
            assert!(wrong.parse::<Measure>().unwrap_err().contains("is no measure"), "{wrong}");
        }
    }
}
