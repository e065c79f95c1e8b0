//! An explanation as lines to read. Owns their layout; the numbers are the library's.

use std::fmt::Write;

use schemas::manifest::RankFusionMethod;
use schemas::ranking::QueryAlphaPart;
use searcher::Hit;
use searcher::diversity::DiversityExplanation;
use searcher::explain::{KeywordExplanation, RankFusionExplanation, VectorExplanation};
use searcher::keyword::WritingOrigin;
use searcher::rank_fusion::query_alpha::QueryAlphaExplanation;
use searcher::recommend::ProfileExplanation;
use searcher::vector::ModalityExplanation;

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
    let RankFusionExplanation { method, alpha, query_alpha, keyword_part, vector_part, profile_part, lift } =
        &explain.rank_fusion;
    write!(text, "  score {:.6}", explain.score)?;
    let parts = [
        ("keyword", explain.keyword.is_some().then_some(*keyword_part)),
        ("vector", explain.vector.is_some().then_some(*vector_part)),
        ("profile", *profile_part),
    ];
    let parts: Vec<(&str, f32)> = parts.into_iter().filter_map(|(side, part)| Some((side, part?))).collect();
    if parts.is_empty() {
        writeln!(text, "  (nothing is looked for)")?;
    } else if let [(side, _)] = parts.as_slice() {
        writeln!(text, "  ({side} alone)")?;
    } else {
        let sum: Vec<String> = parts.iter().map(|(side, part)| format!("{side} {part:.6}")).collect();
        let method = method.map(|method| format!("  ({}", name(method)));
        let alpha = alpha.map(|alpha| format!(", alpha {}", rounded(alpha))).unwrap_or_default();
        writeln!(
            text,
            " = {}{}",
            sum.join(" + "),
            method.map_or_else(String::new, |method| format!("{method}{alpha})"))
        )?;
    }
    if let (Some(alpha), Some(query_alpha)) = (alpha, query_alpha) {
        write_query_alpha(text, *alpha, query_alpha)?;
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
    if let Some(profile) = &explain.profile {
        write_profile(text, profile)?;
    }
    if let Some(diversity) = &explain.diversity {
        write_diversity(text, diversity)?;
    }
    Ok(())
}

/// Alpha as the sum of its parts; a sum that leaves 0 to 1 is held there.
fn write_query_alpha(text: &mut String, alpha: f32, query_alpha: &QueryAlphaExplanation) -> std::fmt::Result {
    let QueryAlphaExplanation { base, parts } = query_alpha;
    write!(text, "  alpha {alpha:.4} = {base}")?;
    for QueryAlphaPart { feature, value, middle, weight, part } in parts {
        let (sign, part) = if *part < 0.0 { ('-', -part) } else { ('+', *part) };
        write!(text, " {sign} {part:.4} {feature} ({value:.4}, middle {middle}, weight {weight})")?;
    }
    let sum = parts.iter().fold(f64::from(*base), |sum, part| sum + f64::from(part.part));
    writeln!(text, "{}", if (0.0..=1.0).contains(&sum) { "" } else { ", held between 0 and 1" })
}

fn write_keyword(text: &mut String, keyword: &KeywordExplanation) -> std::fmt::Result {
    let KeywordExplanation { score, normalised, rank, terms, proximity } = keyword;
    writeln!(text, "  keyword {score:.4}, {}, normalised {normalised:.4}", place(*rank))?;
    for term in terms {
        write!(text, "    {:.4}  {}", term.score, shown(&term.term))?;
        writeln!(text, "  (idf {:.3}, in {} items, weight {})", term.idf, term.document_frequency, term.query_weight)?;
        for field in &term.fields {
            let times = if field.count == 1 { "once" } else { "times" };
            let count = if field.count == 1 { String::new() } else { format!("{} ", field.count) };
            let written = match field.origin {
                WritingOrigin::Exact => String::new(),
                WritingOrigin::Spelling => format!(" as `{}`", shown(&field.written)),
                WritingOrigin::Synonym => format!(" as its synonym `{}`", shown(&field.written)),
                WritingOrigin::Fuzzy => format!(" as the similar `{}`", shown(&field.written)),
            };
            writeln!(
                text,
                "      {:.4}  {}: {count}{times}{written} in {} terms",
                field.score,
                shown(&field.field),
                field.length
            )?;
        }
    }
    for pair in proximity {
        let [left, right] = &pair.terms;
        writeln!(text, "    {:.4}  `{}` close to `{}`", pair.score, shown(left), shown(right))?;
    }
    Ok(())
}

fn write_vector(text: &mut String, vector: &VectorExplanation) -> std::fmt::Result {
    let VectorExplanation { score, normalised, rank, modalities } = vector;
    match score {
        Some(score) => writeln!(text, "  vector {score:.4}, {}, normalised {normalised:.4}", place(*rank))?,
        None => writeln!(text, "  vector: query and item have no modality in common, normalised {normalised:.4}")?,
    }
    write_modalities(text, modalities)
}

fn write_profile(text: &mut String, profile: &ProfileExplanation) -> std::fmt::Result {
    let ProfileExplanation { weight, score, normalised, rank, modalities } = profile;
    match score {
        Some(score) => {
            let place = place(*rank);
            writeln!(text, "  profile {score:.4}, {place}, normalised {normalised:.4}, weight {weight}")?;
        }
        None => writeln!(text, "  profile: it and the item have no modality in common, normalised {normalised:.4}")?,
    }
    write_modalities(text, modalities)
}

fn write_modalities(text: &mut String, modalities: &[ModalityExplanation]) -> std::fmt::Result {
    for modality in modalities {
        // Learned embedding fusion has weights with many digits.
        let weight = rounded(modality.weight);
        match modality.cosine {
            Some(cosine) => {
                writeln!(
                    text,
                    "    {:.4}  {}: cosine {cosine:.4}, weight {weight}",
                    modality.score, modality.modality
                )?;
            }
            None => writeln!(text, "    –       {}: query or item has none, weight {weight}", modality.modality)?,
        }
    }
    Ok(())
}

fn write_diversity(text: &mut String, diversity: &DiversityExplanation) -> std::fmt::Result {
    let DiversityExplanation { rank_before, similarity, similar_to } = diversity;
    write!(text, "  diversity: rank {rank_before} before, ")?;
    match (similarity, similar_to) {
        (Some(similarity), Some(id)) => writeln!(text, "similarity {similarity:.4} to {}", shown(id)),
        (_, None) | (None, _) => writeln!(text, "like no hit before it"),
    }
}

/// Four digits at most: moved by features, alpha has many.
fn rounded(number: f32) -> f32 {
    (number * 1e4).round() / 1e4
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
