//! Kinds of damage. Owns what trial number n does to a file; not what comes of it. Invariant: the same file, kind and
//! number give the same damage, and every trial changes the file.

/// A small generator of numbers (splitmix64): tests must not change with a library's version.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, 0 where there is none.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % (bound.max(1) as u64)) as usize
    }
}

/// A kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// One bit is turned over.
    Bit,
    /// Up to 512 bytes in a row are replaced: by random ones, zeros, ones, or bytes from elsewhere in the file.
    Block,
    /// The file is cut off.
    Truncated,
    /// The file is empty.
    Empty,
}

impl Kind {
    pub(super) const ALL: [Kind; 4] = [Kind::Bit, Kind::Block, Kind::Truncated, Kind::Empty];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Bit => "bit",
            Kind::Block => "block",
            Kind::Truncated => "truncated",
            Kind::Empty => "empty",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Trials of this kind for each file.
    pub(super) fn trials(self) -> u32 {
        match self {
            Kind::Bit | Kind::Block => 2_000,
            Kind::Truncated => 64,
            Kind::Empty => 1,
        }
    }

    /// The file's bytes after trial number `trial`. `whole` is not empty.
    pub(super) fn apply(self, whole: &[u8], trial: u32) -> Vec<u8> {
        let mut random = Random::new(u64::from(trial) + 1_000_000 * self as u64);
        let mut bytes = whole.to_vec();
        match self {
            Kind::Bit => {
                let bit = random.below(whole.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            Kind::Block => {
                while bytes == whole {
                    let start = random.below(whole.len());
                    let length = 1 + random.below((whole.len() - start).min(512));
                    let (fill, source) = (random.below(4), random.below(whole.len() - length + 1));
                    match fill {
                        0 => bytes[start..start + length].fill_with(|| random.next() as u8),
                        1 => bytes[start..start + length].fill(0),
                        2 => bytes[start..start + length].fill(0xff),
                        _ => bytes.copy_within(source..source + length, start),
                    }
                }
            }
            // Evenly over the file, the last one a byte short of whole.
            Kind::Truncated => bytes.truncate((whole.len() - 1) * (trial as usize + 1) / 64),
            Kind::Empty => bytes.clear(),
        }
        bytes
    }
}
