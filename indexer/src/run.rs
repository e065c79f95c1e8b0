//! The nightly flow, in one function. Owns the order of the stages and the staging folder; each stage is in its own
//! file. Invariant: whatever stage fails, the store's published snapshot is the one from before.

use std::path::{Path, PathBuf};

use schemas::catalog::Catalog;
use schemas::{SnapshotId, Store};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use crate::build::{self, BuildContext};
use crate::config::IndexConfig;
use crate::encode::{self, EncodeContext};
use crate::encoder_set::{EncoderSet, devices};
use crate::error::IndexError;
use crate::pictures::PictureReader;
use crate::progress::{Progress, StopSignal};
use crate::publish;
use crate::read;
use crate::report::{RunCounts, RunOutcome, RunReport, StageClock};
use crate::spool::SpoolWriter;
use crate::verify::{self, Verdict};

/// What a run is given beside its configuration.
pub struct RunContext<'a> {
    /// Listener.
    pub progress: &'a dyn Progress,
    /// Stop signal.
    pub stop: StopSignal,
}

/// Runs one night: catalog → embeddings → staged → verified → published. The report is also written to the store's
/// `reports/`.
///
/// # Errors
/// When the night could not be finished. A refused gate is no error: the report's outcome says so.
pub fn run(config: &IndexConfig, context: &RunContext<'_>) -> Result<RunReport, IndexError> {
    let mut clock = StageClock::start();
    let (progress, stop) = (context.progress, &context.stop);
    let store = Store::open_or_create(&config.store)?;
    let lock = store.lock()?;
    let parent = store.current()?;
    let started = Start::after(parent.as_ref());
    let staging = Staging::create(&store)?;
    let modalities: Vec<_> = config.encoders.iter().map(|encoder| encoder.modality).collect();
    let rejects_file = store.reports_folder().join(format!("{}.rejects.parquet", started.compact));
    let mut counts = RunCounts::start(&rejects_file, &modalities)?;

    let catalog = Catalog::open(&config.catalog)?;
    let pictures = PictureReader::new(catalog.folder(), config.encode.image_limits)?;
    let encoders = EncoderSet::load(&config.encoders, &devices(config.encode.device)?)?;
    clock.end_stage("open");

    let spool = SpoolWriter::create(&staging.folder.join("spool"), config.encode.partitions)?;
    let spool = read::read(&catalog, spool, &mut counts, progress, stop)?;
    clock.end_stage("read");

    let encode = EncodeContext { config: &config.encode, encoders: &encoders, pictures: &pictures, progress, stop };
    let partitions: Vec<u32> = (0..config.encode.partitions).collect();
    let encoded = encode::encode(spool, &partitions, &store, &encode, &mut counts)?;
    encoders.copy_to(&store.encoders_folder())?;
    clock.end_stage("encode");

    let folder = staging.folder.join("snapshot");
    let (started_text, parent_id) = (started.rfc3339.as_str(), parent.as_ref());
    let build = BuildContext {
        config,
        encoders: &encoders,
        folder: &folder,
        started: started_text,
        parent: parent_id,
        progress,
        stop,
    };
    let staged = build::build(&encoded, &counts, &build)?;
    clock.end_stage("build");

    progress.begin("verify", None);
    let verdict = verify::verify(staged, &store.encoders_folder(), &counts, &config.gates)?;
    progress.end();
    clock.end_stage("verify");

    stop.check()?;
    let (outcome, snapshot, gates) = match verdict {
        Verdict::Verified(verified) => {
            let gates = verified.manifest().gates.clone();
            let snapshot = publish::publish(verified, &store, &lock, &started.compact)?;
            encoded.settle()?;
            (RunOutcome::Published, Some(snapshot.to_string()), gates)
        }
        Verdict::Refused(gates) => (RunOutcome::Refused, None, gates),
    };
    clock.end_stage("publish");
    staging.remove()?;
    let report = RunReport {
        outcome,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        started: started.rfc3339,
        snapshot,
        parent: parent.map(|parent| parent.to_string()),
        rejects_file: rejects_file.display().to_string(),
        gates,
        seconds: clock.seconds(),
        pipeline: encoded.pipeline,
        ..counts.finish()?
    };
    let path = store.reports_folder().join(format!("{}.json", started.compact));
    schemas::durable::write_durably(&path, report.to_json().as_bytes())?;
    Ok(report)
}

/// The time a run started at.
struct Start {
    /// `2026-11-20T03:15:00Z`.
    rfc3339: String,
    /// `20261120T031500Z`, as in names of files.
    compact: String,
}

impl Start {
    /// Now, in whole seconds; but later than the parent's start, so that names sort in the order of publishing even
    /// when runs are short or the clock goes back.
    fn after(parent: Option<&SnapshotId>) -> Start {
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let now = OffsetDateTime::now_utc();
        let mut start = now.replace_nanosecond(0).unwrap_or(now);
        let parent = parent.and_then(|parent| parent.as_str().split('-').next());
        if let Some(parent) = parent.and_then(|time| PrimitiveDateTime::parse(time, format).ok()) {
            start = start.max(parent.assume_utc() + Duration::SECOND);
        }
        // Formatting fails only for years beyond four digits and for components that a time lacks.
        Start { rfc3339: start.format(&Rfc3339).unwrap_or_default(), compact: start.format(format).unwrap_or_default() }
    }
}

/// The store's `staging/`, emptied of what an earlier run left. The store's lock is held while it exists.
struct Staging {
    folder: PathBuf,
}

impl Staging {
    fn create(store: &Store) -> Result<Staging, IndexError> {
        let staging = Staging { folder: store.staging_folder() };
        staging.clear()?;
        fs_err::create_dir_all(&staging.folder).map_err(IndexError::io(&staging.folder))?;
        Ok(staging)
    }

    fn clear(&self) -> Result<(), IndexError> {
        remove_folder(&self.folder)
    }

    fn remove(self) -> Result<(), IndexError> {
        self.clear()
    }
}

/// Removes a folder with all that is in it; none is none.
pub(crate) fn remove_folder(folder: &Path) -> Result<(), IndexError> {
    match fs_err::remove_dir_all(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(IndexError::Io { path: folder.to_owned(), source }),
    }
}
