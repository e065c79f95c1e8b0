//! `searcher info`. Owns how a manifest is shown.

use std::process::ExitCode;

use schemas::Manifest;
use schemas::manifest::EmbeddingFusionKind;
use schemas::ranking::FeatureWeight;
use serde::Serialize;

use crate::arguments::{InfoArguments, SnapshotArguments};
use crate::opened::{Opened, open};
use crate::{output, table};

/// Says what the snapshot holds.
pub(crate) fn info(snapshot: &SnapshotArguments, arguments: &InfoArguments) -> anyhow::Result<ExitCode> {
    let Opened { snapshot, searcher } = open(snapshot)?;
    if arguments.json {
        output::print_json(&Info { snapshot: &snapshot, manifest: searcher.manifest() })?;
    } else {
        output::print(&table::pairs(&rows(snapshot, searcher.manifest())))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Info<'a> {
    snapshot: &'a str,
    manifest: &'a Manifest,
}

fn rows(snapshot: String, manifest: &Manifest) -> Vec<(String, String)> {
    let bytes: u64 = manifest.files.values().map(|file| file.bytes).sum();
    let mut rows = vec![
        ("snapshot".to_owned(), snapshot),
        ("created".to_owned(), format!("{} by version {}", manifest.created, manifest.tool_version)),
        ("items".to_owned(), manifest.item_count.to_string()),
        ("size".to_owned(), format!("{:.1} MB", bytes as f64 / 1e6)),
    ];
    for modality in &manifest.modalities {
        let encoder = &modality.encoder;
        let text = format!(
            "{} items, {} ({} dimensions, {}), weight {:.3}",
            modality.present,
            encoder.name,
            encoder.dimension,
            encoder.fingerprint(),
            modality.weight
        );
        rows.push((format!("modality {}", modality.modality), text));
    }
    if let Some(vector) = &manifest.vector {
        let kind = match vector.embedding_fusion {
            EmbeddingFusionKind::WeightedBlocks => "weighted_blocks",
            EmbeddingFusionKind::WeightedMean => "weighted_mean",
            EmbeddingFusionKind::Learned => "learned",
        };
        let text = format!("{kind}, {} item vectors of {} dimensions", vector.vector_count, vector.dimension);
        rows.push(("embedding fusion".to_owned(), text));
    }
    for field in &manifest.fields {
        let searched = if field.searched { ", searched" } else { "" };
        rows.push((format!("field {}", field.name), format!("{}{searched}", field.r#type)));
    }
    for field in &manifest.keyword.fields {
        let text = format!("{:?} analysis, weight {}, b {}", field.analyzer, field.weight, field.b).to_lowercase();
        rows.push((format!("keyword {}", field.name), text));
    }
    if let Some(languages) = &manifest.keyword.languages {
        let analyzers = languages.analyzers.iter().map(|(code, kind)| format!("{code} {}", kind.name()));
        let text = format!("{} by field {}", analyzers.collect::<Vec<_>>().join(", "), languages.field);
        rows.push(("keyword languages".to_owned(), text));
    }
    let fusion = &manifest.rank_fusion;
    let text = format!("{:?}, alpha {}, depth {}", fusion.method, fusion.alpha, fusion.depth).to_lowercase();
    rows.push(("rank fusion".to_owned(), text));
    for (feature, FeatureWeight { weight, middle }) in &fusion.query_alpha.features {
        rows.push((format!("alpha by {feature}"), format!("weight {weight}, middle {middle}")));
    }
    rows
}
