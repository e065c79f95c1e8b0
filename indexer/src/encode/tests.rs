//! Tests of the pipeline with the fixture's model and pictures.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use encoders::{CheckpointSource, ImageLimits};
use schemas::embeddings::EmbeddingsReader;
use schemas::{Dtype, ImageSource, Item, Location, Modality};
use tempfile::TempDir;

use super::*;
use crate::config::EncoderConfig;
use crate::progress::Silent;
use crate::spool::SpoolWriter;

mod memory;

const PARTITIONS: u32 = 2;
const ITEMS: usize = 90;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

/// Items with pictures of the fixture, a missing one among them; every third has its title as description, too.
fn items() -> Vec<Item> {
    let item = |number: usize| {
        let title = format!("{} cup number {}", ["red", "blue", "green"][number % 3], number / 2);
        Item {
            id: format!("i{number}"),
            description: number.is_multiple_of(3).then(|| title.clone()),
            title: Some(title),
            image: ImageSource::Path(if number == 7 { "none.jpg".to_owned() } else { picture(number) }),
            fields: Vec::new(),
            location: Location { file: PathBuf::from("items.jsonl"), line: number as u64 + 1 },
        }
    };
    (0..ITEMS).map(item).collect()
}

fn picture(number: usize) -> String {
    let folder = fixtures().join("query_images");
    let mut names: Vec<_> = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names[number % names.len()].to_string_lossy().into_owned()
}

fn encoders(devices: usize) -> EncoderSet {
    let config = |modality| EncoderConfig {
        modality,
        source: CheckpointSource::Folder(fixtures().join("model")),
        dtype: Dtype::F32,
        weight: 1.0,
    };
    EncoderSet::load(&Modality::ALL.map(config), &vec![DeviceChoice::Cpu; devices]).unwrap()
}

struct Night {
    encoded: Result<EncodedCatalog, IndexError>,
    counts: RunCounts,
}

fn encode_items(
    folder: &TempDir,
    devices: usize,
    partitions: &[u32],
    progress: &dyn Progress,
    stop: &StopSignal,
) -> Night {
    let store = Store::open_or_create(&folder.path().join("store")).unwrap();
    let mut spool = SpoolWriter::create(&folder.path().join("spool"), PARTITIONS).unwrap();
    for item in items() {
        spool.write(item).unwrap();
    }
    let config = EncodeConfig {
        device: DeviceChoice::Cpu,
        partitions: PARTITIONS,
        part_rows: 7,
        image_batch: 4,
        image_limits: ImageLimits::default(),
    };
    let encoders = encoders(devices);
    let pictures = PictureReader::new(&fixtures().join("query_images"), config.image_limits).unwrap();
    let context = EncodeContext { config: &config, encoders: &encoders, pictures: &pictures, progress, stop };
    let mut counts = RunCounts::start(&folder.path().join("rejects.parquet"), &Modality::ALL).unwrap();
    let encoded = encode(spool.finish().unwrap(), partitions, &store, &context, &mut counts);
    Night { encoded, counts }
}

fn all_partitions() -> Vec<u32> {
    (0..PARTITIONS).collect()
}

/// Contents of the part files by their path below the store.
fn parts(folder: &TempDir) -> BTreeMap<String, Vec<u8>> {
    let embeddings = folder.path().join("store/embeddings");
    let names = schemas::durable::list_files(&embeddings).unwrap();
    let parts = names.into_iter().filter(|name| name.ends_with(".parquet"));
    parts.map(|name| (name.clone(), fs_err::read(embeddings.join(name)).unwrap())).collect()
}

fn rows(folder: &TempDir, name: &str) -> u64 {
    EmbeddingsReader::open(&folder.path().join("store/embeddings").join(name)).unwrap().row_count()
}

#[test]
fn several_devices_write_the_bytes_that_one_writes() {
    let (one, two) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let stop = StopSignal::default();
    let first = encode_items(&one, 1, &all_partitions(), &Silent, &stop);
    let second = encode_items(&two, 2, &all_partitions(), &Silent, &stop);
    assert_eq!(parts(&one), parts(&two));
    assert!(parts(&one).len() >= ITEMS / 7);
    let (first, second) = (first.encoded.unwrap(), second.encoded.unwrap());
    assert_eq!((first.items, second.items), (ITEMS as u64, ITEMS as u64));
    assert_eq!(second.pipeline.devices, ["cpu", "cpu"]);
    assert_eq!(first.pipeline.tokens, second.pipeline.tokens);
    let relative = |encoded: &EncodedCatalog, folder: &TempDir| -> Vec<Vec<PathBuf>> {
        let strip = |path: &PathBuf| path.strip_prefix(folder.path()).unwrap().to_owned();
        encoded.parts.iter().map(|parts| parts.iter().map(strip).collect()).collect()
    };
    assert_eq!(relative(&first, &one), relative(&second, &two));
    for stage in ["read", "prepare", "encode", "write"] {
        assert!(second.pipeline.stages[stage].busy > 0.0, "{stage}");
    }
}

#[test]
fn equal_texts_are_computed_once_and_every_row_is_counted() {
    let folder = TempDir::new().unwrap();
    let Night { encoded, counts } = encode_items(&folder, 1, &all_partitions(), &Silent, &StopSignal::default());
    let pipeline = encoded.unwrap().pipeline;
    assert_eq!(counts.modalities[&Modality::Title].encoded(), ITEMS as u64);
    assert_eq!(counts.modalities[&Modality::Description].encoded(), ITEMS as u64 / 3);
    assert_eq!(counts.modalities[&Modality::Image].encoded(), ITEMS as u64 - 1);
    assert_eq!(counts.reasons["image_missing"], 1);
    assert_eq!(pipeline.modalities["description"].embeddings, 0, "each is its item's title");
    assert!(pipeline.modalities["title"].embeddings >= 45);
    assert!(pipeline.pictures < ITEMS as u64 && pipeline.pictures > 0);
    assert!(pipeline.modalities["title"].embeddings_per_second.is_some());
}

/// Asks for a stop once some items are done.
struct StopAfter(u64, AtomicU64, StopSignal);

impl Progress for StopAfter {
    fn advance(&self, steps: u64) {
        if self.1.fetch_add(steps, Ordering::Relaxed) + steps >= self.0 {
            self.2.flag().store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn what_a_stopped_run_finished_stays_and_only_the_rest_is_encoded() {
    let folder = TempDir::new().unwrap();
    let stop = StopSignal::default();
    let stopper = StopAfter(50, AtomicU64::new(0), stop.clone());
    let stopped = encode_items(&folder, 2, &all_partitions(), &stopper, &stop);
    assert!(matches!(stopped.encoded, Err(IndexError::Stopped)));
    let finished = parts(&folder);
    let finished_rows: u64 = finished.keys().map(|name| rows(&folder, name)).sum();
    assert!(finished_rows > 0 && finished_rows < ITEMS as u64, "{finished_rows} rows");
    let modified = |name: &String| {
        fs_err::metadata(folder.path().join("store/embeddings").join(name)).unwrap().modified().unwrap()
    };
    let times: Vec<_> = finished.keys().map(modified).collect();

    let Night { encoded, counts } = encode_items(&folder, 1, &all_partitions(), &Silent, &StopSignal::default());
    let encoded = encoded.unwrap();
    assert_eq!(counts.modalities[&Modality::Title].kept, finished_rows);
    assert_eq!(counts.modalities[&Modality::Title].encoded(), ITEMS as u64 - finished_rows);
    assert_eq!(times, finished.keys().map(modified).collect::<Vec<_>>(), "finished parts are not written again");
    let used: Vec<&PathBuf> = encoded.parts.iter().flatten().collect();
    for name in finished.keys() {
        assert!(used.iter().any(|path| path.ends_with(name)), "{name} is used as it is");
    }
    assert_eq!(parts(&folder).len(), used.len());
}

#[test]
fn partitions_that_were_not_chosen_are_left_alone() {
    let folder = TempDir::new().unwrap();
    let stop = StopSignal::default();
    let alone = encode_items(&folder, 1, &[1], &Silent, &stop);
    assert!(parts(&folder).keys().all(|name| name.starts_with("partition=00001/")));
    let first_items = alone.counts.items;
    assert!(first_items > 0 && first_items < ITEMS as u64);
    let all = encode_items(&folder, 1, &all_partitions(), &Silent, &stop);
    assert_eq!(all.counts.modalities[&Modality::Title].kept, first_items);
    assert_eq!(all.counts.modalities[&Modality::Title].encoded(), ITEMS as u64 - first_items);
}

#[test]
fn the_first_error_ends_every_stage_and_is_the_one_reported() {
    let folder = TempDir::new().unwrap();
    fs_err::create_dir_all(folder.path().join("store/embeddings")).unwrap();
    // A file where the first partition's folder belongs: its parts cannot be written.
    fs_err::write(folder.path().join("store/embeddings/partition=00000"), "in the way").unwrap();
    for devices in [1, 3] {
        let night = encode_items(&folder, devices, &[0, 1], &Silent, &StopSignal::default());
        let error = night.encoded.unwrap_err();
        assert!(!matches!(error, IndexError::Inconsistent { .. } | IndexError::Stopped), "{error:?}");
    }
    let stop = StopSignal::default();
    stop.flag().store(true, Ordering::Relaxed);
    let empty = TempDir::new().unwrap();
    assert!(matches!(encode_items(&empty, 2, &[0, 1], &Silent, &stop).encoded, Err(IndexError::Stopped)));
    assert!(parts(&empty).is_empty());
}
