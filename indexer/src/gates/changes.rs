//! Gates against a feed that broke overnight: items that went or came, pictures that cannot be used. Owns what is compared
//! with the current snapshot; not the bounds. Invariant: what there is nothing to compare with is not judged.

use schemas::manifest::{GateResult, Manifest};
use schemas::{Modality, SnapshotId};

use super::Parent;
use crate::report::RunCounts;

/// Share of the parent's items by which there are fewer now; `None` when it had none.
pub(super) fn item_drop(manifest: &Manifest, parent: &Parent, bound: f64) -> Option<GateResult> {
    change(manifest.item_count, parent, bound, Direction::Fewer)
}

/// Share of the parent's items by which there are more now; `None` when it had none.
pub(super) fn item_growth(manifest: &Manifest, parent: &Parent, bound: f64) -> Option<GateResult> {
    change(manifest.item_count, parent, bound, Direction::More)
}

#[derive(Clone, Copy)]
enum Direction {
    Fewer,
    More,
}

fn change(items: u64, parent: &Parent, bound: f64, direction: Direction) -> Option<GateResult> {
    let before = parent.manifest.item_count;
    if before == 0 {
        return None;
    }
    let (difference, word) = match direction {
        Direction::Fewer => (before.saturating_sub(items), "fewer"),
        Direction::More => (items.saturating_sub(before), "more"),
    };
    let value = difference as f64 / before as f64;
    let message = format!(
        "{items} items, {difference} ({:.1}%) {word} than the {before} of {}, at most {:.1}% {word} allowed",
        value * 100.0,
        parent.id,
        bound * 100.0
    );
    Some(GateResult { value, bound, passed: value <= bound, message })
}

/// Share of the pictures that the catalog names and that could not be used; `None` where pictures are not encoded, or none
/// is named.
pub(super) fn missing_images(counts: &RunCounts, bound: f64) -> Option<GateResult> {
    let images = counts.modalities.get(&Modality::Image)?;
    let unusable = counts.pictures_left_out;
    let named = images.encoded() + images.kept + unusable;
    if named == 0 {
        return None;
    }
    let value = unusable as f64 / named as f64;
    let message = format!(
        "{unusable} of {named} pictures that the catalog names cannot be used ({:.1}%), at most {:.1}% allowed",
        value * 100.0,
        bound * 100.0
    );
    Some(GateResult { value, bound, passed: value <= bound, message })
}

/// How far the share of items without a usable picture is above the parent's: a feed that stopped naming pictures shows
/// here, too. `None` where one of the two has no item or does not encode pictures.
pub(super) fn missing_images_rise(manifest: &Manifest, parent: &Parent, bound: f64) -> Option<GateResult> {
    let (before, now) = (with_picture(&parent.manifest)?, with_picture(manifest)?);
    Some(picture_fall(before, now, bound, &parent.id))
}

fn picture_fall(before: f64, now: f64, bound: f64, parent: &SnapshotId) -> GateResult {
    let value = (before - now).max(0.0);
    let message = format!(
        "{:.1}% of the items have a usable picture, {:.1}% in {parent}: at most {:.1} points less allowed",
        now * 100.0,
        before * 100.0,
        bound * 100.0
    );
    GateResult { value, bound, passed: value <= bound, message }
}

/// Share of a snapshot's items that have an embedding of their picture.
fn with_picture(manifest: &Manifest) -> Option<f64> {
    let images = manifest.modalities.iter().find(|one| one.modality == Modality::Image)?;
    (manifest.item_count > 0).then(|| images.present as f64 / manifest.item_count as f64)
}

#[cfg(test)]
mod tests {
    use schemas::Location;
    use schemas::rejects::{RejectReason, Rejection};

    use super::*;
    use crate::report::ModalityCounts;

    fn parent(items: u64) -> Parent {
        let id = SnapshotId::parse("20261119T031500Z-0f1e2d3c4b5a").unwrap();
        Parent { id, manifest: manifest(items), folder: std::path::PathBuf::new() }
    }

    fn manifest(items: u64) -> Manifest {
        let book = include_str!("../../../schemas/README.md");
        let example = book.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let read = Manifest::from_bytes(std::path::Path::new("README.md"), example.as_bytes()).unwrap();
        Manifest { item_count: items, ..read }
    }

    #[test]
    fn half_a_feed_and_a_double_one_are_measured_against_the_parent() {
        let drop = |items| item_drop(&manifest(items), &parent(1000), 0.2).map(|gate| (gate.value, gate.passed));
        assert_eq!(
            [1000, 800, 799, 500, 0, 2000].map(drop),
            [
                Some((0.0, true)),
                Some((0.2, true)),
                Some((0.201, false)),
                Some((0.5, false)),
                Some((1.0, false)),
                Some((0.0, true)),
            ]
        );
        let growth = |items| item_growth(&manifest(items), &parent(1000), 1.0).map(|gate| (gate.value, gate.passed));
        assert_eq!([500, 2000, 2001].map(growth), [Some((0.0, true)), Some((1.0, true)), Some((1.001, false))]);
        assert_eq!(item_drop(&manifest(5), &parent(0), 0.2), None, "nothing to compare with");
        assert_eq!(item_growth(&manifest(5), &parent(0), 0.2), None);
        let message = item_drop(&manifest(600), &parent(1000), 0.2).unwrap().message;
        assert_eq!(
            message,
            "600 items, 400 (40.0%) fewer than the 1000 of 20261119T031500Z-0f1e2d3c4b5a, at most 20.0% fewer allowed"
        );
    }

    #[test]
    fn only_pictures_that_the_catalog_names_count_as_missing() {
        let mut counts = RunCounts::unrecorded(&[Modality::Title, Modality::Image]);
        *counts.modality(Modality::Image) = ModalityCounts { kept: 6, absent: 100, ..ModalityCounts::default() };
        assert_eq!(missing_images(&counts, 0.2).map(|gate| gate.value), Some(0.0));
        let location = Location { file: "items.jsonl".into(), line: 1 };
        for reason in [RejectReason::ImageMissing, RejectReason::ImageOutsideCatalog, RejectReason::MissingId] {
            counts.reject(&Rejection { location: location.clone(), id: None, reason }).unwrap();
        }
        let gate = missing_images(&counts, 0.2).unwrap();
        assert_eq!((gate.value, gate.passed), (0.25, false), "{}", gate.message);
        assert!(missing_images(&counts, 0.25).unwrap().passed);
        assert_eq!(missing_images(&RunCounts::unrecorded(&[Modality::Title]), 0.0), None);
        assert_eq!(missing_images(&RunCounts::unrecorded(&[Modality::Image]), 0.0), None, "none is named");
    }

    #[test]
    fn a_fall_of_the_share_with_pictures_is_measured_and_a_gain_is_none() {
        let id = parent(1).id;
        let rise = |before, now| {
            let gate = picture_fall(before, now, 0.25, &id);
            (gate.value, gate.passed)
        };
        assert_eq!(rise(1.0, 0.75), (0.25, true));
        assert_eq!(rise(1.0, 0.5), (0.5, false));
        assert_eq!(rise(0.5, 1.0), (0.0, true));
        assert_eq!(rise(0.0, 0.0), (0.0, true), "a catalog that never had pictures");
        assert_eq!(missing_images_rise(&manifest(5), &parent(5), 0.0), None, "no pictures are encoded");
    }
}
