//! The figures of `searcher eval` as tables and as JSON. Owns both forms; not the figures. Invariant: JSON names only grow.

use std::collections::BTreeMap;

use searcher::Mode;
use searcher::evaluation::{Comparison, Evaluation, Measure, QueryMetrics};
use serde::Serialize;
use serde::ser::SerializeMap;

use crate::output::shown;
use crate::table;

/// Queries listed under a comparison.
const CHANGED_SHOWN: usize = 10;

/// What was measured of one mode.
#[derive(Serialize)]
pub(super) struct ModeFigures {
    #[serde(flatten)]
    pub(super) evaluation: Evaluation,
    /// Measures asked for beside the usual ones.
    #[serde(flatten)]
    pub(super) more: BTreeMap<String, f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) per_query: Option<Vec<QueryMetrics>>,
}

/// A comparison and what it is of.
#[derive(Serialize)]
pub(super) struct NamedComparison {
    pub(super) before: String,
    pub(super) after: String,
    #[serde(rename = "comparison")]
    pub(super) figures: Comparison,
}

/// Everything that is printed: in JSON an object with a key per mode, in their order, then `comparisons`.
pub(super) struct Figures {
    pub(super) modes: Vec<(Mode, ModeFigures)>,
    pub(super) comparisons: Vec<NamedComparison>,
}

impl Serialize for Figures {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (mode, figures) in &self.modes {
            map.serialize_entry(mode.name(), figures)?;
        }
        if !self.comparisons.is_empty() {
            map.serialize_entry("comparisons", &self.comparisons)?;
        }
        map.end()
    }
}

impl Figures {
    /// The tables below each other.
    pub(super) fn shown(&self, more: &[Measure]) -> String {
        let (header, rows) = self.means(more);
        let mut text = table::figures(header, rows);
        if let Some(Evaluation { queries, skipped, .. }) = self.modes.first().map(|(_, figures)| figures.evaluation) {
            text.push_str(&format!("\n{queries} queries"));
            if skipped > 0 {
                text.push_str(&format!("; {skipped} more have no relevant item in the judgments and do not count"));
            }
            text.push('\n');
        }
        for (mode, figures) in &self.modes {
            if let Some(queries) = &figures.per_query {
                text.push_str(&format!("\n{mode}\n{}", per_query(queries)));
            }
        }
        if !self.comparisons.is_empty() {
            let (header, rows) = comparisons(&self.comparisons);
            text.push_str(&format!("\n{}\np: two-sided paired randomisation test\n", table::figures(header, rows)));
        }
        for named in self.comparisons.iter().filter(|named| !named.figures.changed.is_empty()) {
            text.push_str(&format!("\n{}", changed(named)));
        }
        text
    }

    /// The header and rows of the means.
    pub(super) fn means(&self, more: &[Measure]) -> (Vec<String>, Vec<Vec<String>>) {
        let first = self.modes.first().map(|(_, figures)| figures);
        let names = first.map(|figures| figures.evaluation.metrics.named().map(|(name, _)| name.to_owned()));
        let header = std::iter::once(String::new()).chain(names.into_iter().flatten());
        let header = header.chain(more.iter().map(ToString::to_string));
        let rows = self.modes.iter().map(|(mode, figures)| {
            let usual = figures.evaluation.metrics.named().map(|(_, value)| value);
            let others = more.iter().filter_map(|measure| figures.more.get(&measure.to_string()));
            let values = usual.iter().chain(others).map(|value| format!("{value:.4}"));
            std::iter::once(mode.name().to_owned()).chain(values).collect()
        });
        (header.collect(), rows.collect())
    }
}

fn per_query(queries: &[QueryMetrics]) -> String {
    let names = queries.first().map(|query| query.metrics.named().map(|(name, _)| name.to_owned()));
    let header = std::iter::once("query".to_owned()).chain(names.into_iter().flatten());
    let rows = queries.iter().map(|QueryMetrics { query, metrics }| {
        let values = metrics.named().map(|(_, value)| format!("{value:.4}"));
        std::iter::once(shown(query)).chain(values).collect()
    });
    table::figures(header.collect(), rows.collect())
}

/// The header and rows of the comparisons.
pub(super) fn comparisons(comparisons: &[NamedComparison]) -> (Vec<String>, Vec<Vec<String>>) {
    let header = ["", "measure", "before", "after", "difference", "p", "better", "worse", "equal"];
    let rows = comparisons.iter().map(|NamedComparison { before, after, figures }| {
        vec![
            shown(&format!("{before} → {after}")),
            figures.measure.to_string(),
            format!("{:.4}", figures.before),
            format!("{:.4}", figures.after),
            format!("{:+.4}", figures.difference),
            table::p_value(figures.test.p_value),
            figures.better.to_string(),
            figures.worse.to_string(),
            figures.equal.to_string(),
        ]
    });
    (header.map(str::to_owned).to_vec(), rows.collect())
}

fn changed(named: &NamedComparison) -> String {
    let NamedComparison { before, after, figures } = named;
    let header = vec![
        shown(&format!("{before} → {after}")),
        "before".to_owned(),
        "after".to_owned(),
        figures.measure.to_string(),
    ];
    let rows = figures.changed.iter().take(CHANGED_SHOWN).map(|query| {
        let (before, after) = (format!("{:.4}", query.before), format!("{:.4}", query.after));
        vec![shown(&query.query), before, after, format!("{:+.4}", query.difference)]
    });
    let mut text = table::figures(header, rows.collect());
    let left_out = figures.changed.len().saturating_sub(CHANGED_SHOWN);
    if left_out > 0 {
        text.push_str(&format!("and {left_out} more changed\n"));
    }
    text
}
