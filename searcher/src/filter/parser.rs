//! Tokens → typed filter expression, by recursive descent. Owns the grammar and the types of the fields; not their
//! values. Invariant: nesting is bounded by [`MAX_NESTING`], so that no text exhausts the stack.
//!
//! ```text
//! expression  = conjunction { "or" conjunction }
//! conjunction = negation { "and" negation }
//! negation    = "not" negation | "(" expression ")" | "exists" "(" field ")" | condition
//! condition   = field ( operator value | ["not"] ( ( "in" | "all" ) list | ( "prefix" | "under" ) string ) )
//! list        = "[" value { "," value } "]"
//! ```

use std::collections::HashSet;

use schemas::field::normalise_category;
use schemas::{FieldSpec, FieldType};

use super::MAX_NESTING;
use super::condition::{Comparison, Expression, Number, Test};
use super::lexer::{Token, TokenKind, tokens};
use crate::error::SearchError;
use crate::field_column::{KnownField, shown_type};

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

/// An operator that is a word.
#[derive(Clone, Copy)]
enum WordOperator {
    In,
    All,
    Prefix,
    Under,
}

const WORD_OPERATORS: [(&str, WordOperator); 4] = [
    ("in", WordOperator::In),
    ("all", WordOperator::All),
    ("prefix", WordOperator::Prefix),
    ("under", WordOperator::Under),
];

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
        let word_operator = |at: usize| WORD_OPERATORS.into_iter().find(|(word, _)| self.is_keyword(at, word));
        if self.is_keyword(self.at, "not")
            && let Some((_, operator)) = word_operator(self.at + 1)
        {
            self.advance();
            return Ok(Expression::Not(Box::new(self.word_condition(&field, operator)?)));
        }
        match word_operator(self.at) {
            Some((_, operator)) => self.word_condition(&field, operator),
            None => self.comparison(&field),
        }
    }

    /// A condition whose operator is a word, at that word.
    fn word_condition(&mut self, field: &KnownField, operator: WordOperator) -> Result<Expression, SearchError> {
        match operator {
            WordOperator::In => self.membership(field),
            WordOperator::All => self.containment(field),
            WordOperator::Prefix => self.prefix(field),
            WordOperator::Under => self.below(field),
        }
    }

    fn field(&mut self) -> Result<KnownField, SearchError> {
        let name = match self.peek() {
            TokenKind::Word(name) | TokenKind::Field(name) => name.clone(),
            TokenKind::String(_) | TokenKind::Number(_) | TokenKind::Symbol(_) | TokenKind::End => {
                return Err(self.unexpected("a field name, `not`, `exists` or `(`"));
            }
        };
        let field = KnownField::named(&name, self.fields).map_err(|reason| self.fail(reason))?;
        self.advance();
        Ok(field)
    }

    /// `in [v, …]`, at the `in`.
    fn membership(&mut self, field: &KnownField) -> Result<Expression, SearchError> {
        if field.r#type == FieldType::Boolean {
            return Err(self.does_not_fit("in", field));
        }
        self.advance();
        let (strings, numbers) = self.list(field)?;
        let test = if numbers.is_empty() { Test::OneOf(strings) } else { Test::OneOfNumbers(numbers) };
        Ok(Expression::Condition { column: field.column, test })
    }

    /// `all [v, …]`, at the `all`.
    fn containment(&mut self, field: &KnownField) -> Result<Expression, SearchError> {
        if field.r#type != FieldType::Strings {
            return Err(self.does_not_fit("all", field));
        }
        self.advance();
        let (strings, _) = self.list(field)?;
        Ok(Expression::Condition { column: field.column, test: Test::AllOf(strings) })
    }

    /// The values of `[v, …]`, of the field's type: strings or numbers.
    fn list(&mut self, field: &KnownField) -> Result<(HashSet<String>, Vec<Number>), SearchError> {
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
        Ok((strings, numbers))
    }

    /// `prefix "Day"`, at the `prefix`.
    fn prefix(&mut self, field: &KnownField) -> Result<Expression, SearchError> {
        if !field.r#type.is_text() {
            return Err(self.does_not_fit("prefix", field));
        }
        self.advance();
        let prefix = self.text(field)?;
        Ok(Expression::Condition { column: field.column, test: Test::Prefix(prefix) })
    }

    /// `under "A > B"`, at the `under`.
    fn below(&mut self, field: &KnownField) -> Result<Expression, SearchError> {
        if field.r#type != FieldType::Category {
            return Err(self.does_not_fit("under", field));
        }
        self.advance();
        let category = self.string(field)?;
        Ok(Expression::Condition { column: field.column, test: Test::Under(category) })
    }

    fn comparison(&mut self, field: &KnownField) -> Result<Expression, SearchError> {
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

    fn does_not_fit(&self, operator: &str, field: &KnownField) -> SearchError {
        let KnownField { name, column: _, r#type } = field;
        self.fail(format!("`{name}` is {}, `{operator}` does not fit; use {}", shown_type(*r#type), operators(field)))
    }

    /// A string as items have it: a category with one space on each side of `>`. A path without any level is no item's.
    fn string(&mut self, field: &KnownField) -> Result<String, SearchError> {
        let value = self.text(field)?;
        let category = (field.r#type == FieldType::Category).then(|| normalise_category(&value)).flatten();
        Ok(category.unwrap_or(value))
    }

    /// A string as it is written.
    fn text(&mut self, field: &KnownField) -> Result<String, SearchError> {
        let TokenKind::String(value) = self.peek() else {
            let expected = format!("a string in quotes, `{}` is {}", field.name, shown_type(field.r#type));
            return Err(self.unexpected(&expected));
        };
        let value = value.clone();
        self.advance();
        Ok(value)
    }

    fn number(&mut self, field: &KnownField) -> Result<Number, SearchError> {
        let TokenKind::Number(value) = *self.peek() else {
            return Err(self.unexpected(&format!("a number, `{}` is {}", field.name, shown_type(field.r#type))));
        };
        self.advance();
        Ok(value)
    }

    fn boolean(&mut self, field: &KnownField) -> Result<bool, SearchError> {
        let value = self.is_keyword(self.at, "true");
        if !value && !self.is_keyword(self.at, "false") {
            return Err(self.unexpected(&format!(
                "`true` or `false`, `{}` is {}",
                field.name,
                shown_type(field.r#type)
            )));
        }
        self.advance();
        Ok(value)
    }
}

fn only_or(mut sides: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    if sides.len() == 1 { sides.remove(0) } else { join(sides) }
}

fn operators(field: &KnownField) -> &'static str {
    match field.r#type {
        FieldType::String => "`=`, `!=`, `in`, `not in` or `prefix`",
        FieldType::Strings => "`=`, `!=`, `in`, `not in`, `all` or `prefix`",
        FieldType::Integer | FieldType::Float => "`=`, `!=`, `<`, `<=`, `>`, `>=`, `in` or `not in`",
        FieldType::Boolean => "`=` or `!=`",
        FieldType::Category => "`=`, `!=`, `in`, `not in`, `prefix` or `under`",
    }
}

#[cfg(test)]
mod tests;
