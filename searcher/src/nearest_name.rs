//! The known name that a mistyped one was meant to be. Owns how far a guess may be away; not the message.

/// The known name nearest to `name`, where one is near enough to be worth a guess: capital letters aside, at most one edit
/// (a character left out, put in, changed, or swapped with its neighbour) for each three characters of `name`. The first
/// of equally near ones.
pub(crate) fn nearest_name<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let with_distance = known.map(|known| (strsim::osa_distance(&name, &known.to_lowercase()), known));
    let (distance, known) = with_distance.min_by_key(|(distance, _)| *distance)?;
    (distance <= name.chars().count().div_ceil(3)).then_some(known)
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
}
