//! What a run would do, without doing it. Owns the comparison of the whole catalog with the store's embeddings, and the
//! estimate of the time; the comparison of one item is `reuse.rs`'s. Invariant: nothing is written below the store, and
//! no lock is taken, so it works beside a run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rayon::prelude::*;
use schemas::catalog::Catalog;
use schemas::rejects::RejectReason;
use schemas::rejects::Rejection;
use schemas::{ContentHash, Item, Modality, Store};

use crate::config::IndexConfig;
use crate::encode::EarlierParts;
use crate::encoder_set::EncoderSet;
use crate::error::IndexError;
use crate::partitions::ChosenPartitions;
use crate::pictures::PictureReader;
use crate::read;
use crate::report::{ModalityCounts, RunCounts};
use crate::reuse::{Decision, EarlierEmbeddings};
use crate::run::{RunContext, remove_folder};
use crate::spool::{SpoolRow, SpoolWriter, partition_of};

mod speeds;

use speeds::Speeds;

/// Items that are compared at once.
const PLAN_BATCH_ITEMS: usize = 4_096;

/// What a run would do, as its JSON.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Plan {
    /// Always `planned`.
    pub outcome: &'static str,
    /// Rows of the catalog.
    pub rows: u64,
    /// Rows that would become items.
    pub items: u64,
    /// Rows that would be left out.
    pub rejected: u64,
    /// Rows and modalities that would be left out, by kind of reason. Pictures are not decoded, so those that turn out
    /// to be broken are not among them.
    pub reject_reasons: BTreeMap<String, u64>,
    /// By modality.
    pub modalities: BTreeMap<String, ModalityPlan>,
    /// Seconds of encoding; `null` while a modality that would be encoded was not measured yet.
    pub seconds: Option<f64>,
}

/// What a run would do for one modality.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct ModalityPlan {
    /// Embeddings that would be computed.
    pub encode: u64,
    /// Why, by reason.
    pub encode_reasons: BTreeMap<String, u64>,
    /// Embeddings that would be kept.
    pub kept: u64,
    /// Items without it.
    pub absent: u64,
    /// Embeddings in a second, over all devices, when this encoder was last measured on this store.
    pub embeddings_per_second: Option<f64>,
    /// The report that says so.
    pub measured_by: Option<String>,
    /// Seconds of encoding.
    pub seconds: Option<f64>,
}

/// Compares the catalog with the store. Pictures are read, not decoded; one that could not be used before and has not
/// changed counts as absent. The rows pass through a temporary folder of the system, which needs room for them.
/// Encoders are loaded on the CPU, for what identifies them.
///
/// # Errors
/// When the catalog, an encoder or the store cannot be read. A store that is not there is an empty one.
pub fn plan(config: &IndexConfig, context: &RunContext<'_>) -> Result<Plan, IndexError> {
    let modalities: Vec<_> = config.encoders.iter().map(|encoder| encoder.modality).collect();
    let mut counts = RunCounts::unrecorded(&modalities);
    let catalog = Catalog::open(&config.catalog)?;
    let pictures = PictureReader::new(catalog.folder(), config.encode.image_limits)?;
    let encoders = EncoderSet::load(&config.encoders, &[encoders::DeviceChoice::Cpu])?;
    let store = if config.store.exists() { Some(Store::open(&config.store)?) } else { None };

    let folder = TemporaryFolder::create()?;
    let chosen = ChosenPartitions::all(config.encode.partitions);
    let spool = SpoolWriter::create(&folder.0.join("spool"), config.encode.partitions)?;
    let spool = read::read(&catalog, spool, &chosen, &mut counts, context.progress, &context.stop)?;

    context.progress.begin("compare", Some(spool.rows()));
    let schema = encoders.embeddings_schema();
    let parts = store.as_ref().map(|store| EarlierParts::look(store, spool.partitions())).transpose()?;
    for partition in 0..spool.partitions() {
        let paths = parts.as_ref().map(|parts| parts.of(partition)).transpose()?.unwrap_or_default();
        let wanted = |id: &str| partition_of(id, spool.partitions()) == partition;
        let comparison = Comparison {
            earlier: EarlierEmbeddings::load(&paths, &schema, wanted)?,
            modalities: &modalities,
            pictures: &pictures,
        };
        let mut items = Vec::new();
        for row in spool.read(partition)? {
            match row? {
                SpoolRow::Unique(item) => items.push(item),
                SpoolRow::Duplicate(rejection) => counts.reject(&rejection)?,
            }
            if items.len() == PLAN_BATCH_ITEMS {
                context.stop.check()?;
                comparison.count(&items, &mut counts)?;
                context.progress.advance(items.len() as u64);
                items.clear();
            }
        }
        comparison.count(&items, &mut counts)?;
        context.progress.advance(items.len() as u64);
    }
    context.progress.end();
    let speeds = store.map_or_else(|| Ok(Speeds::default()), |store| Speeds::read(&store.reports_folder()))?;
    Ok(summarise(&counts, &encoders, &speeds))
}

/// One partition's earlier embeddings and what items are compared by.
struct Comparison<'a> {
    earlier: EarlierEmbeddings,
    modalities: &'a [Modality],
    pictures: &'a PictureReader,
}

/// What would become of one modality of one item.
enum Outcome {
    Absent,
    LeftOut(RejectReason),
    Decided(Decision),
}

impl Comparison<'_> {
    fn count(&self, items: &[Item], counts: &mut RunCounts) -> Result<(), IndexError> {
        counts.items += items.len() as u64;
        for (number, modality) in self.modalities.iter().enumerate() {
            let outcomes: Vec<Outcome> = items.par_iter().map(|item| self.outcome(item, number, *modality)).collect();
            let mut added = ModalityCounts::default();
            for (outcome, item) in outcomes.into_iter().zip(items) {
                match outcome {
                    Outcome::Absent => added.absent += 1,
                    Outcome::LeftOut(reason) => {
                        added.absent += 1;
                        let (location, id) = (item.location.clone(), Some(item.id.clone()));
                        counts.reject(&Rejection { location, id, reason })?;
                    }
                    Outcome::Decided(Decision::Keep(_)) => added.kept += 1,
                    Outcome::Decided(Decision::Encode(reason)) => *added.encoded.entry(reason).or_default() += 1,
                }
            }
            counts.modality(*modality).add(&added);
        }
        Ok(())
    }

    fn outcome(&self, item: &Item, number: usize, modality: Modality) -> Outcome {
        let hash = match modality {
            Modality::Title => item.title.as_ref().map(|text| ContentHash::of(text.as_bytes())),
            Modality::Description => item.description.as_ref().map(|text| ContentHash::of(text.as_bytes())),
            Modality::Image => match self.pictures.read(&item.image) {
                Ok(bytes) => bytes.map(|bytes| ContentHash::of(&bytes)),
                Err(reason) => return Outcome::LeftOut(reason),
            },
        };
        let Some(hash) = hash else { return Outcome::Absent };
        let row = self.earlier.row(&item.id);
        if !modality.is_text() && row.is_some_and(|row| self.earlier.state(row, number) == (Some(hash), false)) {
            return Outcome::Absent;
        }
        Outcome::Decided(self.earlier.decide(row, number, hash))
    }
}

fn summarise(counts: &RunCounts, encoders: &EncoderSet, speeds: &Speeds) -> Plan {
    let mut modalities = BTreeMap::new();
    for one in encoders.modalities() {
        let Some(counts) = counts.modalities.get(&one.modality) else { continue };
        let speed = speeds.of(one.modality.name(), &one.spec.fingerprint());
        let seconds = match (counts.encoded(), speed) {
            (0, _) => Some(0.0),
            (encode, Some(speed)) => Some(encode as f64 / speed.embeddings_per_second),
            (_, None) => None,
        };
        let reasons = counts.encoded.iter().map(|(reason, count)| (reason.name().to_owned(), *count));
        let plan = ModalityPlan {
            encode: counts.encoded(),
            encode_reasons: reasons.collect(),
            kept: counts.kept,
            absent: counts.absent,
            embeddings_per_second: speed.map(|speed| speed.embeddings_per_second),
            measured_by: speed.map(|speed| speed.report.clone()),
            seconds,
        };
        modalities.insert(one.modality.name().to_owned(), plan);
    }
    Plan {
        outcome: "planned",
        rows: counts.rows,
        items: counts.items,
        rejected: counts.rejected,
        reject_reasons: counts.reasons.clone(),
        seconds: modalities.values().map(|plan| plan.seconds).sum(),
        modalities,
    }
}

impl Plan {
    /// The plan as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Serialising this record cannot fail: its maps have string keys and its numbers are finite.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

/// A folder of the system's temporary one, removed when dropped.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn create() -> Result<TemporaryFolder, IndexError> {
        let now = time::OffsetDateTime::now_utc().unix_timestamp_nanos();
        let path = std::env::temp_dir().join(format!("catalens-plan-{}-{now}", std::process::id()));
        fs_err::create_dir_all(&path).map_err(IndexError::io(&path))?;
        Ok(TemporaryFolder(path))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if let Err(error) = remove_folder(&self.0) {
            tracing::warn!(path = %self.0.display(), error = %error, "temporary folder cannot be removed");
        }
    }
}
