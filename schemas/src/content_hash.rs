//! Hash of the content behind one modality of one item. Owns how it is computed and written; not what is reused
//! because of it. Invariant: equal bytes give equal hashes on every machine and in every version.

use std::fmt;

/// First 16 bytes of the BLAKE3 hash of a modality's content: the UTF-8 bytes of a text, the file's bytes of a picture.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash(pub [u8; ContentHash::BYTES]);

impl ContentHash {
    /// Length in bytes.
    pub const BYTES: usize = 16;

    /// Hashes `content`.
    #[must_use]
    pub fn of(content: &[u8]) -> ContentHash {
        let mut bytes = [0; ContentHash::BYTES];
        bytes.copy_from_slice(&blake3::hash(content).as_bytes()[..ContentHash::BYTES]);
        ContentHash(bytes)
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ContentHash({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_first_half_of_blake3() {
        // The hash of nothing, from BLAKE3's published test vectors.
        assert_eq!(ContentHash::of(b"").to_string(), "af1349b9f5f9a1a6a0404dea36dcc949");
        assert_ne!(ContentHash::of(b"a"), ContentHash::of(b"b"));
    }
}
