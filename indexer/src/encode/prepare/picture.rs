//! One picture up to the forward pass: read, compare, decode. Owns which failures leave a picture out and which end the
//! run; not the reading itself. Invariant: a picture that is kept is never decoded.

use encoders::{EncoderError, ImageEncoder, Pixels};
use schemas::rejects::RejectReason;
use schemas::{ContentHash, Item};

use crate::pictures::PictureReader;

/// A picture before its forward pass.
pub(super) enum Picture {
    /// The item has none.
    Absent,
    /// An earlier embedding can be kept.
    Kept(ContentHash),
    /// Decoded and preprocessed.
    Ready(ContentHash, Pixels),
    /// Read, but not a picture that can be used.
    Undecodable(ContentHash, RejectReason),
    /// Not read.
    Unreadable(RejectReason),
}

/// Reads, compares and decodes the item's picture.
///
/// # Errors
/// The encoder's own failure; what is wrong with the picture is no error.
pub(super) fn prepare(
    encoder: &ImageEncoder,
    pictures: &PictureReader,
    item: &Item,
    is_kept: impl FnOnce(ContentHash) -> bool,
) -> Result<Picture, EncoderError> {
    let bytes = match pictures.read(&item.image) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Picture::Absent),
        Err(reason) => return Ok(Picture::Unreadable(reason)),
    };
    let hash = ContentHash::of(&bytes);
    if is_kept(hash) {
        return Ok(Picture::Kept(hash));
    }
    match encoder.preprocess(&bytes, pictures.limits()) {
        Ok(pixels) => Ok(Picture::Ready(hash, pixels)),
        Err(EncoderError::ImageTooLarge { detail }) => {
            Ok(Picture::Undecodable(hash, RejectReason::ImageTooLarge { detail }))
        }
        Err(EncoderError::ImageBroken { detail }) => {
            Ok(Picture::Undecodable(hash, RejectReason::ImageBroken { detail }))
        }
        Err(other) => Err(other),
    }
}
