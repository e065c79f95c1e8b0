//! Files that `searcher eval` writes: TREC runs, and the measures of each query. Owns their names and forms.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use schemas::trec;
use searcher::Mode;
use searcher::evaluation::{QueryMetrics, Ranking};

/// Writes a mode's run.
pub(super) fn write_run(path: &Path, rankings: &[Ranking], mode: Mode) -> anyhow::Result<()> {
    let mut file = BufWriter::new(fs_err::File::create(path)?);
    for ranking in rankings {
        trec::write_run(&mut file, &ranking.query, &ranking.run(), &format!("catalens-{mode}"))?;
    }
    Ok(file.flush()?)
}

/// `run.txt` → `run.hybrid.txt`.
pub(super) fn with_mode(path: &Path, mode: Mode) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(".");
    name.push(mode.name());
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Writes a line for each query and mode, under a header. Ids have no tab: they came from a file of that form.
pub(super) fn write_per_query(path: &Path, per_query: &[(Mode, Vec<QueryMetrics>)]) -> anyhow::Result<()> {
    let mut file = BufWriter::new(fs_err::File::create(path)?);
    for (number, (mode, queries)) in per_query.iter().enumerate() {
        for (line, QueryMetrics { query, metrics }) in queries.iter().enumerate() {
            if number == 0 && line == 0 {
                let names: Vec<&str> = metrics.named().iter().map(|(name, _)| *name).collect();
                writeln!(file, "query\tmode\t{}", names.join("\t"))?;
            }
            let values: Vec<String> = metrics.named().iter().map(|(_, value)| format!("{value:.6}")).collect();
            writeln!(file, "{query}\t{mode}\t{}", values.join("\t"))?;
        }
    }
    Ok(file.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_files_are_named_by_mode() {
        let named = |path: &str| with_mode(Path::new(path), Mode::Hybrid);
        assert_eq!(named("out/run.txt"), Path::new("out/run.hybrid.txt"));
        assert_eq!(named("run"), Path::new("run.hybrid"));
        assert_eq!(named("run.v1.trec"), Path::new("run.v1.hybrid.trec"));
    }
}
