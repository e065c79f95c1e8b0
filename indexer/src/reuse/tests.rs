//! Tests of what is kept.

use schemas::embeddings::{EmbeddingsBatch, EmbeddingsWriter};
use schemas::{Architecture, Dtype, EncoderSpec, Modality, Pooling};

use super::*;

fn schema(weights: &str) -> EmbeddingsSchema {
    let spec = EncoderSpec {
        name: "model".to_owned(),
        architecture: Architecture::Bert,
        checkpoint: "0123456789abcdef".to_owned(),
        weights: weights.repeat(64),
        preprocessing: "b".repeat(64),
        pooling: Pooling::Mean,
        dimension: 2,
        dtype: Dtype::F32,
    };
    EmbeddingsSchema { modalities: vec![(Modality::Title, spec.clone()), (Modality::Image, spec)] }
}

fn hash(text: &str) -> ContentHash {
    ContentHash::of(text.as_bytes())
}

/// A part of ids whose title is the id in capitals; `p…` has a picture, `b…` one that could not be encoded.
fn write(path: &Path, ids: &[&str]) -> Result<(), IndexError> {
    let mut batch: EmbeddingsBatch = schema("a").empty_batch();
    for (row, id) in ids.iter().enumerate() {
        batch.ids.push((*id).to_owned());
        let values = [f16::from_f32(row as f32), f16::ONE];
        batch.columns[0].push(Some(hash(&id.to_uppercase())), Some(&values));
        let picture = id.starts_with('p') || id.starts_with('b');
        batch.columns[1].push(picture.then(|| hash("picture")), id.starts_with('p').then_some(&values[..]));
    }
    let mut writer = EmbeddingsWriter::create(path, &schema("a"))?;
    writer.write(&batch)?;
    Ok(writer.finish()?)
}

fn folder() -> Result<(tempfile::TempDir, PathBuf, PathBuf), IndexError> {
    let folder = tempfile::tempdir().map_err(IndexError::io(Path::new("temporary")))?;
    let (first, second) = (folder.path().join("part-00000.parquet"), folder.path().join("part-00001.parquet"));
    Ok((folder, first, second))
}

#[test]
fn every_reason_is_told_apart() -> Result<(), IndexError> {
    let (_folder, first, _) = folder()?;
    write(&first, &["t1", "p2", "b3"])?;
    let paths = [first];
    let earlier = EarlierEmbeddings::load(&paths, &schema("a"), |_| true)?;
    let decide = |id: &str, modality, content: &str| earlier.decide(earlier.row(id), modality, hash(content));
    assert_eq!(decide("t1", 0, "T1"), Decision::Keep(EarlierRow(0)));
    assert_eq!(decide("t1", 0, "other"), Decision::Encode(EncodeReason::ContentChanged));
    assert_eq!(decide("t1", 1, "picture"), Decision::Encode(EncodeReason::NewModality));
    assert_eq!(decide("p2", 1, "picture"), Decision::Keep(EarlierRow(1)));
    assert_eq!(decide("b3", 1, "picture"), Decision::Encode(EncodeReason::NewModality));
    assert_eq!(decide("new", 0, "NEW"), Decision::Encode(EncodeReason::NewItem));
    let other = EarlierEmbeddings::load(&paths, &schema("c"), |_| true)?;
    assert_eq!(other.decide(other.row("t1"), 0, hash("T1")), Decision::Encode(EncodeReason::EncoderChanged));
    Ok(())
}

#[test]
fn a_part_stays_only_when_nothing_in_it_changed() -> Result<(), IndexError> {
    let (folder, first, second) = folder()?;
    write(&first, &["t1", "p2", "b3"])?;
    let paths = [first.clone(), second.clone()];
    let earlier = EarlierEmbeddings::load(&paths[..1], &schema("a"), |_| true)?;
    let rows: Vec<_> = ["t1", "p2", "b3"].iter().map(|id| earlier.row(id)).collect();
    let states = |earlier: &EarlierEmbeddings, rows: &[Option<EarlierRow>]| -> Vec<Vec<ContentState>> {
        (0..2).map(|modality| rows.iter().flatten().map(|row| earlier.state(*row, modality)).collect()).collect()
    };
    let same = states(&earlier, &rows);
    assert_eq!(same[1], [(None, false), (Some(hash("picture")), true), (Some(hash("picture")), false)]);
    assert_eq!(earlier.same_part(folder.path(), &rows, &same), Some(first.as_path()));
    assert_eq!(earlier.same_part(Path::new("elsewhere"), &rows, &same), None);
    assert_eq!(earlier.same_part(folder.path(), &rows[..2], &same), None);
    let mut changed = same.clone();
    changed[1][2].1 = true;
    assert_eq!(earlier.same_part(folder.path(), &rows, &changed), None);
    let swapped = [rows[1], rows[0], rows[2]];
    assert_eq!(earlier.same_part(folder.path(), &swapped, &states(&earlier, &swapped)), None);
    // Rows of another partition, or rows that a later part replaces.
    let fewer = EarlierEmbeddings::load(&paths[..1], &schema("a"), |id| id != "b3")?;
    let left = [fewer.row("t1"), fewer.row("p2")];
    assert_eq!(fewer.same_part(folder.path(), &left, &states(&fewer, &left)), None);
    write(&second, &["p2"])?;
    let newer = EarlierEmbeddings::load(&paths, &schema("a"), |_| true)?;
    let rows: Vec<_> = ["t1", "p2", "b3"].iter().map(|id| newer.row(id)).collect();
    assert_eq!(newer.same_part(folder.path(), &rows, &states(&newer, &rows)), None);
    assert_eq!(newer.same_part(folder.path(), &rows[1..2], &states(&newer, &rows[1..2])), Some(second.as_path()));
    Ok(())
}

#[test]
fn what_a_newer_row_lost_is_kept_from_an_older_one() -> Result<(), IndexError> {
    let (_folder, first, second) = folder()?;
    write(&first, &["p1", "p2"])?;
    // A night with another title and without the picture, which a gate refused.
    let mut batch: EmbeddingsBatch = schema("a").empty_batch();
    batch.ids.push("p2".to_owned());
    batch.columns[0].push(Some(hash("another title")), Some(&[f16::ONE, f16::ONE]));
    batch.columns[1].push(None, None);
    let mut writer = EmbeddingsWriter::create(&second, &schema("a"))?;
    writer.write(&batch)?;
    writer.finish()?;
    let mut earlier = EarlierEmbeddings::load(&[first.clone(), second], &schema("a"), |_| true)?;
    let decide = |earlier: &EarlierEmbeddings, modality, content: &str| {
        earlier.decide(earlier.row("p2"), modality, hash(content))
    };
    assert_eq!(decide(&earlier, 0, "another title"), Decision::Keep(EarlierRow(2)));
    assert_eq!(decide(&earlier, 0, "P2"), Decision::Keep(EarlierRow(1)));
    assert_eq!(decide(&earlier, 0, "third"), Decision::Encode(EncodeReason::ContentChanged));
    assert_eq!(decide(&earlier, 1, "picture"), Decision::Keep(EarlierRow(1)));
    assert_eq!(earlier.embeddings(1, &[(0, EarlierRow(1))]).values, [f16::ONE, f16::ONE]);
    // The older part turns out to be gone: its rows must not be kept again.
    fs_err::remove_file(&first).map_err(IndexError::io(&first))?;
    let mut earlier = EarlierEmbeddings { loaded: LoadedParts::default(), ..earlier };
    assert_eq!(earlier.embeddings(1, &[(0, EarlierRow(1))]).lost, [0]);
    assert_eq!(decide(&earlier, 1, "picture"), Decision::Encode(EncodeReason::NewModality));
    Ok(())
}

#[test]
fn embeddings_are_read_when_they_are_asked_for_and_a_lost_part_is_encoded_again() -> Result<(), IndexError> {
    let (_folder, first, second) = folder()?;
    write(&first, &["t1", "t2", "t3"])?;
    write(&second, &["t4"])?;
    let mut earlier = EarlierEmbeddings::load(&[first.clone(), second.clone()], &schema("a"), |_| true)?;
    let kept: Vec<(usize, EarlierRow)> =
        ["t4", "t3", "t1"].iter().enumerate().filter_map(|(row, id)| Some((row, earlier.row(id)?))).collect();
    fs_err::remove_file(&second).map_err(IndexError::io(&second))?;
    let found = earlier.embeddings(0, &kept);
    assert_eq!((found.rows, found.lost), (vec![2, 1], vec![0]));
    assert_eq!(found.values, [0.0, 1.0, 2.0, 1.0].map(f16::from_f32));
    assert_eq!(earlier.decide(earlier.row("t4"), 0, hash("T4")), Decision::Encode(EncodeReason::NewItem));
    assert!(matches!(earlier.decide(earlier.row("t2"), 0, hash("T2")), Decision::Keep(_)));
    // A part that is gone or damaged from the start is as if it had never been.
    fs_err::write(&second, "no parquet").map_err(IndexError::io(&second))?;
    let reloaded = EarlierEmbeddings::load(&[second, first], &schema("a"), |_| true)?;
    assert!(reloaded.row("t4").is_none() && reloaded.row("t1").is_some());
    Ok(())
}
