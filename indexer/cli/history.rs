//! `indexer history`. Owns how runs are shown.

use std::process::ExitCode;

use comfy_table::{Cell, CellAlignment, Table, presets};
use indexer::history::{HistoryRow, history as read};
use schemas::{Store, terminal};

use crate::arguments::HistoryArguments;
use crate::{print, print_json};

/// Shows the runs of a store.
pub(crate) fn history(arguments: &HistoryArguments) -> anyhow::Result<ExitCode> {
    let history = read(&Store::open(&arguments.store.store)?, arguments.runs)?;
    for report in &history.unreadable {
        tracing::warn!(file = report.file, reason = report.reason, "no report; passed over");
    }
    if arguments.store.json {
        print_json(&serde_json::to_string_pretty(&history)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let header =
        ["started", "outcome", "snapshot", "rows", "items", "±", "rejected", "encoded", "kept", "seconds", "forced"];
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    for run in &history.runs {
        table.add_row(row(run));
    }
    print(&format!("{table}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn row(run: &HistoryRow) -> Vec<Cell> {
    let number = |text: Option<String>| Cell::new(text.unwrap_or_default()).set_alignment(CellAlignment::Right);
    let count = |count: Option<u64>| number(count.map(|count| count.to_string()));
    let forced = run.overruled.as_ref().map(|overruled| {
        let reason = overruled.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        terminal::line(&format!("{} by {}{reason}", overruled.gates.join(", "), overruled.by))
    });
    vec![
        Cell::new(terminal::line(&run.started)),
        Cell::new(outcome(run)),
        Cell::new(terminal::line(run.snapshot.as_deref().unwrap_or_default())),
        count(run.rows),
        count(run.items),
        number(run.items_change.filter(|change| *change != 0).map(|change| format!("{change:+}"))),
        count(run.rejected),
        count(run.encoded),
        count(run.kept),
        number(run.seconds.map(|seconds| format!("{seconds:.2}"))),
        Cell::new(forced.unwrap_or_default()),
    ]
}

/// `published`, `failed (encode)`, `refused (min_items)`, `encoded (1/2)`.
fn outcome(run: &HistoryRow) -> String {
    let more = match (&run.stage, &run.partition, run.overruled.is_none() && !run.gates_failed.is_empty()) {
        (Some(stage), _, _) => stage.clone(),
        (None, Some(share), _) => share.clone(),
        (None, None, true) => run.gates_failed.join(", "),
        (None, None, false) => return run.outcome.to_owned(),
    };
    terminal::line(&format!("{} ({more})", run.outcome))
}
