//! Damaged copies of a file, for the tests of its readers.

/// Ways in which each byte is changed.
pub(crate) const FLIPS_PER_BYTE: usize = 4;

/// Copies of `bytes`, each with one byte changed: one bit, all bits, to the largest and to the smallest value.
pub(crate) fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len()).flat_map(move |place| {
        let old = bytes[place];
        [old ^ (1 << (place % 8)), !old, 0x7f, 0x80].map(|new| {
            let mut copy = bytes.to_vec();
            copy[place] = new;
            copy
        })
    })
}
