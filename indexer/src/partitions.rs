//! Which partitions of a catalog a run works on. Owns the share that is asked for as `2/3`, and which rows belong to it;
//! not the hash (`spool.rs`). Invariant: the shares of one count have every partition, and every row of the catalog,
//! exactly once.

use std::fmt;
use std::str::FromStr;

use crate::error::IndexError;
use crate::spool::partition_of;

/// One of several runs that share a catalog's partitions: the partitions p with `p % count == number - 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionShare {
    number: u32,
    count: u32,
}

/// Text that is no share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no share of the partitions; expected I/N such as `2/3`, from 1/N to N/N")]
pub struct ParseShareError {
    /// What was given.
    pub given: String,
}

impl FromStr for PartitionShare {
    type Err = ParseShareError;

    fn from_str(text: &str) -> Result<PartitionShare, ParseShareError> {
        let parsed = text.split_once('/').and_then(|(number, count)| Some((number.parse().ok()?, count.parse().ok()?)));
        let share = parsed.map(|(number, count)| PartitionShare { number, count });
        share
            .filter(|share| (1..=share.count).contains(&share.number))
            .ok_or_else(|| ParseShareError { given: text.to_owned() })
    }
}

impl fmt::Display for PartitionShare {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.number, self.count)
    }
}

impl PartitionShare {
    /// A name for files of this share.
    pub(crate) fn file_name(&self) -> String {
        format!("partition-{}-of-{}", self.number, self.count)
    }
}

/// The partitions that a run works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenPartitions {
    partitions: u32,
    share: PartitionShare,
}

impl ChosenPartitions {
    /// All partitions.
    #[must_use]
    pub fn all(partitions: u32) -> ChosenPartitions {
        ChosenPartitions { partitions, share: PartitionShare { number: 1, count: 1 } }
    }

    /// Those of one share.
    ///
    /// # Errors
    /// When there are fewer partitions than shares.
    pub fn of(share: PartitionShare, partitions: u32) -> Result<ChosenPartitions, IndexError> {
        if share.count > partitions {
            return Err(IndexError::TooManyShares { share, partitions });
        }
        Ok(ChosenPartitions { partitions, share })
    }

    /// Number of all partitions.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// The chosen ones, ascending.
    #[must_use]
    pub fn list(&self) -> Vec<u32> {
        (0..self.partitions).filter(|partition| self.has(*partition)).collect()
    }

    /// Whether the row of that id belongs to them; a row without an id belongs to the first partition.
    #[must_use]
    pub fn has_row(&self, id: Option<&str>) -> bool {
        // With one share there is nothing to compute.
        self.share.count == 1 || self.has(id.map_or(0, |id| partition_of(id, self.partitions)))
    }

    fn has(&self, partition: u32) -> bool {
        partition % self.share.count == self.share.number - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_as_they_are_written() {
        assert_eq!("2/3".parse(), Ok(PartitionShare { number: 2, count: 3 }));
        assert_eq!(PartitionShare { number: 2, count: 3 }.to_string(), "2/3");
        for given in ["0/3", "4/3", "3", "a/3", "1/0", "1/", "-1/3", "1/3/3", ""] {
            assert_eq!(given.parse::<PartitionShare>(), Err(ParseShareError { given: given.to_owned() }));
        }
    }

    #[test]
    fn shares_have_every_partition_and_row_once() {
        let shares: Vec<ChosenPartitions> =
            (1..=3).map(|number| ChosenPartitions::of(PartitionShare { number, count: 3 }, 8).unwrap()).collect();
        assert_eq!(
            shares.iter().map(ChosenPartitions::list).collect::<Vec<_>>(),
            [vec![0, 3, 6], vec![1, 4, 7], vec![2, 5]]
        );
        for id in [None, Some("a"), Some("b"), Some("c"), Some("d")] {
            assert_eq!(shares.iter().filter(|share| share.has_row(id)).count(), 1, "{id:?}");
            assert!(ChosenPartitions::all(8).has_row(id));
        }
        let error = ChosenPartitions::of(PartitionShare { number: 9, count: 9 }, 8).unwrap_err().to_string();
        assert_eq!(error, "share 9/9 of 8 partitions; raise `encode.partitions` or take fewer shares");
    }
}
