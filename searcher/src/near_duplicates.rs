//! Hits that show nearly the same picture as an earlier one. Owns the default threshold and which hits are compared; not what
//! becomes of them: they stay where they are, flagged. Invariant: a flag depends on the list alone, not on the page.

use std::collections::HashMap;
use std::ops::Range;

use schemas::{Modality, Row};

use crate::error::SearchError;
use crate::item_similarity::ItemSimilarity;
use crate::rank_fusion::RankedRow;
use crate::snapshot::Searcher;

/// Cosine of image embeddings from which two pictures count as nearly the same, by default.
///
/// Of 73 pictures of the fixture and of a real shop (eshop), encoded with the fixture's model, copies at half the size or
/// at JPEG quality 50 have at least 0.9985 with the original, brighter ones 0.99 in the median, ones cut by a fortieth at
/// each side 0.98. Of pictures of different items, 2 of 692,076 pairs of the fixture's drawings reach it (same kind,
/// colour and pattern), and none of 5,050 of the shop's photographs, which end at 0.95. Other models differ.
pub const DEFAULT_NEAR_DUPLICATE_COSINE: f32 = 0.99;

/// Hits from the start of the list that later ones are compared with. A page costs so many inner products a hit at most.
pub const NEAR_DUPLICATE_POOL: usize = 200;

/// For the rows of a page: the first row of the list that stands before it, is among the first [`NEAR_DUPLICATE_POOL`],
/// and whose picture has at least that cosine with the row's.
pub(crate) fn near_duplicates(
    searcher: &Searcher,
    least_cosine: f32,
    ranked: &[RankedRow],
    page: Range<usize>,
) -> Result<HashMap<Row, Row>, SearchError> {
    let mut duplicates = HashMap::new();
    let vector = searcher.vector.as_ref();
    let Some(pictures) = vector.and_then(|vector| ItemSimilarity::of_modality(vector, Modality::Image)) else {
        return Ok(duplicates);
    };
    for place in page {
        let row = ranked[place].row;
        let picture = pictures.item(row)?;
        for earlier in &ranked[..place.min(NEAR_DUPLICATE_POOL)] {
            if picture.similarity(earlier.row)?.is_some_and(|cosine| cosine >= least_cosine) {
                duplicates.insert(row, earlier.row);
                break;
            }
        }
    }
    Ok(duplicates)
}
