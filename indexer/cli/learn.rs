//! `indexer learn`. Owns what is printed; the training is the library's.

use std::fmt::Write;
use std::process::ExitCode;

use indexer::learn::held_out::{Compared, Figures, HeldOut};
use indexer::learn::{self, LearnReport, LearnRequest, LearnSettings, QueryFiles};

use crate::arguments::LearnArguments;
use crate::{print, print_json};

/// Trains a model and says what it is worth.
pub(crate) fn learn(arguments: &LearnArguments) -> anyhow::Result<ExitCode> {
    let request = LearnRequest {
        store: arguments.store.store.clone(),
        files: QueryFiles {
            queries: arguments.queries.clone(),
            image_queries: arguments.image_queries.clone(),
            qrels: arguments.qrels.clone(),
        },
        output: arguments.output.clone(),
        settings: LearnSettings {
            seed: arguments.seed,
            epochs: arguments.epochs,
            learning_rate: arguments.learning_rate,
            weight_decay: arguments.weight_decay,
            temperature: arguments.temperature,
            folds: arguments.folds,
        },
    };
    let report = learn::learn(&request)?;
    if arguments.store.json {
        print_json(&serde_json::to_string_pretty(&report)?)?;
    } else {
        print(&summary(&report))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The report for people.
fn summary(report: &LearnReport) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:>10}  {value}");
    };
    let LearnReport { snapshot, output, blake3: _, skipped_queries, training, held_out } = report;
    line("trained on", format!("{} queries of snapshot {snapshot}, {skipped_queries} left out", training.queries));
    line("loss", format!("{:.4} in the last of {} epochs", training.loss, training.epochs));
    line("wrote", output.display().to_string());
    if let Some(held_out) = held_out {
        text.push_str(&table(held_out));
    }
    text
}

/// The cross-validation's means.
fn table(held_out: &HeldOut) -> String {
    let mut text = format!(
        "\nheld-out queries, {} folds, vector mode: nDCG@10 (judged nDCG@10); p of learned against blocks, tuned weights\n\
         {:<16}{:>7}{:>19}{:>19}{:>19}{:>18}\n",
        held_out.folds, "", "queries", "weighted_blocks", "tuned weights", "learned", "p"
    );
    for (kind, means) in &held_out.means {
        let Compared { weighted_blocks, weighted_blocks_tuned, learned } = means.compared;
        let shown = |figures: Figures| format!("{:.4} ({:.4})", figures.ndcg_at_10, figures.judged_ndcg_at_10);
        let [blocks, tuned, learned] = [weighted_blocks, weighted_blocks_tuned, learned].map(shown);
        let p_value = |value: f64| if value < 1e-4 { "<0.0001".to_owned() } else { format!("{value:.4}") };
        let p_values = format!("{}, {}", p_value(means.p_value), p_value(means.p_value_tuned));
        let kind = kind.replace('_', " ");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{kind:<16}{:>7}{blocks:>19}{tuned:>19}{learned:>19}{p_values:>18}", means.queries);
    }
    text
}
