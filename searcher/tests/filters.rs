//! Filters against a brute-force reading of the same expression over the stored items.

#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests fail by panicking")]

use proptest::prelude::*;
use schemas::FieldValue;
use schemas::items::{ItemsReader, ItemsWriter, StoredItem};
use schemas::{MappedFile, Row};
use searcher::example;
use searcher::filter::Filter;

/// An expression as a tree, to be written as text for the filter and read as it is by the brute force.
#[derive(Clone, Debug)]
enum Tree {
    And(Box<Tree>, Box<Tree>),
    Or(Box<Tree>, Box<Tree>),
    Not(Box<Tree>),
    Exists(&'static str),
    Compare(&'static str, &'static str, f64),
    Equal(&'static str, &'static str),
    In(&'static str, Vec<&'static str>),
    NotIn(&'static str, Vec<&'static str>),
    InNumbers(&'static str, Vec<f64>),
    All(Vec<&'static str>),
    Prefix(&'static str, &'static str),
    NotPrefix(&'static str, &'static str),
    Under(&'static str),
    New(bool),
}

impl Tree {
    fn text(&self) -> String {
        match self {
            Tree::And(left, right) => format!("({} and {})", left.text(), right.text()),
            Tree::Or(left, right) => format!("({} OR {})", left.text(), right.text()),
            Tree::Not(side) => format!("not {}", side.text()),
            Tree::Exists(field) => format!("exists({field})"),
            Tree::Compare(field, operator, number) => format!("{field} {operator} {number}"),
            Tree::Equal(field, value) => format!("{field} = \"{value}\""),
            Tree::In(field, values) => format!("{field} in [{}]", quoted(values)),
            Tree::NotIn(field, values) => format!("{field} not in [{}]", quoted(values)),
            Tree::InNumbers(field, values) => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                format!("{field} in [{}]", values.join(","))
            }
            Tree::All(values) => format!("tags all [{}]", quoted(values)),
            Tree::Prefix(field, prefix) => format!("{field} prefix '{prefix}'"),
            Tree::NotPrefix(field, prefix) => format!("{field} not prefix '{prefix}'"),
            Tree::Under(category) => format!("category under \"{category}\""),
            Tree::New(value) => format!("new = {value}"),
        }
    }

    /// True, false, or absent.
    fn holds(&self, item: &StoredItem) -> Option<bool> {
        match self {
            Tree::And(left, right) => match (left.holds(item), right.holds(item)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (left, right) => Some(left? && right?),
            },
            Tree::Or(left, right) => match (left.holds(item), right.holds(item)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (left, right) => Some(left? || right?),
            },
            Tree::Not(side) => side.holds(item).map(|holds| !holds),
            Tree::Exists(field) => Some(value(item, field).is_some()),
            Tree::Compare(field, operator, number) => {
                let value = as_float(&value(item, field)?);
                Some(match *operator {
                    "=" => value == *number,
                    "!=" => value != *number,
                    "<" => value < *number,
                    "<=" => value <= *number,
                    ">" => value > *number,
                    _ => value >= *number,
                })
            }
            Tree::Equal(field, wanted) => value(item, field).map(|value| is_one_of(&value, &[wanted])),
            Tree::In(field, wanted) => value(item, field).map(|value| is_one_of(&value, wanted)),
            Tree::InNumbers(field, wanted) => value(item, field).map(|value| wanted.contains(&as_float(&value))),
            Tree::All(wanted) => value(item, "tags").map(|value| wanted.iter().all(|one| is_one_of(&value, &[one]))),
            Tree::Prefix(field, prefix) => value(item, field).map(|value| begins(&value, prefix)),
            Tree::NotPrefix(field, prefix) => value(item, field).map(|value| !begins(&value, prefix)),
            Tree::NotIn(field, wanted) => value(item, field).map(|value| !is_one_of(&value, wanted)),
            Tree::Under(category) => value(item, "category").map(|value| match value {
                FieldValue::String(value) => value == *category || value.starts_with(&format!("{category} > ")),
                other => panic!("{other:?}"),
            }),
            Tree::New(wanted) => value(item, "new").map(|value| value == FieldValue::Boolean(*wanted)),
        }
    }
}

fn quoted(values: &[&str]) -> String {
    values.iter().map(|value| format!("'{value}'")).collect::<Vec<_>>().join(", ")
}

fn as_float(value: &FieldValue) -> f64 {
    match value {
        FieldValue::Float(value) => *value,
        FieldValue::Integer(value) => *value as f64,
        other => panic!("{other:?}"),
    }
}

fn begins(value: &FieldValue, prefix: &str) -> bool {
    match value {
        FieldValue::String(value) => value.starts_with(prefix),
        FieldValue::Strings(values) => values.iter().any(|value| value.starts_with(prefix)),
        other => panic!("{other:?}"),
    }
}

fn is_one_of(value: &FieldValue, wanted: &[&str]) -> bool {
    match value {
        FieldValue::String(value) => wanted.contains(&value.as_str()),
        FieldValue::Strings(values) => values.iter().any(|value| wanted.contains(&value.as_str())),
        other => panic!("{other:?}"),
    }
}

fn value(item: &StoredItem, field: &str) -> Option<FieldValue> {
    match field {
        "id" => Some(FieldValue::String(item.id.clone())),
        "title" => item.title.clone().map(FieldValue::String),
        field => {
            let place = example::fields().iter().position(|spec| spec.name == field).unwrap();
            item.fields[place].clone()
        }
    }
}

const WORDS: [&str; 4] = ["red", "Red", "", "a \"quoted\" > one"];
const IDS: [&str; 3] = ["red", "Red2", "blue"];
const PREFIXES: [&str; 6] = ["", "R", "re", "red", "Home > Kit", "blue mug"];
const CATEGORIES: [&str; 4] = ["Home", "Home > Kitchen", "Home > Kitchen > Mugs", "Home > Kitchenware"];

fn escaped(word: &'static str) -> &'static str {
    if word.contains('"') { "a \\\"quoted\\\" > one" } else { word }
}

fn item() -> impl Strategy<Value = StoredItem> {
    let word = || prop::sample::select(&WORDS[..]).prop_map(str::to_owned);
    let text = || prop::option::of(word().prop_map(FieldValue::String));
    let category = prop::sample::select(&CATEGORIES[..]).prop_map(|category| FieldValue::String(category.to_owned()));
    let fields = (
        text(),
        prop::option::of((0i32..4).prop_map(|price| FieldValue::Float(f64::from(price) / 2.0))),
        prop::option::of((-2i64..3).prop_map(FieldValue::Integer)),
        prop::option::of(any::<bool>().prop_map(FieldValue::Boolean)),
        prop::option::of(category),
        prop::option::of(prop::collection::vec(word(), 0..3).prop_map(FieldValue::Strings)),
    );
    let id = prop::sample::select(&IDS[..]);
    (id, prop::option::of(word()), fields).prop_map(|(id, title, (brand, price, stock, new, category, tags))| {
        let fields = vec![brand, price, stock, new, category, tags];
        StoredItem { id: id.to_owned(), title, description: None, image: None, fields }
    })
}

fn tree() -> impl Strategy<Value = Tree> {
    let number_field = || prop::sample::select(&["price", "stock"][..]);
    let number = || (-4i32..5).prop_map(|number| f64::from(number) / 2.0);
    let operator = prop::sample::select(&["=", "!=", "<", "<=", ">", ">="][..]);
    let text = || prop::sample::select(&["brand", "title", "tags", "id", "category"][..]);
    let plain = || prop::sample::select(&["red", "Red", "", "blue", "Home", "Home > Kitchen"][..]);
    let plains = || prop::collection::vec(plain(), 1..3);
    let prefix = || prop::sample::select(&PREFIXES[..]);
    let leaf = prop_oneof![
        prop::sample::select(&["brand", "price", "stock", "new", "category", "tags", "title", "id"][..])
            .prop_map(Tree::Exists),
        (number_field(), operator, number())
            .prop_map(|(field, operator, number)| Tree::Compare(field, operator, number)),
        (number_field(), prop::collection::vec(number(), 1..4))
            .prop_map(|(field, numbers)| Tree::InNumbers(field, numbers)),
        (text(), plain()).prop_map(|(field, value)| Tree::Equal(field, value)),
        (text(), plains()).prop_map(|(field, values)| Tree::In(field, values)),
        (text(), plains()).prop_map(|(field, values)| Tree::NotIn(field, values)),
        plains().prop_map(Tree::All),
        (text(), prefix()).prop_map(|(field, prefix)| Tree::Prefix(field, prefix)),
        (text(), prefix()).prop_map(|(field, prefix)| Tree::NotPrefix(field, prefix)),
        prop::sample::select(&CATEGORIES[..]).prop_map(Tree::Under),
        any::<bool>().prop_map(Tree::New),
    ];
    leaf.prop_recursive(4, 16, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(left, right)| Tree::And(Box::new(left), Box::new(right))),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| Tree::Or(Box::new(left), Box::new(right))),
            inner.prop_map(|side| Tree::Not(Box::new(side))),
        ]
    })
}

fn reader(items: &[StoredItem]) -> ItemsReader {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("items.arrow");
    let mut writer = ItemsWriter::create(&path, &example::fields()).unwrap();
    items.iter().for_each(|item| writer.write(item).unwrap());
    writer.finish().unwrap();
    ItemsReader::open(MappedFile::from_bytes(&path, fs_err::read(&path).unwrap()), &example::fields()).unwrap()
}

fn matching(filter: &str, items: &[StoredItem]) -> Vec<Row> {
    Filter::parse(filter, &example::fields()).unwrap().evaluate(&reader(items)).unwrap().iter().collect()
}

#[test]
fn the_issues_example() {
    let items: Vec<StoredItem> = example::items().into_iter().map(|item| item.item).collect();
    let ids = |filter: &str| -> Vec<String> {
        matching(filter, &items).into_iter().map(|row| items[row as usize].id.clone()).collect()
    };
    assert_eq!(ids("brand = \"Daybird\" and price < 10"), ["mug-red"]);
    assert_eq!(ids("category in [\"Home > Living room\", \"Bags\"]"), ["sofa-red", "sofa-blue"]);
    assert_eq!(ids("category under \"Home>Kitchen\" and not tags = \"sale\""), ["mug-blue"], "absent tags are neither");
    assert_eq!(ids("not exists(price) or not exists(brand)"), ["sofa-blue", "voucher"]);
    assert_eq!(ids("id in ['voucher', 'sofa-red'] and title != 'Red sofa'"), ["voucher"]);
    assert_eq!(ids("tags != 'gift'"), ["sofa-red"], "an empty list is a value");
    assert_eq!(ids("tags all ['gift', 'sale']"), ["mug-red"]);
    assert_eq!(ids("brand not prefix 'Day'"), ["mug-red-large", "sofa-red"], "an absent brand is neither");
    assert_eq!(ids("id prefix 'sofa-' and category prefix 'Home > L'"), ["sofa-red", "sofa-blue"]);
}

#[test]
fn quotes_in_strings() {
    let title = |title: &str| StoredItem { title: Some(title.to_owned()), ..example::items().remove(0).item };
    let items = [title(WORDS[3]), title("other")];
    assert_eq!(matching(&format!("title = \"{}\"", escaped(WORDS[3])), &items), [0]);
    assert_eq!(matching(&format!("title = '{}'", WORDS[3]), &items), [0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn evaluates_as_brute_force_does(items in prop::collection::vec(item(), 1..40), tree in tree()) {
        let expected: Vec<Row> =
            (0..).zip(&items).filter(|(_, item)| tree.holds(item) == Some(true)).map(|(row, _)| row).collect();
        prop_assert_eq!(matching(&tree.text(), &items), expected, "{}", tree.text());
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
        let _ = Filter::parse(&text, &example::fields());
    }
}
