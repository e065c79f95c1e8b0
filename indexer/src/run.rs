//! The nightly flow, in one function, and its first half for some partitions alone. Owns the order of the stages and the
//! staging folder; each stage is in its own file. Invariant: whatever stage fails, the store's published snapshot is the
//! one from before.

use std::path::{Path, PathBuf};

use schemas::catalog::Catalog;
use schemas::store::StoreLock;
use schemas::{SnapshotId, Store};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use crate::build::{self, BuildContext};
use crate::config::IndexConfig;
use crate::encode::{self, EncodeContext, EncodedCatalog};
use crate::encoder_set::{EncoderSet, devices};
use crate::error::{IndexError, RunFailure};
use crate::fusion_model::FusionModel;
use crate::gates::{Force, GateInputs, Parent};
use crate::journal::Journal;
use crate::partitions::{ChosenPartitions, PartitionShare};
use crate::pictures::PictureReader;
use crate::progress::{Progress, StopSignal};
use crate::publish;
use crate::read;
use crate::report::{RunCounts, RunOutcome, RunReport};
use crate::spool::SpoolWriter;
use crate::unchanged;
use crate::verify::{self, Verdict};

/// What a run is given beside its configuration.
pub struct RunContext<'a> {
    /// Listener.
    pub progress: &'a dyn Progress,
    /// Stop signal.
    pub stop: StopSignal,
    /// Whether to build and publish even if the current snapshot was made from just the same.
    pub rebuild: bool,
    /// Whether to publish even if gates refuse, and in whose name.
    pub force: Option<Force>,
}

/// Runs one night: catalog → embeddings → staged → verified → published. A night that would build the current snapshot
/// again checks every byte of it and leaves it current. The report is also written to the store's `reports/`, whatever the
/// outcome.
///
/// # Errors
/// When the night could not be finished. A refused gate is no error: the report's outcome says so.
pub fn run(config: &IndexConfig, context: &RunContext<'_>) -> Result<RunReport, RunFailure> {
    let mut journal = Journal::begin(context.progress, None);
    let ended = run_night(config, context, &mut journal);
    journal.close(ended)
}

fn run_night(
    config: &IndexConfig,
    context: &RunContext<'_>,
    journal: &mut Journal<'_>,
) -> Result<RunReport, IndexError> {
    let (progress, stop) = (context.progress, &context.stop);
    let store = Store::open_or_create(&config.store)?;
    journal.in_store(&store);
    let lock = store.lock()?;
    recover(&store, &lock)?;
    let parent = store.current()?;
    unchanged::refuse_newer(&store, parent.as_ref())?;
    let started = Start::after(store.snapshots()?.last());
    journal.holds_lock(&store, (&started.rfc3339, &started.compact), parent.as_ref())?;
    let staging = Staging::create(store.staging_folder())?;
    let mut counts = start_counts(journal, config)?;

    let chosen = ChosenPartitions::all(config.encode.partitions);
    let (encoded, encoders) = read_and_encode(config, &chosen, &store, &staging, &mut counts, journal, context)?;
    encoders.copy_to(&store.encoders_folder())?;

    let fusion_model = FusionModel::load(config, &encoders)?;
    let inputs = unchanged::digest(config, &encoders, fusion_model.as_ref(), &encoded, &counts);
    if let Some(current) = parent.as_ref().filter(|_| !context.rebuild)
        && let Some(manifest) = unchanged::made_from_this(&store, current, &inputs, &counts)
    {
        journal.stage("verify");
        if unchanged::is_whole(&store, current) {
            tidy(encoded.settle());
            tidy(staging.remove());
            return Ok(RunReport {
                outcome: RunOutcome::Unchanged,
                snapshot: Some(current.to_string()),
                gates: manifest.gates,
                pipeline: encoded.pipeline,
                ..counts.finish()?
            });
        }
    }

    journal.stage("build");
    let folder = staging.folder.join("snapshot");
    let (started_text, parent_id) = (started.rfc3339.as_str(), parent.as_ref());
    let build = BuildContext {
        config,
        encoders: &encoders,
        fusion_model: fusion_model.as_ref(),
        folder: &folder,
        started: started_text,
        parent: parent_id,
        inputs: &inputs,
        progress,
        stop,
    };
    let staged = build::build(&encoded, &counts, &build)?;

    journal.stage("verify");
    progress.begin("verify", None);
    let compared = Parent::read(&store, parent.as_ref());
    let gate_inputs = GateInputs { counts: &counts, parent: compared.as_ref(), config: &config.gates };
    let verdict = verify::verify(staged, &store.encoders_folder(), gate_inputs, context.force.as_ref())?;
    progress.end();

    journal.stage("publish");
    stop.check()?;
    let counted = counts.finish()?;
    let (outcome, snapshot, gates, overruled) = match verdict {
        Verdict::Verified(verified) => {
            let (gates, overruled) = (verified.manifest().gates.clone(), verified.manifest().overruled.clone());
            let snapshot = publish::publish(verified, &store, &lock, &started.compact)?;
            tidy(encoded.settle());
            (RunOutcome::Published, Some(snapshot.to_string()), gates, overruled)
        }
        Verdict::Refused(gates) => (RunOutcome::Refused, None, gates, None),
    };
    tidy(staging.remove());
    Ok(RunReport { outcome, snapshot, gates, overruled, pipeline: encoded.pipeline, ..counted })
}

/// Encodes one share of the partitions and publishes nothing: several such runs, on different shares, may work on one
/// store at the same time, and [`run`] then finds everything encoded. Doing it again encodes nothing.
///
/// # Errors
/// When there are fewer partitions than shares, another run holds the store or one of the partitions, or encoding fails.
/// Finished parts stay.
pub fn run_partitions(
    config: &IndexConfig,
    share: PartitionShare,
    context: &RunContext<'_>,
) -> Result<RunReport, RunFailure> {
    let mut journal = Journal::begin(context.progress, Some(share));
    let ended = run_share(config, share, context, &mut journal);
    journal.close(ended)
}

fn run_share(
    config: &IndexConfig,
    share: PartitionShare,
    context: &RunContext<'_>,
    journal: &mut Journal<'_>,
) -> Result<RunReport, IndexError> {
    let chosen = ChosenPartitions::of(share, config.encode.partitions)?;
    let store = Store::open_or_create(&config.store)?;
    journal.in_store(&store);
    let _lock = store.lock_partitions(&chosen.list())?;
    let parent = store.current()?;
    let started = Start::after(store.snapshots()?.last());
    journal.holds_lock(&store, (&started.rfc3339, &started.compact), parent.as_ref())?;
    let staging = Staging::create(store.staging_folder().join(share.file_name()))?;
    let mut counts = start_counts(journal, config)?;

    let (encoded, _) = read_and_encode(config, &chosen, &store, &staging, &mut counts, journal, context)?;
    staging.remove()?;
    Ok(RunReport { outcome: RunOutcome::Encoded, pipeline: encoded.pipeline, ..counts.finish()? })
}

fn start_counts(journal: &Journal<'_>, config: &IndexConfig) -> Result<RunCounts, IndexError> {
    let modalities: Vec<_> = config.encoders.iter().map(|encoder| encoder.modality).collect();
    RunCounts::start(&journal.rejects_file()?, &modalities)
}

/// The stages that both kinds of run have: the chosen partitions' rows into the spool, and their embeddings into parts.
fn read_and_encode(
    config: &IndexConfig,
    chosen: &ChosenPartitions,
    store: &Store,
    staging: &Staging,
    counts: &mut RunCounts,
    journal: &mut Journal<'_>,
    context: &RunContext<'_>,
) -> Result<(EncodedCatalog, EncoderSet), IndexError> {
    let (progress, stop) = (context.progress, &context.stop);
    let catalog = Catalog::open(&config.catalog)?;
    let pictures = PictureReader::new(catalog.folder(), config.encode.image_limits)?;
    let encoders = EncoderSet::load(&config.encoders, &devices(config.encode.device)?)?;
    // Encoding may take hours: a model that does not fit is told now.
    FusionModel::load(config, &encoders)?;

    journal.stage("read");
    let spool = SpoolWriter::create(&staging.folder.join("spool"), chosen.partitions())?;
    let spool = read::read(&catalog, spool, chosen, counts, progress, stop)?;

    journal.stage("encode");
    let encode = EncodeContext { config: &config.encode, encoders: &encoders, pictures: &pictures, progress, stop };
    let encoded = encode::encode(spool, &chosen.list(), store, &encode, counts)?;
    Ok((encoded, encoders))
}

/// Clears away what a killed run left.
fn recover(store: &Store, lock: &StoreLock) -> Result<(), IndexError> {
    let recovered = store.recover(lock)?;
    if let Some(snapshot) = &recovered.snapshot {
        tracing::warn!(%snapshot, "removed a snapshot that an earlier run was killed before publishing");
    }
    for path in &recovered.leftovers {
        tracing::info!(path = %path.display(), "removed what an unfinished run left");
    }
    Ok(())
}

/// Clearing up after the run's work is done. What stays costs room only, and the next run removes it.
fn tidy(result: Result<(), IndexError>) {
    if let Err(error) = result {
        tracing::warn!(error = &error as &dyn std::error::Error, "left for the next run to remove");
    }
}

/// The time a run started at.
struct Start {
    /// `2026-11-20T03:15:00Z`.
    rfc3339: String,
    /// `20261120T031500Z`, as in names of files.
    compact: String,
}

impl Start {
    /// Now, in whole seconds; but later than the newest snapshot's start, so that names sort in the order of publishing even
    /// when runs are short, the clock goes back, or an earlier snapshot was published again.
    fn after(newest: Option<&SnapshotId>) -> Start {
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let now = OffsetDateTime::now_utc();
        let mut start = now.replace_nanosecond(0).unwrap_or(now);
        let newest = newest.and_then(|newest| newest.as_str().split('-').next());
        let next = newest.and_then(|time| PrimitiveDateTime::parse(time, format).ok()?.checked_add(Duration::SECOND));
        if let Some(next) = next {
            start = start.max(next.assume_utc());
        }
        // Formatting fails only for years beyond four digits and for components that a time lacks.
        Start { rfc3339: start.format(&Rfc3339).unwrap_or_default(), compact: start.format(format).unwrap_or_default() }
    }
}

/// A folder for what a run has not finished, emptied of what an earlier one left: the store's `staging/`, or one in it for
/// a share of the partitions. The lock of the store or of the partitions is held while it exists.
struct Staging {
    folder: PathBuf,
}

impl Staging {
    fn create(folder: PathBuf) -> Result<Staging, IndexError> {
        let staging = Staging { folder };
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
