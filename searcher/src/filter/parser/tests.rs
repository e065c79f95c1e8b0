//! What parses to the same, and what every message says.

use super::*;

fn fields() -> Vec<FieldSpec> {
    let field = |name: &str, r#type| FieldSpec { name: name.to_owned(), r#type, searched: false };
    vec![
        field("brand", FieldType::String),
        field("price", FieldType::Float),
        field("stock", FieldType::Integer),
        field("new", FieldType::Boolean),
        field("category", FieldType::Category),
        field("tags", FieldType::Strings),
        field("net weight", FieldType::Float),
    ]
}

fn parsed(text: &str) -> Expression {
    parse(text, &fields()).unwrap()
}

fn message(text: &str) -> String {
    parse(text, &fields()).unwrap_err().to_string()
}

#[test]
fn and_binds_stronger_than_or_and_not_strongest() {
    let same = |left: &str, right: &str| assert_eq!(parsed(left), parsed(right), "{left}");
    same("new = true or price < 5 and stock > 0", "new = true or (price < 5 and stock > 0)");
    same("not new = true and stock > 0", "(not (new = true)) AND (stock > 0)");
    same("brand != 'x'", "not brand = \"x\"");
    same("brand NOT IN ['x', 'y']", "not brand in ['y', 'x']");
    same("category under 'Home>Kitchen'", "category UNDER \"Home > Kitchen\"");
    same("`price` < 5", "price < 5");
    same("brand <> 'x'", "brand != 'x'");
    same("brand not prefix 'Day'", "not (brand PREFIX \"Day\")");
    same("tags not all ['a', 'b']", "not tags ALL ['b', 'a', 'b']");
    same("category not under 'Home'", "not category under 'Home'");
}

#[test]
fn every_message_says_what_would_fit() {
    assert_eq!(message(" "), "filter, position 2: expected a condition such as `price < 50`, got the end");
    assert_eq!(
        message("price < 5 and colour = \"red\""),
        "filter, position 15: unknown field `colour`; the fields are `id`, `title`, `description`, `image`, `brand`, \
         `price`, `stock`, `new`, `category`, `tags`, `net weight`"
    );
    assert_eq!(
        message("brand < \"x\""),
        "filter, position 7: `brand` is a string, `<` does not fit; use `=`, `!=`, `in`, `not in` or `prefix`"
    );
    assert_eq!(
        message("new in [true]"),
        "filter, position 5: `new` is a truth value, `in` does not fit; use `=` or `!=`"
    );
    assert_eq!(
        message("tags under 'a'"),
        "filter, position 6: `tags` is a list of strings, `under` does not fit; use `=`, `!=`, \
         `in`, `not in`, `all` or `prefix`"
    );
    assert_eq!(
        message("brand all ['a']"),
        "filter, position 7: `brand` is a string, `all` does not fit; use `=`, `!=`, `in`, `not in` or `prefix`"
    );
    assert_eq!(
        message("price prefix '5'"),
        "filter, position 7: `price` is a number, `prefix` does not fit; use `=`, `!=`, `<`, `<=`, `>`, `>=`, `in` or `not in`"
    );
    assert_eq!(message("tags all 'a'"), "filter, position 10: expected `[`, got the string \"a\"");
    assert!(
        message("prise < 5").starts_with("filter, position 1: unknown field `prise`, did you mean `price`? the fields")
    );
    assert_eq!(
        message("brand = Daybird"),
        "filter, position 9: expected a string in quotes, `brand` is a string, got `Daybird`"
    );
    assert_eq!(
        message("price < \"50\""),
        "filter, position 9: expected a number, `price` is a number, got the string \"50\""
    );
    assert_eq!(
        message("new = 1"),
        "filter, position 7: expected `true` or `false`, `new` is a truth value, got the number 1"
    );
    assert_eq!(message("(price < 5"), "filter, position 11: expected `)`, got the end");
    assert_eq!(message("price < 5 price > 2"), "filter, position 11: expected `and`, `or` or the end, got `price`");
    assert_eq!(message("new"), "filter, position 4: expected `=` or `!=` after `new`, got the end");
    assert_eq!(
        message("brand in []"),
        "filter, position 11: expected a string in quotes, `brand` is a string, got `]`"
    );
    assert_eq!(message("= 5"), "filter, position 1: expected a field name, `not`, `exists` or `(`, got `=`");
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}price < 5{}", "(".repeat(depth), ")".repeat(depth));
    parsed(&nested(MAX_NESTING - 1));
    assert!(message(&nested(MAX_NESTING)).contains("levels of parentheses"));
    assert!(message(&"not ".repeat(100_000)).contains("levels of parentheses"));
    let long = vec!["price < 5"; 10_000].join(" and ");
    parsed(&long);
}
