//! Opening snapshots of growing size: time and memory, by how the files are mapped and checked.
//!
//! **What is measured.** A fresh process for every line opens the snapshot, asks 100 keyword queries and 100 for the likes of
//! an item, and tells the time and its memory: resident pages of its own (anonymous) and of mapped files, which the system
//! shares between readers and may drop. With `--cold` the files are put out of the page cache before each process starts
//! (`dd iflag=nocache`), so that the disk is measured too; else they are in it. The median of `--rounds` processes counts.
//!
//! **On what.** Invented items of ten words out of 20,000 and two embeddings of 8 dimensions each, written by the library's
//! own writers with a fixed seed; kept in FOLDER for the next time. 1,000,000 rows take some minutes and about 400 MB.
//!
//! ```text
//! cargo bench --bench open -- FOLDER [--rows 10000,100000,1000000] [--rounds 5] [--cold]
//! ```

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use half::f16;
use schemas::items::{ITEMS_FILE, ItemsReader, ItemsWriter, StoredItem};
use schemas::manifest::MANIFEST_FILE;
use schemas::map::{AccessPattern, MapOptions, Residency};
use schemas::modalities::{MODALITIES_FILE, ModalitiesReader, ModalitiesWriter, ModalityColumn};
use schemas::{FieldValue, Manifest, MappedFile, Row};
use searcher::embedding_fusion::EmbeddingFusion;
use searcher::keyword::{KEYWORD_FOLDER, KeywordIndex, KeywordWriter};
use searcher::vector::GraphWriter;
use searcher::{FileCheck, ItemPart, Mode, OpenOptions, Query, Searcher, SnapshotMaps, example};

/// Length of an embedding; there are two of them.
const DIMENSION: usize = 8;
/// Distinct words.
const WORDS: u64 = 20_000;
/// Queries of each kind.
const QUERIES: u64 = 100;
/// Vectors that are added at once.
const CHUNK_ROWS: usize = 10_000;

#[derive(Parser)]
struct Arguments {
    folder: PathBuf,
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
    rows: Vec<u64>,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[arg(long)]
    cold: bool,
    /// Measure one snapshot in this process; the bench starts itself with it.
    #[arg(long, hide = true)]
    measure: Option<Setting>,
    /// cargo itself adds this flag.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Setting {
    /// The defaults.
    Default,
    Prefault,
    Locked,
    Random,
    Checksums,
    /// Everything but the graph, by the defaults; no queries.
    WithoutGraph,
}

impl Setting {
    fn options(self) -> OpenOptions {
        let (mut maps, mut check) = (MapOptions::default(), FileCheck::Ends);
        match self {
            Setting::Default | Setting::WithoutGraph => {}
            Setting::Prefault => maps.residency = Residency::Prefault,
            Setting::Locked => maps.residency = Residency::Locked,
            Setting::Random => maps.access = AccessPattern::Random,
            Setting::Checksums => check = FileCheck::Checksums,
        }
        OpenOptions { check, maps: SnapshotMaps::all(maps), ..OpenOptions::default() }
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(setting) = arguments.measure {
        return measure(&arguments.folder, setting);
    }
    println!("rows\tMB\tsetting\topen_ms\topen_own_MB\topen_files_MB\tfirst_ms\tqueries_ms\tfiles_MB\thits");
    for rows in &arguments.rows {
        let snapshot = arguments.folder.join(rows.to_string());
        if !snapshot.join(MANIFEST_FILE).exists() {
            write_snapshot(&snapshot, *rows).with_context(|| format!("writing `{}`", snapshot.display()))?;
        }
        let manifest = Manifest::read(&snapshot)?;
        let bytes: u64 = manifest.files.values().map(|file| file.bytes).sum();
        for setting in Setting::value_variants() {
            let mut runs = Vec::new();
            for _ in 0..arguments.rounds.max(1) {
                if arguments.cold {
                    forget(&snapshot, &manifest)?;
                }
                runs.push(run(&snapshot, *setting)?);
            }
            runs.sort_by(|left, right| left[0].total_cmp(&right[0]));
            let columns: Vec<String> = runs[runs.len() / 2].iter().map(|value| format!("{value:.2}")).collect();
            println!("{rows}\t{:.1}\t{setting:?}\t{}", bytes as f64 / 1e6, columns.join("\t"));
        }
    }
    Ok(())
}

/// A process that measures.
fn run(snapshot: &Path, setting: Setting) -> anyhow::Result<Vec<f64>> {
    let name = setting.to_possible_value().context("a setting without a name")?.get_name().to_owned();
    let output = Command::new(std::env::current_exe()?).arg(snapshot).args(["--measure", &name]).output()?;
    if !output.status.success() {
        bail!("{setting:?} of `{}`: {}", snapshot.display(), String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}

/// Opens the files that are not the graph, one by one.
fn measure_without_graph(snapshot: &Path) -> anyhow::Result<()> {
    let (own, files) = resident()?;
    let start = Instant::now();
    let manifest = Manifest::read(snapshot)?;
    let keyword = KeywordIndex::open(&snapshot.join(KEYWORD_FOLDER), &manifest.keyword)?;
    let items = ItemsReader::open(MappedFile::open(&snapshot.join(ITEMS_FILE))?, &manifest.fields)?;
    let modalities = MappedFile::open(&snapshot.join(MODALITIES_FILE))?;
    let modalities = ModalitiesReader::open(modalities, &columns(&manifest))?;
    let open = start.elapsed().as_secs_f64() * 1e3;
    let rows = [keyword.row_count(), items.row_count(), modalities.row_count()];
    if rows != [manifest.item_count; 3] {
        bail!("the files have {rows:?} rows");
    }
    let (own_open, files_open) = resident()?;
    println!("{open} {} {} 0 0 0 0", own_open - own, files_open - files);
    Ok(())
}

fn columns(manifest: &Manifest) -> Vec<ModalityColumn> {
    let column = |modality| ModalityColumn { modality, dimension: DIMENSION };
    manifest.modalities.iter().map(|one| column(one.modality)).collect()
}

fn measure(snapshot: &Path, setting: Setting) -> anyhow::Result<()> {
    if setting == Setting::WithoutGraph {
        return measure_without_graph(snapshot);
    }
    let (own, files) = resident()?;
    let start = Instant::now();
    let searcher = Searcher::open(snapshot, &setting.options())?;
    let open = start.elapsed();
    let (own_open, files_open) = resident()?;
    let mut random = Random(7);
    let rows = searcher.manifest().item_count;
    let (mut hits, mut first) = (0, None);
    let start = Instant::now();
    for _ in 0..QUERIES {
        let words = format!("{} {}", word(&mut random), word(&mut random));
        let keyword = Query { mode: Mode::Keyword, ..Query::text(words) };
        let like = vec![ItemPart { id: format!("i{}", random.below(rows)), weight: 1.0 }];
        let vector = Query { mode: Mode::Vector, like, ..Query::default() };
        for query in [keyword, vector] {
            hits += searcher.search(&query)?.hits.len();
            first.get_or_insert_with(|| start.elapsed());
        }
    }
    let queries = start.elapsed();
    let milliseconds = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    println!(
        "{} {} {} {} {} {} {hits}",
        milliseconds(open),
        own_open - own,
        files_open - files,
        milliseconds(first.unwrap_or_default()),
        milliseconds(queries),
        resident()?.1 - files,
    );
    Ok(())
}

/// Resident megabytes of this process: of its own, and of mapped files.
fn resident() -> anyhow::Result<(f64, f64)> {
    let status = fs_err::read_to_string("/proc/self/status")?;
    let megabytes = |key: &str| -> anyhow::Result<f64> {
        let line = status.lines().find(|line| line.starts_with(key)).context("no such line in /proc/self/status")?;
        let kilobytes: f64 = line.split_whitespace().nth(1).context("a line without a number")?.parse()?;
        Ok(kilobytes / 1e3)
    };
    Ok((megabytes("RssAnon:")?, megabytes("RssFile:")?))
}

/// Puts a snapshot's files out of the page cache.
fn forget(snapshot: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    for name in manifest.files.keys() {
        let input = format!("if={}", snapshot.join(name).display());
        let status = Command::new("dd").args([&input, "iflag=nocache", "count=0", "status=none"]).status()?;
        if !status.success() {
            bail!("dd could not put `{name}` out of the page cache");
        }
    }
    Ok(())
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// A word; low numbers are frequent ones.
fn word(random: &mut Random) -> String {
    let bound = random.below(WORDS) + 1;
    format!("w{}", random.below(bound))
}

fn embedding(random: &mut Random) -> Vec<f16> {
    let values: Vec<f32> = (0..DIMENSION).map(|_| random.below(2_001) as f32 / 1_000.0 - 1.000_5).collect();
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.iter().map(|value| f16::from_f32(value / length)).collect()
}

fn write_snapshot(folder: &Path, rows: u64) -> anyhow::Result<()> {
    // An empty example lends its manifest.
    example::write_snapshot(folder, &[])?;
    let mut manifest = Manifest::read(folder)?;
    fs_err::remove_dir_all(folder)?;
    fs_err::create_dir_all(folder.join("vector"))?;
    for modality in &mut manifest.modalities {
        modality.encoder.dimension = DIMENSION;
        modality.present = rows;
    }
    let fusion = EmbeddingFusion::new(Default::default(), &manifest.modalities).map_err(anyhow::Error::msg)?;
    let mut vector = manifest.vector.clone().context("the example has vectors")?;
    (vector.dimension, vector.connectivity, vector.expansion_add) = (fusion.dimension(), 8, 32);
    let mut items = ItemsWriter::create(&folder.join(ITEMS_FILE), &manifest.fields)?;
    let mut modalities = ModalitiesWriter::create(&folder.join(MODALITIES_FILE), &columns(&manifest))?;
    let mut keyword = KeywordWriter::create(&folder.join(KEYWORD_FOLDER), &manifest.keyword, &manifest.fields)?;
    let graph = GraphWriter::create(folder, &vector, usize::try_from(rows)?)?;
    let mut random = Random(1);
    let mut vectors: Vec<(Row, Vec<f16>)> = Vec::new();
    for row in 0..Row::try_from(rows)? {
        let words: Vec<String> = (0..10).map(|_| word(&mut random)).collect();
        let mut fields = vec![None; manifest.fields.len()];
        fields[0] = Some(FieldValue::String(format!("brand {}", random.below(500))));
        fields[1] = Some(FieldValue::Float(random.below(10_000) as f64 / 100.0));
        let (title, description) = (Some(words[..4].join(" ")), Some(words[4..].join(" ")));
        let item = StoredItem { id: format!("i{row}"), title, description, image: None, fields };
        keyword.write(&item)?;
        items.write(&item)?;
        let embeddings = [embedding(&mut random), embedding(&mut random)];
        let embeddings: Vec<Option<&[f16]>> = embeddings.iter().map(|values| Some(values.as_slice())).collect();
        modalities.write(&embeddings)?;
        vectors.extend(fusion.item_vector(&embeddings).map(|vector| (row, vector)));
        if vectors.len() == CHUNK_ROWS {
            graph.add(&vectors)?;
            vectors.clear();
        }
    }
    graph.add(&vectors)?;
    manifest.item_count = items.finish()?;
    modalities.finish()?;
    keyword.finish()?;
    vector.vector_count = graph.finish()?;
    manifest.vector = Some(vector);
    manifest.files.clear();
    for name in schemas::durable::list_files(folder)? {
        let entry = schemas::durable::checksum_file(&folder.join(&name))?;
        manifest.files.insert(name, entry);
    }
    fs_err::write(folder.join(MANIFEST_FILE), manifest.to_bytes())?;
    Ok(())
}
