//! The known name that a mistyped one was meant to be. Owns the distance and how far a guess may be away; not the message.

/// The known name nearest to `name`, where one is near enough to be worth a guess: capital letters aside, at most one edit
/// (a character left out, put in, changed, or swapped with its neighbour) for each three characters of `name`. The first
/// of equally near ones.
pub(crate) fn nearest_name<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = |text: &str| text.to_lowercase().chars().collect::<Vec<char>>();
    let name = lower(name);
    let with_distance = known.map(|known| (edits(&name, &lower(known)), known));
    let (distance, known) = with_distance.min_by_key(|(distance, _)| *distance)?;
    (distance <= name.len().div_ceil(3)).then_some(known)
}

/// Edits that turn one text into the other, a swap of neighbours counting once: the optimal string alignment distance
/// (Damerau 1964). O(length · length).
fn edits(left: &[char], right: &[char]) -> usize {
    // Rows of the table for the two characters before and for the current one.
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, from) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, to) in right.iter().enumerate() {
            let changed = last[column] + usize::from(from != to);
            let mut fewest = changed.min(last[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && *from == right[column - 1] && left[row - 1] == *to {
                fewest = fewest.min(before_last[column - 1] + 1);
            }
            current.push(fewest);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_guessed_and_far_ones_are_not() {
        let known = || ["id", "brand", "price", "colour", "净重"].into_iter();
        for (name, expected) in [
            ("prise", Some("price")),
            ("Brand", Some("brand")),
            ("barnd", Some("brand")),
            ("color", Some("colour")),
            ("净重量", Some("净重")),
            ("ids", Some("id")),
            ("size", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest_name(name, known()), expected, "{name}");
        }
        assert_eq!(nearest_name("brand", std::iter::empty()), None);
    }

    #[test]
    fn a_swap_is_one_edit() {
        let edits =
            |left: &str, right: &str| edits(&left.chars().collect::<Vec<_>>(), &right.chars().collect::<Vec<_>>());
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("abc", "acb"), 1);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("same", "same"), 0);
    }
}
