//! `searcher search`. Owns turning flags into a query and a result into output.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use schemas::RankingSettings;
use searcher::keyword::Synonyms;
use searcher::query::DEFAULT_PART_WEIGHT;
use searcher::query_text::Clause;
use searcher::{Hit, ImagePart, ItemPart, Mode, Query, Results, Searcher, TextPart};
use serde::Serialize;

use crate::arguments::{RankingArguments, SearchArguments, SnapshotArguments};
use crate::facets::ByField;
use crate::opened::{Opened, open};
use crate::{explain, facets, history, output, table};

/// Answers one query.
pub(crate) fn search(snapshot: &SnapshotArguments, arguments: &SearchArguments) -> anyhow::Result<ExitCode> {
    let query = query(arguments)?;
    query.check()?;
    if query.mode == Mode::Keyword && !query.images.is_empty() {
        output::say(snapshot.quiet, "pictures are not looked at in mode `keyword`");
    }
    let Opened { searcher, .. } = open(snapshot)?;
    let query = history::with_profile(snapshot.quiet, &searcher, query, &arguments.history)?;
    let results = searcher.search(&query)?;
    print_answer(snapshot, &searcher, &query, &results, arguments.json)
}

/// Prints what was found. Exit code 1 when nothing was.
pub(crate) fn print_answer(
    snapshot: &SnapshotArguments,
    searcher: &Searcher,
    query: &Query,
    results: &Results,
    json: bool,
) -> anyhow::Result<ExitCode> {
    if json {
        output::print_json(&Answer::new(searcher, query, results))?;
    } else {
        let mut text = String::new();
        if !results.hits.is_empty() {
            text = table::hits(&results.hits, output::terminal_width());
        }
        text.push_str(&facets::tables(&results.facets));
        for hit in &results.hits {
            text.push_str(&explain::explanation(hit));
        }
        output::print(&text)?;
        output::say(snapshot.quiet, &summary(query, results));
        let depth = searcher.depth(query);
        let cut = !query.is_browse() && results.total >= depth;
        if cut && query.offset.saturating_add(query.limit) > results.total {
            output::say(snapshot.quiet, &format!("each retriever gave its {depth} best; `--depth` asks for more"));
        }
    }
    Ok(ExitCode::from(u8::from(results.hits.is_empty())))
}

fn query(arguments: &SearchArguments) -> anyhow::Result<Query> {
    let plain = arguments.text.iter().map(|text| TextPart { text: text.clone(), weight: DEFAULT_PART_WEIGHT });
    let weighted = arguments.texts.iter().chain(&arguments.not);
    let weighted = weighted.map(|part| TextPart { text: part.value.clone(), weight: part.weight });
    let images = arguments.images.iter().map(|part| {
        let (file, weight) = part.file();
        ImagePart { file, weight }
    });
    let like = arguments.like.iter().chain(&arguments.unlike);
    let like = like.map(|part| ItemPart { id: part.value.clone(), weight: part.weight });
    let query = Query {
        texts: plain.chain(weighted).collect(),
        images: images.collect(),
        like: like.collect(),
        mode: arguments.mode.into(),
        limit: arguments.limit,
        offset: arguments.offset,
        explain: arguments.explain,
        ..Query::default()
    };
    Ok(Ranking::read(&arguments.ranking)?.apply(arguments.list.applied_to(query)))
}

/// What the flags say of a ranking, their files read.
pub(crate) struct Ranking<'a> {
    arguments: &'a RankingArguments,
    settings: RankingSettings,
    synonyms: Option<Arc<Synonyms>>,
}

impl<'a> Ranking<'a> {
    /// Reads the files that the flags name.
    pub(crate) fn read(arguments: &'a RankingArguments) -> anyhow::Result<Ranking<'a>> {
        let settings = arguments.settings.as_deref().map(RankingSettings::read).transpose()?.unwrap_or_default();
        let synonyms = arguments.synonyms.as_deref().map(Synonyms::read).transpose()?.map(Arc::new);
        Ok(Ranking { arguments, settings, synonyms })
    }

    /// What the settings file says.
    pub(crate) fn settings(&self) -> &RankingSettings {
        &self.settings
    }

    /// The same flags with other settings behind them.
    pub(crate) fn with_settings(&self, settings: &RankingSettings) -> Ranking<'a> {
        Ranking { arguments: self.arguments, settings: settings.clone(), synonyms: self.synonyms.clone() }
    }

    /// The query with what decides its ranking: the flags, and behind them the settings file.
    pub(crate) fn apply(&self, query: Query) -> Query {
        let Ranking { arguments, settings, synonyms } = self;
        let mut settings = settings.clone();
        settings.keyword.matching = arguments.matching.or(settings.keyword.matching);
        Query {
            filter: arguments.filter.clone(),
            method: arguments.method.map(Into::into),
            alpha: arguments.alpha,
            modality_weights: arguments.modality_weights.clone(),
            depth: arguments.depth,
            diversity: arguments.diversity,
            settings,
            synonyms: synonyms.clone(),
            ..query
        }
    }
}

fn summary(query: &Query, results: &Results) -> String {
    let Results { hits, total, facets: _, took } = results;
    let milliseconds = took.as_secs_f64() * 1000.0;
    let what = if query.is_browse() { "items" } else { "candidates" };
    match (hits.first(), hits.last()) {
        (Some(first), Some(last)) => {
            format!("{} to {} of {total} {what} in {milliseconds:.1} ms", first.rank, last.rank)
        }
        _ if *total > 0 => format!("no hits from {} on; there are {total} {what}", query.offset + 1),
        _ => format!("no hits in {milliseconds:.1} ms"),
    }
}

/// The JSON form of an answer; its names are scripted against.
#[derive(Serialize)]
struct Answer<'a> {
    query: Question<'a>,
    total: usize,
    took_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    facets: Option<ByField<'a>>,
    hits: &'a [Hit],
}

/// The query as it was understood.
#[derive(Serialize)]
struct Question<'a> {
    texts: Vec<Part<'a>>,
    /// What the texts' quotes, minus signs and `field:value` ask of every hit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    clauses: Vec<Clause>,
    images: Vec<FilePart<'a>>,
    like: Vec<Part<'a>>,
    mode: Mode,
    filter: Option<&'a str>,
    diversity: f32,
    collapse: Option<&'a str>,
    sort: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<ProfileShown>,
    limit: usize,
    offset: usize,
}

/// The profile that takes part: how many items the user knows, and its share of the final score.
#[derive(Serialize)]
struct ProfileShown {
    seen: usize,
    weight: f32,
}

#[derive(Serialize)]
struct Part<'a> {
    value: &'a str,
    weight: f32,
}

#[derive(Serialize)]
struct FilePart<'a> {
    value: &'a PathBuf,
    weight: f32,
}

impl<'a> Answer<'a> {
    fn new(searcher: &Searcher, query: &'a Query, results: &'a Results) -> Answer<'a> {
        let texts = query.texts.iter().map(|part| Part { value: &part.text, weight: part.weight });
        let images = query.images.iter().map(|part| FilePart { value: &part.file, weight: part.weight });
        let like = query.like.iter().map(|part| Part { value: &part.id, weight: part.weight });
        let profile = query.profile.as_ref();
        let question = Question {
            texts: texts.collect(),
            clauses: query.keyword_texts().flat_map(|part| searcher.understand(&part.text).clauses).collect(),
            images: images.collect(),
            like: like.collect(),
            mode: query.mode,
            filter: query.filter.as_deref(),
            diversity: query.diversity,
            collapse: query.collapse.as_deref(),
            sort: query.sort.iter().map(ToString::to_string).collect(),
            profile: profile.map(|part| ProfileShown { seen: part.profile.seen().len(), weight: part.weight }),
            limit: query.limit,
            offset: query.offset,
        };
        let took_ms = (results.took.as_secs_f64() * 1e6).round() / 1e3;
        let facets = (!results.facets.is_empty()).then_some(ByField(&results.facets));
        Answer { query: question, total: results.total, took_ms, facets, hits: &results.hits }
    }
}
