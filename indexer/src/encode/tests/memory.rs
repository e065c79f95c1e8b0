//! The pipeline's bounds, as the module states them, with a device that does not get on. Owns catalogs large enough to
//! fill every queue. What is held is counted twice: by the pipeline, and here from what is compared, written and computed.

use std::time::Duration;

use super::*;
use crate::encode::compute::{EncodeWindow, encode_window};
use crate::encode::stages::Held;
use crate::encode::window::Window;
use crate::encoder_set::LoadedEncoder;

const PART_ROWS: usize = 5;
const CHUNKS: usize = 60;
/// How long a stalled device waits for the queues to fill up, before the test fails.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long it gives them to become fuller than they may.
const GRACE: Duration = Duration::from_millis(100);

/// Waits until so many are held, then for more.
fn stall(held: &Held, wanted: u64) {
    let start = Instant::now();
    while held.now() < wanted && start.elapsed() < LONGEST_WAIT {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(GRACE);
}

/// One night over the items of one partition.
struct Bounded {
    part_rows: usize,
    folder: TempDir,
    encoders: EncoderSet,
}

impl Bounded {
    fn new(modality: Modality, part_rows: usize) -> Bounded {
        let source = CheckpointSource::Folder(fixtures().join("model"));
        let config = EncoderConfig { modality, source, dtype: Dtype::F32, weight: 1.0 };
        let encoders = EncoderSet::load(&[config], &[DeviceChoice::Cpu]).unwrap();
        Bounded { part_rows, folder: TempDir::new().unwrap(), encoders }
    }

    fn encode(&self, items: Vec<Item>, progress: &dyn Progress, shared: &Shared, forward: &EncodeWindow<'_>) {
        let store = Store::open_or_create(&self.folder.path().join("store")).unwrap();
        let spool_folder = TempDir::new().unwrap();
        let mut spool = SpoolWriter::create(&spool_folder.path().join("spool"), 1).unwrap();
        let rows = items.len() as u64;
        items.into_iter().for_each(|item| spool.write(item).unwrap());
        let spool = spool.finish().unwrap();
        let config = EncodeConfig {
            device: DeviceChoice::Cpu,
            partitions: 1,
            part_rows: self.part_rows,
            image_batch: 4,
            image_limits: ImageLimits::default(),
        };
        let pictures = PictureReader::new(&fixtures().join("query_images"), config.image_limits).unwrap();
        let stop = StopSignal::default();
        let context =
            EncodeContext { config: &config, encoders: &self.encoders, pictures: &pictures, progress, stop: &stop };
        let layout = EmbeddingsLayout::open(&store, 1).unwrap();
        let mut counts = RunCounts::start(&self.folder.path().join("rejects.parquet"), &Modality::ALL).unwrap();
        let (written, report) = run_stages(&spool, &[0], &layout, &context, &mut counts, shared, forward).unwrap();
        assert_eq!(counts.items, rows);
        assert_eq!((report.most_chunks, report.most_pictures), (shared.chunks.most(), shared.pictures.most()));
        assert_eq!((shared.chunks.now(), shared.pictures.now()), (0, 0), "all that was held was let go");
        layout.settle(&[written.parts.into_iter().map(|(_, path)| path).collect()]).unwrap();
    }
}

/// An item whose title or picture nobody else has.
fn item(number: usize, title: Option<String>, image: ImageSource) -> Item {
    let location = Location { file: PathBuf::from("items.jsonl"), line: number as u64 + 1 };
    Item { id: format!("i{number}"), title, description: None, image, fields: Vec::new(), location }
}

/// Counts the items that were compared: they have left the first two stages.
#[derive(Default)]
struct Compared(AtomicU64);

impl Progress for Compared {
    fn compared(&self, items: u64, _: u64) {
        self.0.fetch_add(items, Ordering::Relaxed);
    }
}

#[test]
fn a_slow_device_holds_no_more_chunks_than_there_are_places() {
    let night = Bounded::new(Modality::Title, PART_ROWS);
    // The first title of each chunk changes every night, so that a window is full of chunks and not of texts.
    let items = |night: usize| -> Vec<Item> {
        let title = |number: usize| match number % PART_ROWS {
            0 => format!("cup {number} of night {night}"),
            _ => format!("cup {number}"),
        };
        (0..CHUNKS * PART_ROWS).map(|number| item(number, Some(title(number)), ImageSource::Absent)).collect()
    };
    night.encode(items(1), &Silent, &Shared::default(), &encode_window);

    let (shared, compared, most) = (Shared::default(), Compared::default(), AtomicU64::new(0));
    let places = chunk_places(1) as u64;
    let written = AtomicU64::new(0);
    let slow = |encoder: &LoadedEncoder, window: &Window| {
        if written.load(Ordering::Relaxed) == 0 {
            stall(&shared.chunks, places);
        }
        // All chunks of earlier windows may be written by now, none of this and of later windows is.
        let chunks = compared.0.load(Ordering::Relaxed) / PART_ROWS as u64;
        most.fetch_max(chunks - written.load(Ordering::Relaxed), Ordering::Relaxed);
        written.fetch_add(window.targets.chunks.len() as u64, Ordering::Relaxed);
        encode_window(encoder, window)
    };
    night.encode(items(2), &compared, &shared, &slow);
    assert_eq!(written.into_inner(), CHUNKS as u64, "every chunk had something to encode");
    assert_eq!(shared.chunks.most(), places, "the bound is reached and kept");
    // The chunk in the preparer's hands is not compared yet.
    let most = most.into_inner();
    assert!((places - 1..=places).contains(&most), "{most} of {places} chunks");
}

#[test]
fn a_slow_device_holds_no_more_pictures_than_its_windows_take() {
    let sizes = WindowSizes::of([DeviceChoice::Cpu], 4);
    let (window, decoded) = (sizes.pictures, sizes.pictures * DECODED_BATCHES);
    // All windows that wait, one that lacks a picture, and the pictures that are decoded meanwhile.
    let waiting = (WINDOWS_PER_DEVICE + 1) * window;
    let bound = waiting + (window - 1) + decoded;
    // Two rounds of decoding give just these windows, the third one finds no room. One chunk for all, as its end would send
    // the last window on. Bytes after a JPEG's end are not part of the picture.
    let jpeg = fs_err::read(fixtures().join("query_images").join(picture(0))).unwrap();
    let in_second_round = waiting + (window - 1) - decoded;
    let image = |number: usize| match (decoded..2 * decoded).contains(&number) && number >= decoded + in_second_round {
        true => ImageSource::Absent,
        false => ImageSource::Bytes([jpeg.as_slice(), &number.to_le_bytes()].concat()),
    };
    let rows = 5 * decoded;
    let items = (0..rows).map(|number| item(number, None, image(number))).collect();
    let night = Bounded::new(Modality::Image, rows);

    let (shared, computed) = (Shared::default(), AtomicU64::new(0));
    let slow = |encoder: &LoadedEncoder, window: &Window| {
        if computed.load(Ordering::Relaxed) == 0 {
            stall(&shared.pictures, bound as u64);
        }
        assert!(window.len() <= sizes.pictures);
        computed.fetch_add(window.len() as u64, Ordering::Relaxed);
        encode_window(encoder, window)
    };
    night.encode(items, &Silent, &shared, &slow);
    assert_eq!(computed.into_inner(), (rows - decoded + in_second_round) as u64, "no two pictures are equal");
    assert_eq!(shared.pictures.most(), bound as u64, "the bound is reached and kept");
}
