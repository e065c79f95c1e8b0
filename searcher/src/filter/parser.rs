//! Tokens → typed filter expression, by recursive descent. Owns the grammar and the types of the fields; not their
//! values. Invariant: nesting is bounded by [`MAX_NESTING`], so that no text exhausts the stack.
//!
//! ```text
//! expression  = conjunction { "or" conjunction }
//! conjunction = negation { "and" negation }
//! negation    = "not" negation | "(" expression ")" | "exists" "(" field ")" | condition
//! condition   = field ( operator value | ["not"] "in" "[" value { "," value } "]" | "under" string )
//! ```

use std::collections::HashSet;

use schemas::field::normalise_category;
use schemas::items::{DESCRIPTION_COLUMN, FIRST_FIELD_COLUMN, ID_COLUMN, IMAGE_COLUMN, TITLE_COLUMN};
use schemas::{FieldSpec, FieldType};

use super::MAX_NESTING;
use super::condition::{Comparison, Expression, Number, Test};
use super::lexer::{Token, TokenKind, tokens};
use crate::error::SearchError;

/// Fields that every item has beside the declared ones, all strings, with their columns.
const BUILT_IN_FIELDS: [(&str, usize); 4] =
    [("id", ID_COLUMN), ("title", TITLE_COLUMN), ("description", DESCRIPTION_COLUMN), ("image", IMAGE_COLUMN)];

/// Parses a whole filter.
pub(super) fn parse(text: &str, fields: &[FieldSpec]) -> Result<Expression, SearchError> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, nesting: 0, fields };
    if parser.peek() == &TokenKind::End {
        return Err(parser.unexpected("a condition such as `price < 50`"));
    }
    let expression = parser.expression()?;
    if parser.peek() == &TokenKind::End { Ok(expression) } else { Err(parser.unexpected("`and`, `or` or the end")) }
}

struct Parser<'a> {
    /// Ends with [`TokenKind::End`].
    tokens: Vec<Token>,
    at: usize,
    nesting: usize,
    fields: &'a [FieldSpec],
}

/// A field that the filter names.
struct Field {
    name: String,
    /// Number of its column in `items.arrow`.
    column: usize,
    r#type: FieldType,
}

impl Parser<'_> {
    fn token(&self) -> &Token {
        // `advance` never moves past the last token.
        &self.tokens[self.at]
    }

    fn peek(&self) -> &TokenKind {
        &self.token().kind
    }

    fn advance(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    fn take_symbol(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), TokenKind::Symbol(symbol) if *symbol == wanted);
        if found {
            self.advance();
        }
        found
    }

    fn is_keyword(&self, at: usize, wanted: &str) -> bool {
        matches!(self.tokens.get(at), Some(Token { kind: TokenKind::Word(word), .. }) if word.eq_ignore_ascii_case(wanted))
    }

    fn take_keyword(&mut self, wanted: &str) -> bool {
        let found = self.is_keyword(self.at, wanted);
        if found {
            self.advance();
        }
        found
    }

    fn fail(&self, reason: String) -> SearchError {
        SearchError::Filter { position: self.token().position, reason }
    }

    fn unexpected(&self, expected: &str) -> SearchError {
        self.fail(format!("expected {expected}, got {}", self.peek().shown()))
    }

    fn expression(&mut self) -> Result<Expression, SearchError> {
        let mut sides = vec![self.conjunction()?];
        while self.take_keyword("or") {
            sides.push(self.conjunction()?);
        }
        Ok(only_or(sides, Expression::Or))
    }

    fn conjunction(&mut self) -> Result<Expression, SearchError> {
        let mut sides = vec![self.negation()?];
        while self.take_keyword("and") {
            sides.push(self.negation()?);
        }
        Ok(only_or(sides, Expression::And))
    }

    fn negation(&mut self) -> Result<Expression, SearchError> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(self.fail(format!("more than {MAX_NESTING} levels of parentheses and `not`")));
        }
        let expression = if self.take_keyword("not") {
            Expression::Not(Box::new(self.negation()?))
        } else if self.take_symbol("(") {
            let inner = self.expression()?;
            self.expect_symbol(")")?;
            inner
        } else {
            self.condition()?
        };
        self.nesting -= 1;
        Ok(expression)
    }

    fn expect_symbol(&mut self, symbol: &str) -> Result<(), SearchError> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(self.unexpected(&format!("`{symbol}`"))) }
    }

    fn condition(&mut self) -> Result<Expression, SearchError> {
        let opens_call = matches!(self.tokens.get(self.at + 1), Some(Token { kind: TokenKind::Symbol("("), .. }));
        if self.is_keyword(self.at, "exists") && opens_call {
            self.advance();
            self.advance();
            let field = self.field()?;
            self.expect_symbol(")")?;
            return Ok(Expression::Exists(field.column));
        }
        let field = self.field()?;
        if self.is_keyword(self.at, "not") && self.is_keyword(self.at + 1, "in") {
            self.advance();
            return Ok(Expression::Not(Box::new(self.membership(&field)?)));
        }
        if self.is_keyword(self.at, "in") {
            return self.membership(&field);
        }
        if self.is_keyword(self.at, "under") {
            return self.below(&field);
        }
        self.comparison(&field)
    }

    fn field(&mut self) -> Result<Field, SearchError> {
        let name = match self.peek() {
            TokenKind::Word(name) | TokenKind::Field(name) => name.clone(),
            TokenKind::String(_) | TokenKind::Number(_) | TokenKind::Symbol(_) | TokenKind::End => {
                return Err(self.unexpected("a field name, `not`, `exists` or `(`"));
            }
        };
        let built_in = BUILT_IN_FIELDS.into_iter().map(|(name, column)| (name, column, FieldType::String));
        let declared = (FIRST_FIELD_COLUMN..).zip(self.fields);
        let all = built_in.chain(declared.map(|(column, field)| (field.name.as_str(), column, field.r#type)));
        let Some((_, column, r#type)) = all.clone().find(|(known, ..)| *known == name) else {
            let all: Vec<String> = all.map(|(known, ..)| format!("`{known}`")).collect();
            return Err(self.fail(format!("unknown field `{name}`; the fields are {}", all.join(", "))));
        };
        self.advance();
        Ok(Field { name, column, r#type })
    }

    /// `in [v, …]`, at the `in`.
    fn membership(&mut self, field: &Field) -> Result<Expression, SearchError> {
        if field.r#type == FieldType::Boolean {
            return Err(self.does_not_fit("in", field));
        }
        self.advance();
        self.expect_symbol("[")?;
        let (mut strings, mut numbers) = (HashSet::new(), Vec::new());
        loop {
            match field.r#type {
                FieldType::String | FieldType::Strings | FieldType::Category => {
                    strings.insert(self.string(field)?);
                }
                FieldType::Integer | FieldType::Float | FieldType::Boolean => numbers.push(self.number(field)?),
            }
            if !self.take_symbol(",") {
                break;
            }
        }
        self.expect_symbol("]")?;
        let test = if numbers.is_empty() { Test::OneOf(strings) } else { Test::OneOfNumbers(numbers) };
        Ok(Expression::Condition { column: field.column, test })
    }

    /// `under "A > B"`, at the `under`.
    fn below(&mut self, field: &Field) -> Result<Expression, SearchError> {
        if field.r#type != FieldType::Category {
            return Err(self.does_not_fit("under", field));
        }
        self.advance();
        let category = self.string(field)?;
        Ok(Expression::Condition { column: field.column, test: Test::Under(category) })
    }

    fn comparison(&mut self, field: &Field) -> Result<Expression, SearchError> {
        let (comparison, negated) = match self.peek() {
            TokenKind::Symbol("=") => (Comparison::Equal, false),
            TokenKind::Symbol("!=") => (Comparison::Equal, true),
            TokenKind::Symbol("<") => (Comparison::Less, false),
            TokenKind::Symbol("<=") => (Comparison::LessOrEqual, false),
            TokenKind::Symbol(">") => (Comparison::Greater, false),
            TokenKind::Symbol(">=") => (Comparison::GreaterOrEqual, false),
            TokenKind::Word(_)
            | TokenKind::Field(_)
            | TokenKind::String(_)
            | TokenKind::Number(_)
            | TokenKind::Symbol(_)
            | TokenKind::End => return Err(self.unexpected(&format!("{} after `{}`", operators(field), field.name))),
        };
        let is_number = matches!(field.r#type, FieldType::Integer | FieldType::Float);
        if comparison != Comparison::Equal && !is_number {
            let TokenKind::Symbol(symbol) = *self.peek() else { return Err(self.unexpected("an operator")) };
            return Err(self.does_not_fit(symbol, field));
        }
        self.advance();
        let test = match field.r#type {
            FieldType::String | FieldType::Strings | FieldType::Category => {
                Test::OneOf(HashSet::from([self.string(field)?]))
            }
            FieldType::Integer | FieldType::Float => Test::Number(comparison, self.number(field)?),
            FieldType::Boolean => Test::Boolean(self.boolean(field)?),
        };
        let condition = Expression::Condition { column: field.column, test };
        Ok(if negated { Expression::Not(Box::new(condition)) } else { condition })
    }

    fn does_not_fit(&self, operator: &str, field: &Field) -> SearchError {
        let Field { name, column: _, r#type } = field;
        self.fail(format!("`{name}` is {}, `{operator}` does not fit; use {}", shown(*r#type), operators(field)))
    }

    fn string(&mut self, field: &Field) -> Result<String, SearchError> {
        let TokenKind::String(value) = self.peek() else {
            return Err(self.unexpected(&format!("a string in quotes, `{}` is {}", field.name, shown(field.r#type))));
        };
        // As items have it: one space on each side of `>`. A path without any level is no item's.
        let category = (field.r#type == FieldType::Category).then(|| normalise_category(value)).flatten();
        let value = category.unwrap_or_else(|| value.clone());
        self.advance();
        Ok(value)
    }

    fn number(&mut self, field: &Field) -> Result<Number, SearchError> {
        let TokenKind::Number(value) = *self.peek() else {
            return Err(self.unexpected(&format!("a number, `{}` is {}", field.name, shown(field.r#type))));
        };
        self.advance();
        Ok(value)
    }

    fn boolean(&mut self, field: &Field) -> Result<bool, SearchError> {
        let value = self.is_keyword(self.at, "true");
        if !value && !self.is_keyword(self.at, "false") {
            return Err(self.unexpected(&format!("`true` or `false`, `{}` is {}", field.name, shown(field.r#type))));
        }
        self.advance();
        Ok(value)
    }
}

fn only_or(mut sides: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    if sides.len() == 1 { sides.remove(0) } else { join(sides) }
}

fn shown(r#type: FieldType) -> &'static str {
    match r#type {
        FieldType::String => "a string",
        FieldType::Strings => "a list of strings",
        FieldType::Integer => "an integer",
        FieldType::Float => "a number",
        FieldType::Boolean => "a truth value",
        FieldType::Category => "a category",
    }
}

fn operators(field: &Field) -> &'static str {
    match field.r#type {
        FieldType::String | FieldType::Strings => "`=`, `!=`, `in` or `not in`",
        FieldType::Integer | FieldType::Float => "`=`, `!=`, `<`, `<=`, `>`, `>=`, `in` or `not in`",
        FieldType::Boolean => "`=` or `!=`",
        FieldType::Category => "`=`, `!=`, `in`, `not in` or `under`",
    }
}

#[cfg(test)]
mod tests {
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
            "filter, position 7: `brand` is a string, `<` does not fit; use `=`, `!=`, `in` or `not in`"
        );
        assert_eq!(
            message("new in [true]"),
            "filter, position 5: `new` is a truth value, `in` does not fit; use `=` or `!=`"
        );
        assert_eq!(
            message("tags under 'a'"),
            "filter, position 6: `tags` is a list of strings, `under` does not fit; use `=`, `!=`, `in` or `not in`"
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
}
