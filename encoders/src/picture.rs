//! From the bytes of a picture file to the values a tower takes. Owns decoding (`decode`, `jpeg`), what the checkpoint
//! wants (`settings`) and doing it (`transform`). Invariant: hostile bytes give an error, within bounded memory.

pub(crate) mod decode;
mod jpeg;
pub(crate) mod settings;
pub(crate) mod transform;
