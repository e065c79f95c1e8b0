//! `indexer label`. Owns its flags, the file it writes, and what it prints; proposals are the library's.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};
use encoders::DeviceChoice;
use indexer::label::{
    self, DEFAULT_MIN_CONFIDENCE, DEFAULT_NEIGHBOURS, DEFAULT_SAMPLE, DEFAULT_SEED, EvaluationSettings,
    FieldEvaluation, FieldLabels, LabelSettings,
};
use schemas::labels::{LabelMethod, LabelsWriter};
use schemas::terminal;
use searcher::{OpenOptions, Searcher};

use crate::arguments::StoreArguments;
use crate::{print, print_json};

#[derive(Debug, Args)]
pub(crate) struct LabelArguments {
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    /// Declared field of type string or category whose gaps are filled; several separated by commas
    #[arg(long = "field", value_name = "NAME", value_delimiter = ',', required = true)]
    pub(crate) fields: Vec<String>,
    /// Parquet file to write the proposals to: id, field, value, confidence, method, evidence
    #[arg(long, value_name = "FILE", required_unless_present = "evaluate")]
    pub(crate) output: Option<PathBuf>,
    /// Propose nothing: hide the values of half of the items that have one, and say how well they are found again
    #[arg(long, conflicts_with = "output")]
    pub(crate) evaluate: bool,
    /// Seed by which the half is drawn
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SEED, requires = "evaluate")]
    pub(crate) seed: u64,
    /// Hidden items to ask for at most
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SAMPLE, requires = "evaluate")]
    pub(crate) sample: usize,
    /// What names values; `neighbours` loads no model
    #[arg(long, value_enum, default_value_t = MethodArgument::Both)]
    pub(crate) method: MethodArgument,
    /// Labelled neighbours that vote
    #[arg(long, value_name = "K", default_value_t = DEFAULT_NEIGHBOURS)]
    pub(crate) neighbours: usize,
    /// Leave out proposals that are less sure, 0 to 1
    #[arg(long, value_name = "C", default_value_t = DEFAULT_MIN_CONFIDENCE)]
    pub(crate) min_confidence: f32,
    /// Device for encoding the values' names: auto, cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(crate) device: DeviceChoice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum MethodArgument {
    /// The vote of the nearest items that have a value
    Neighbours,
    /// The likeness of the item to the values' names
    #[value(alias = "zero-shot")]
    ZeroShot,
    /// Both together
    Both,
}

impl From<MethodArgument> for LabelMethod {
    fn from(method: MethodArgument) -> LabelMethod {
        match method {
            MethodArgument::Neighbours => LabelMethod::Neighbours,
            MethodArgument::ZeroShot => LabelMethod::ZeroShot,
            MethodArgument::Both => LabelMethod::Both,
        }
    }
}

/// Proposes values for items that lack them, or measures how good that is.
pub(crate) fn label(arguments: &LabelArguments) -> anyhow::Result<ExitCode> {
    let options = OpenOptions { device: arguments.device, ..OpenOptions::default() };
    let (snapshot, searcher) = Searcher::open_current(&arguments.store.store, &options)?;
    let settings = LabelSettings {
        method: arguments.method.into(),
        neighbours: arguments.neighbours,
        min_confidence: arguments.min_confidence,
    };
    if arguments.evaluate {
        let drawing = EvaluationSettings { seed: arguments.seed, sample: arguments.sample };
        let mut found: Vec<FieldEvaluation> = Vec::new();
        for field in &arguments.fields {
            found.push(label::evaluate(&searcher, field, &settings, &drawing)?);
        }
        if arguments.store.json {
            print_json(&serde_json::json!({ "snapshot": snapshot.as_str(), "fields": found }).to_string())?;
        } else {
            print(&evaluations(&found))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut found: Vec<FieldLabels> = Vec::new();
    for field in &arguments.fields {
        found.push(label::propose(&searcher, field, &settings)?);
    }
    if let Some(path) = &arguments.output {
        let mut writer = LabelsWriter::create(path)?;
        for field in &found {
            writer.write(&field.labels)?;
        }
        writer.finish()?;
    }
    if arguments.store.json {
        let fields: Vec<serde_json::Value> = found.iter().map(with_proposed).collect::<Result<_, _>>()?;
        print_json(&serde_json::json!({ "snapshot": snapshot.as_str(), "fields": fields }).to_string())?;
    } else {
        print(&proposals(&found))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn with_proposed(field: &FieldLabels) -> serde_json::Result<serde_json::Value> {
    let mut value = serde_json::to_value(field)?;
    value["proposed"] = field.labels.len().into();
    Ok(value)
}

fn proposals(fields: &[FieldLabels]) -> String {
    let rows = fields.iter().map(|field| {
        let FieldLabels { field, labelled, missing, silent, unsure, labels } = field;
        let counts = [labelled, missing, &labels.len(), unsure, silent].map(ToString::to_string);
        std::iter::once(terminal::line(field)).chain(counts).collect()
    });
    table(&["field", "have a value", "lack one", "proposed", "too unsure", "nothing known"], rows.collect(), 1)
}

fn evaluations(fields: &[FieldEvaluation]) -> String {
    let percent = |share: f64| format!("{share:.3}");
    let mut rows: Vec<Vec<String>> = Vec::new();
    for field in fields {
        let FieldEvaluation { field, values, known, hidden, impossible, majority_accuracy, methods } = field;
        let counts = [values, known, hidden, impossible].map(ToString::to_string);
        let row = |method: &str, figures: [String; 4]| {
            let names = [terminal::line(field), method.to_owned()];
            names.into_iter().chain(counts.clone()).chain(figures).collect::<Vec<String>>()
        };
        let none = String::new;
        rows.push(row("majority", [percent(*majority_accuracy), none(), none(), none()]));
        for method in methods {
            let proposed = method.proposed_accuracy.map_or_else(none, percent);
            let figures =
                [percent(method.accuracy), percent(method.coverage), proposed, percent(method.calibration_error)];
            rows.push(row(method.method.name(), figures));
        }
    }
    let header = [
        "field",
        "method",
        "values",
        "known",
        "hidden",
        "impossible",
        "accuracy",
        "coverage",
        "accuracy of these",
        "calibration error",
    ];
    table(&header, rows, 2)
}

/// A table whose first columns are texts and the others numbers.
fn table(header: &[&str], rows: Vec<Vec<String>>, texts: usize) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(texts) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.lines().flat_map(|line| [line.trim_end().to_owned(), "\n".to_owned()]).collect()
}
