//! The name of a snapshot. Owns its form; not where snapshots lie. Invariant: a `SnapshotId` is always safe as a file
//! name, and names sort by time.

use std::fmt;

use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// Form of the time in a snapshot's name.
pub(crate) const TIME_FORM: &[BorrowedFormatItem<'static>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");

/// Name of a snapshot: `20261120T031500Z-1a2b3c4d5e6f`, UTC time of the run's start and 12 hexadecimal digits of its
/// manifest's BLAKE3. Sorts by time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SnapshotId(String);

impl SnapshotId {
    /// Number of hexadecimal digits after the time.
    pub const DIGEST_DIGITS: usize = 12;
    /// Number of characters of the time, `20261120T031500Z`.
    pub const TIME_CHARACTERS: usize = 16;

    /// The name for a time in the form `20261120T031500Z` and a digest in hexadecimal of which the first 12 digits are
    /// taken; `None` when either has another form.
    #[must_use]
    pub fn new(time_text: &str, digest: &str) -> Option<SnapshotId> {
        SnapshotId::parse(&format!("{time_text}-{}", digest.get(..SnapshotId::DIGEST_DIGITS)?))
    }

    /// Checks the form: a real UTC time and twelve lower-case hexadecimal digits, nothing else.
    #[must_use]
    pub fn parse(text: &str) -> Option<SnapshotId> {
        let (time, digest) = text.split_at_checked(SnapshotId::TIME_CHARACTERS)?;
        let digits = digest.strip_prefix('-')?;
        let lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        // Without this check the year could be written with a sign, as the time crate allows.
        let time_characters = time.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'T' | b'Z'));
        let well_formed = digits.len() == SnapshotId::DIGEST_DIGITS
            && digits.bytes().all(lower_hex)
            && time_characters
            && PrimitiveDateTime::parse(time, TIME_FORM).is_ok();
        well_formed.then(|| SnapshotId(text.to_owned()))
    }

    /// The first hexadecimal digits of its manifest's BLAKE3.
    #[must_use]
    pub fn digest(&self) -> &str {
        self.0.get(SnapshotId::TIME_CHARACTERS + 1..).unwrap_or_default()
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_strict_form_is_a_snapshot_id() {
        assert!(SnapshotId::parse("20261120T031500Z-1a2b3c4d5e6f").is_some());
        for text in [
            "",
            "20261120T031500Z",
            "20261120T031500Z-1a2b3c4d5e6",
            "20261120T031500Z-1a2b3c4d5e6f0",
            "20261120T031500Z-1A2B3C4D5E6F",
            "20261320T031500Z-1a2b3c4d5e6f",
            "20260230T031500Z-1a2b3c4d5e6f",
            "20261120T250000Z-1a2b3c4d5e6f",
            "20261120 031500Z-1a2b3c4d5e6f",
            "+02611200T31500Z-1a2b3c4d5e6f",
            "../../../etc/pass-1a2b3c4d5e6f",
            "20261120T031500Z-1a2b3c4d5e6f\n",
            "20261120T03150é-1a2b3c4d5e6f",
        ] {
            assert_eq!(SnapshotId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_new_one_takes_twelve_digits_of_the_digest() {
        let digest = blake3::hash(b"manifest").to_hex();
        let snapshot = SnapshotId::new("20261120T031500Z", &digest);
        assert_eq!(snapshot.map(|snapshot| snapshot.as_str()[17..].to_owned()).as_deref(), Some(&digest[..12]));
        assert_eq!(SnapshotId::new("20261120T031500Z", "1a2b"), None);
        assert_eq!(SnapshotId::new("2026-11-20", &digest), None);
    }

    #[test]
    fn names_sort_by_time() {
        let [earlier, later] =
            ["20261120T031500Z", "20261121T031500Z"].map(|time| SnapshotId::new(time, "ffffffffffff"));
        assert!(earlier.is_some() && earlier < later);
    }
}
