//! The HTML report: figures, and what the worst queries find. Owns which queries are shown and how a hit looks; escaping is in
//! `html.rs`. Invariant: one file that needs nothing but the pictures it points to, and the same for the same inputs.

use std::path::{Path, PathBuf};

use anyhow::Context;
use schemas::trec::Qrels;
use searcher::evaluation::EvaluationQuery;
use searcher::{Hit, Mode, Query, Searcher};

use super::figures::{Figures, NamedComparison};
use super::html::{escaped, page, picture_address, table};

/// Queries with the lowest nDCG@10 that are shown, and as many with the largest losses of each comparison.
const SHOWN_QUERIES: usize = 10;
/// Hits shown of each mode.
const SHOWN_HITS: usize = 10;

/// What the report is made of.
pub(super) struct ReportInputs<'a> {
    /// The snapshot's name.
    pub(super) snapshot: &'a str,
    pub(super) searcher: &'a Searcher,
    /// The queries with the settings that were measured.
    pub(super) queries: &'a [EvaluationQuery],
    pub(super) qrels: &'a Qrels,
    pub(super) figures: &'a Figures,
    /// The tables' headers and rows: means, then comparisons.
    pub(super) tables: Vec<(Vec<String>, Vec<Vec<String>>)>,
    /// The settings file's text, empty where there is none.
    pub(super) settings: String,
    /// Folder that the catalog's picture paths are below.
    pub(super) pictures: Option<PathBuf>,
}

/// Writes the report.
pub(super) fn write(path: &Path, inputs: &ReportInputs<'_>) -> anyhow::Result<()> {
    let mut body = format!("<p>Snapshot {}</p>\n", escaped(inputs.snapshot));
    for (header, rows) in inputs.tables.iter().filter(|(_, rows)| !rows.is_empty()) {
        body.push_str(&table(header, rows));
    }
    let settings = if inputs.settings.is_empty() { "the snapshot's own" } else { &inputs.settings };
    body.push_str(&format!("<h2>Ranking settings</h2>\n<pre>{}</pre>\n", escaped(settings)));
    body.push_str("<h2>Lowest nDCG@10</h2>\n");
    for (query, value) in lowest(inputs.figures) {
        body.push_str(&question(inputs, &query, &format!("nDCG@10 {value:.4}"))?);
    }
    for named in &inputs.figures.comparisons {
        let NamedComparison { before, after, figures } = named;
        let losses: Vec<_> =
            figures.changed.iter().filter(|query| query.difference < 0.0).take(SHOWN_QUERIES).collect();
        if !losses.is_empty() {
            let heading = format!("Largest losses of {}, {before} → {after}", figures.measure);
            body.push_str(&format!("<h2>{}</h2>\n", escaped(&heading)));
        }
        for query in losses {
            let change = format!("{:.4} → {:.4}", query.before, query.after);
            body.push_str(&question(inputs, &query.query, &change)?);
        }
    }
    fs_err::write(path, page("Search evaluation", &body)).context("cannot write the report")
}

/// The queries with the lowest nDCG@10 of the last mode, lowest first.
fn lowest(figures: &Figures) -> Vec<(String, f64)> {
    let queries = figures.modes.last().and_then(|(_, figures)| figures.per_query.as_ref());
    let mut values: Vec<(String, f64)> =
        queries.into_iter().flatten().map(|query| (query.query.clone(), query.metrics.ndcg_at_10)).collect();
    values.sort_by(|left, right| left.1.total_cmp(&right.1).then_with(|| left.0.cmp(&right.0)));
    values.truncate(SHOWN_QUERIES);
    values
}

/// A query with the first hits of every mode.
fn question(inputs: &ReportInputs<'_>, id: &str, figure: &str) -> anyhow::Result<String> {
    let Some(asked) = inputs.queries.iter().find(|asked| asked.id == id) else { return Ok(String::new()) };
    let texts = asked.query.texts.iter().map(|part| part.text.clone());
    let pictures = asked.query.images.iter().map(|part| part.file.to_string_lossy().into_owned());
    let words: Vec<String> = texts.chain(pictures).collect();
    let heading = format!("{id}: {}", words.join(" + "));
    let mut html = format!("<h3>{} <small>{}</small></h3>\n", escaped(&heading), escaped(figure));
    for (mode, _) in &inputs.figures.modes {
        if *mode == Mode::Keyword && asked.query.keyword_texts().next().is_none() {
            continue;
        }
        let query = Query { mode: *mode, limit: SHOWN_HITS, offset: 0, explain: true, ..asked.query.clone() };
        let hits = inputs.searcher.search(&query).with_context(|| format!("query `{id}`"))?.hits;
        html.push_str(&format!("<h4>{mode}</h4>\n<div class=\"hits\">\n"));
        for hit in &hits {
            let grade = inputs.qrels.get(id).and_then(|judgments| judgments.get(&hit.id)).copied();
            html.push_str(&card(hit, grade, inputs.pictures.as_deref()));
        }
        html.push_str("</div>\n");
    }
    Ok(html)
}

/// One hit: picture, title, grade and where its score comes from.
fn card(hit: &Hit, grade: Option<i64>, pictures: Option<&Path>) -> String {
    let class = match grade {
        Some(grade) if grade >= 1 => "hit relevant",
        Some(_) => "hit irrelevant",
        None => "hit",
    };
    let grade = grade.map_or_else(|| "unjudged".to_owned(), |grade| format!("grade {grade}"));
    let address = pictures.zip(hit.image.as_deref()).and_then(|(folder, image)| picture_address(folder, image));
    let picture = address
        .map_or_else(String::new, |address| format!("<img src=\"{}\" alt=\"\" loading=\"lazy\">", escaped(&address)));
    let parts = hit.explain.as_ref().map_or_else(String::new, |explain| {
        let fusion = &explain.rank_fusion;
        format!(" = keyword {:.4} + vector {:.4}", fusion.keyword_part, fusion.vector_part)
    });
    format!(
        "<div class=\"{class}\">{picture}<b>{}</b> {}<br><small>{} · {}<br>score {:.4}{}</small></div>\n",
        hit.rank,
        escaped(hit.title.as_deref().unwrap_or("–")),
        escaped(&hit.id),
        escaped(&grade),
        hit.score,
        escaped(&parts),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_hit_stays_text() {
        let hit = Hit {
            rank: 1,
            row: 0,
            id: "<b>p1</b>".to_owned(),
            score: 0.5,
            title: Some("</div><script>alert(1)</script>".to_owned()),
            description: None,
            image: Some("a\" onerror=\"alert(1).png".to_owned()),
            fields: Vec::new(),
            others: None,
            duplicate_of: None,
            explain: None,
        };
        let html = card(&hit, Some(0), Some(Path::new("/pictures")));
        assert!(!html.contains("<script") && !html.contains("<b>p1") && !html.contains("onerror=\""), "{html}");
        assert!(html.contains("grade 0") && html.contains("/pictures/a%22%20onerror%3D%22alert%281%29.png"), "{html}");
        assert!(!card(&hit, None, None).contains("<img"), "no folder, no picture");
        let foreign = Hit { image: Some("http://example.com/a.png".to_owned()), ..hit };
        assert!(!card(&foreign, None, Some(Path::new("/pictures"))).contains("<img"));
    }
}
