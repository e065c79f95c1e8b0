//! Synonyms: rules from a plain file that say what else a shopper's word may be called. Owns the file's syntax and finding
//! the rules that fit a run of words; not how a synonym is scored. Applied to queries only, so that a changed file needs no
//! new snapshot. Invariant: a rule is matched after analysis, by each field's analyzer, so that case, accents and
//! endings play no part.
//!
//! The syntax is Solr's and Elasticsearch's: a line of terms separated by commas, each of which stands for all of them, or
//! `from, from => to, to`, which puts what is on the right in the place of what is on the left. `#` begins a comment.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use schemas::SchemaError;

use super::words::PlacedTerm;
use crate::analysis::Analyzer;

/// What an occurrence of a synonym counts, compared with the word itself: an item that says what the shopper said comes first.
pub const SYNONYM_FACTOR: f32 = 0.8;
/// Bytes of a file at most.
pub const MAX_SYNONYM_BYTES: u64 = 16 << 20;

/// The rules of a file.
#[derive(Debug)]
pub struct Synonyms {
    rules: Vec<Rule>,
    /// By analyzer, made when a query first needs it.
    compiled: Mutex<HashMap<Analyzer, Arc<CompiledSynonyms>>>,
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    from: Vec<String>,
    to: Vec<String>,
    replaces: bool,
}

/// The rules as one analyzer writes them, by the first word of the left side.
#[derive(Debug, Default)]
pub(super) struct CompiledSynonyms {
    by_first_word: HashMap<String, Vec<CompiledRule>>,
}

/// One left side, with all that it may be called.
#[derive(Debug)]
struct CompiledRule {
    from: Vec<String>,
    to: Vec<Vec<PlacedTerm>>,
    replaces: bool,
}

/// A rule that fits the words at a place.
#[derive(Debug)]
pub(super) struct FittingRule<'a> {
    /// How many words its left side has.
    pub(super) words: usize,
    /// The other ways of writing them.
    pub(super) writings: &'a [Vec<PlacedTerm>],
    /// Whether the words themselves are no longer looked for.
    pub(super) replaces: bool,
}

impl Synonyms {
    /// Reads a file.
    ///
    /// # Errors
    /// When it is missing, not UTF-8, too large, or a line has an empty side; the error has the line.
    pub fn read(path: &Path) -> Result<Synonyms, SchemaError> {
        let io = |source| SchemaError::Io { path: path.to_owned(), source };
        let bytes = fs_err::metadata(path).map_err(io)?.len();
        if bytes > MAX_SYNONYM_BYTES {
            let reason = format!("{bytes} bytes of synonyms, at most {MAX_SYNONYM_BYTES} are read");
            return Err(SchemaError::Invalid { path: path.to_owned(), reason });
        }
        let text = fs_err::read_to_string(path).map_err(io)?;
        Synonyms::parse(&text).map_err(|(line, reason)| SchemaError::Line { path: path.to_owned(), line, reason })
    }

    /// Parses the text of a file.
    ///
    /// # Errors
    /// The number of the first malformed line, from 1, and what is wrong with it.
    pub fn parse(text: &str) -> Result<Synonyms, (u64, String)> {
        let mut rules = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default().trim().trim_start_matches('\u{feff}');
            if line.is_empty() {
                continue;
            }
            let terms = |side: &str| -> Vec<String> {
                side.split(',').map(str::trim).filter(|term| !term.is_empty()).map(str::to_owned).collect()
            };
            let rule = match line.split_once("=>") {
                Some((from, to)) => Rule { from: terms(from), to: terms(to), replaces: true },
                None => Rule { from: terms(line), to: terms(line), replaces: false },
            };
            if rule.from.is_empty() || rule.to.is_empty() {
                return Err((number, "one side of `=>` is empty".to_owned()));
            }
            if !rule.replaces && rule.from.len() == 1 {
                return Err((number, format!("`{line}` has no synonym; write `a, b` or `a => b`")));
            }
            rules.push(rule);
        }
        Ok(Synonyms { rules, compiled: Mutex::default() })
    }

    /// Number of rules.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules as an analyzer writes them; computed once for each.
    pub(super) fn compiled(&self, analyzer: Analyzer) -> Arc<CompiledSynonyms> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(compiled.entry(analyzer).or_insert_with(|| Arc::new(CompiledSynonyms::new(&self.rules, analyzer))))
    }
}

/// Equal rules; what was computed from them plays no part.
impl PartialEq for Synonyms {
    fn eq(&self, other: &Synonyms) -> bool {
        self.rules == other.rules
    }
}

impl CompiledSynonyms {
    fn new(rules: &[Rule], analyzer: Analyzer) -> CompiledSynonyms {
        let placed = |text: &String| -> Vec<PlacedTerm> {
            let terms = analyzer.query_terms(text);
            let first = terms.first().map_or(0, |term| term.position);
            terms.into_iter().map(|term| PlacedTerm { place: term.position - first, text: term.text }).collect()
        };
        let mut by_first_word: HashMap<String, Vec<CompiledRule>> = HashMap::new();
        for rule in rules {
            let to: Vec<Vec<PlacedTerm>> = rule.to.iter().map(placed).filter(|terms| !terms.is_empty()).collect();
            for from in rule.from.iter().map(placed) {
                let Some(first) = from.first() else { continue };
                let others = to.iter().filter(|terms| rule.replaces || **terms != from).cloned().collect();
                by_first_word.entry(first.text.clone()).or_default().push(CompiledRule {
                    from: from.iter().map(|term| term.text.clone()).collect(),
                    to: others,
                    replaces: rule.replaces,
                });
            }
        }
        CompiledSynonyms { by_first_word }
    }

    /// The rules whose left side the words begin with.
    pub(super) fn rules_at<'a>(&'a self, words: &'a [&'a str]) -> impl Iterator<Item = FittingRule<'a>> {
        let rules = words.first().and_then(|first| self.by_first_word.get(*first));
        let fits = move |rule: &&CompiledRule| {
            rule.from.len() <= words.len() && rule.from.iter().zip(words).all(|(wanted, word)| wanted == word)
        };
        rules.into_iter().flatten().filter(fits).map(|rule| FittingRule {
            words: rule.from.len(),
            writings: &rule.to,
            replaces: rule.replaces,
        })
    }
}

#[cfg(test)]
mod tests {
    use schemas::manifest::AnalyzerKind;

    use super::*;

    fn written(rules: &Synonyms, kind: AnalyzerKind, words: &[&str]) -> Vec<String> {
        let compiled = rules.compiled(Analyzer::new(kind));
        let join = |terms: &Vec<PlacedTerm>| terms.iter().map(|term| term.text.as_str()).collect::<Vec<_>>().join(" ");
        compiled.rules_at(words).flat_map(|rule| rule.writings.iter().map(join).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn both_kinds_of_lines() {
        let rules = Synonyms::parse("# furniture\nSofa, Couches, settee # three\n\ntelly => TV, television\n").unwrap();
        assert_eq!(rules.len(), 2);
        assert_eq!(written(&rules, AnalyzerKind::English, &["couch"]), ["sofa", "sette"]);
        assert_eq!(written(&rules, AnalyzerKind::Simple, &["couches", "red"]), ["sofa", "settee"]);
        assert_eq!(written(&rules, AnalyzerKind::Simple, &["telly"]), ["tv", "television"]);
        assert!(written(&rules, AnalyzerKind::Simple, &["tv"]).is_empty(), "one way only");
        assert!(written(&rules, AnalyzerKind::Simple, &[]).is_empty());
    }

    #[test]
    fn chinese_and_runs_of_words() {
        let rules = Synonyms::parse("手机, 移动电话, mobile phone").unwrap();
        assert_eq!(written(&rules, AnalyzerKind::Chinese, &["手机"]).len(), 2);
        assert_eq!(written(&rules, AnalyzerKind::Chinese, &["mobile", "phone", "case"])[0], "手机");
        assert!(written(&rules, AnalyzerKind::Chinese, &["mobile"]).is_empty());
    }

    #[test]
    fn malformed_lines_are_named() {
        assert_eq!(Synonyms::parse("a, b\n => c").unwrap_err().0, 2);
        assert_eq!(Synonyms::parse("a => ,").unwrap_err().0, 1);
        assert!(Synonyms::parse("alone").unwrap_err().1.contains("no synonym"));
        assert!(Synonyms::parse("").unwrap().is_empty());
    }
}
