//! An explanation as lines to read. Owns their layout; the numbers are the library's.

use std::fmt::Write;

use schemas::manifest::RankFusionMethod;
use searcher::Hit;
use searcher::explain::{KeywordExplanation, RankFusionExplanation, VectorExplanation};

use crate::output::shown;

/// The lines for one hit; none when it is not explained.
pub(crate) fn explanation(hit: &Hit) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_explanation(&mut text, hit);
    text
}

fn write_explanation(text: &mut String, hit: &Hit) -> std::fmt::Result {
    let Some(explain) = &hit.explain else { return Ok(()) };
    writeln!(text, "\n{}  {}  {}", hit.rank, shown(&hit.id), hit.title.as_deref().map_or_else(String::new, shown))?;
    let RankFusionExplanation { method, alpha, keyword_part, vector_part, lift } = &explain.rank_fusion;
    write!(text, "  score {:.6}", explain.score)?;
    match (method, alpha) {
        (Some(method), Some(alpha)) => {
            writeln!(
                text,
                " = keyword {keyword_part:.6} + vector {vector_part:.6}  ({}, alpha {alpha})",
                name(*method)
            )?;
        }
        (Some(method), None) => {
            writeln!(text, " = keyword {keyword_part:.6} + vector {vector_part:.6}  ({})", name(*method))?;
        }
        (None, _) => writeln!(text, "  ({} alone)", if explain.keyword.is_some() { "keyword" } else { "vector" })?,
    }
    if let Some(lift) = lift {
        writeln!(text, "  {lift} of the keyword part for being among the first of the keyword list (keyword_first)")?;
    }
    if let Some(keyword) = &explain.keyword {
        write_keyword(text, keyword)?;
    }
    if let Some(vector) = &explain.vector {
        write_vector(text, vector)?;
    }
    Ok(())
}

fn write_keyword(text: &mut String, keyword: &KeywordExplanation) -> std::fmt::Result {
    let KeywordExplanation { score, normalised, rank, terms } = keyword;
    writeln!(text, "  keyword {score:.4}, {}, normalised {normalised:.4}", place(*rank))?;
    for term in terms {
        write!(text, "    {:.4}  {}", term.score, shown(&term.term))?;
        writeln!(text, "  (idf {:.3}, in {} items, weight {})", term.idf, term.document_frequency, term.query_weight)?;
        for field in &term.fields {
            let times = if field.count == 1 { "once" } else { "times" };
            let count = if field.count == 1 { String::new() } else { format!("{} ", field.count) };
            writeln!(
                text,
                "      {:.4}  {}: {count}{times} in {} terms",
                field.score,
                shown(&field.field),
                field.length
            )?;
        }
    }
    Ok(())
}

fn write_vector(text: &mut String, vector: &VectorExplanation) -> std::fmt::Result {
    let VectorExplanation { score, normalised, rank, modalities } = vector;
    match score {
        Some(score) => writeln!(text, "  vector {score:.4}, {}, normalised {normalised:.4}", place(*rank))?,
        None => writeln!(text, "  vector: query and item have no modality in common, normalised {normalised:.4}")?,
    }
    for modality in modalities {
        match modality.cosine {
            Some(cosine) => {
                writeln!(
                    text,
                    "    {:.4}  {}: cosine {cosine:.4}, weight {}",
                    modality.score, modality.modality, modality.weight
                )?;
            }
            None => {
                writeln!(text, "    –       {}: query or item has none, weight {}", modality.modality, modality.weight)?
            }
        }
    }
    Ok(())
}

fn place(rank: Option<u32>) -> String {
    rank.map_or_else(|| "not in its list".to_owned(), |rank| format!("rank {rank}"))
}

fn name(method: RankFusionMethod) -> &'static str {
    match method {
        RankFusionMethod::Convex => "convex",
        RankFusionMethod::MinMax => "min_max",
        RankFusionMethod::ZScore => "z_score",
        RankFusionMethod::ReciprocalRank => "reciprocal_rank",
    }
}
