//! Numbers as people read them. Owns units.

/// `45 s`, `12 min`, `3 h 05 min` or `2 d 04 h`.
pub(crate) fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round();
    let hours = (seconds / 3600.0).round();
    if seconds < 90.0 {
        format!("{seconds:.0} s")
    } else if minutes < 90.0 {
        format!("{minutes:.0} min")
    } else if hours < 48.0 {
        format!("{:.0} h {:02.0} min", (minutes / 60.0).floor(), minutes % 60.0)
    } else {
        format!("{:.0} d {:02.0} h", (hours / 24.0).floor(), hours % 24.0)
    }
}

/// `512 B`, `1.5 kB`, `18.3 MB` or `2.0 GB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    let unit = units.into_iter().find(|(_, size)| bytes as f64 >= *size);
    unit.map_or_else(|| format!("{bytes} B"), |(unit, size)| format!("{:.1} {unit}", bytes as f64 / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_exact_as_estimates_are() {
        let durations = [0.2, 45.4, 700.0, 11_100.0, 200_000.0].map(duration);
        assert_eq!(durations, ["0 s", "45 s", "12 min", "3 h 05 min", "2 d 08 h"]);
    }

    #[test]
    fn sizes_have_the_unit_that_fits() {
        assert_eq!(
            [0, 999, 1_500, 18_345_000, 2_000_000_000].map(bytes),
            ["0 B", "999 B", "1.5 kB", "18.3 MB", "2.0 GB"]
        );
    }
}
