//! From the bytes of a picture file to the values a tower takes. Owns decoding (`decode`, `jpeg`), what the checkpoint
//! wants (`settings`) and doing it (`transform`). Invariant: hostile bytes give an error, within bounded memory.

/// Version of the way from a file to values. Whoever changes decoding or resizing so that pictures get other values takes
/// the next number: it is part of the encoder spec, so that the next night encodes pictures again, and only these.
///
/// 1: pictures are decoded with all their pixels. 2: JPEGs of at least eight times the model's size are decoded at 1/4 or
/// 1/8 of it.
pub(crate) const PREPROCESSING_VERSION: u32 = 2;

pub(crate) mod decode;
mod jpeg;
pub(crate) mod settings;
pub(crate) mod transform;
