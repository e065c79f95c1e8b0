use schemas::ranking::{FeatureWeight, QueryFeature};
use schemas::trec::Qrels;

use super::*;
use crate::evaluation::metrics::Judgments;
use crate::example;
use crate::query::Query;
use crate::snapshot::OpenOptions;

/// Queries over the example store for which a heavier title or a lighter one would help.
fn judged() -> (Vec<EvaluationQuery>, Qrels) {
    let grades =
        |grades: &[(&str, i64)]| -> Judgments { grades.iter().map(|(id, grade)| ((*id).to_owned(), *grade)).collect() };
    let judged = [
        ("q1", "red mug", grades(&[("mug-red", 3), ("mug-red-large", 1)])),
        ("q2", "blue mug", grades(&[("mug-blue", 3)])),
        ("q3", "red", grades(&[("mug-red-large", 2)])),
        ("q4", "mug for tea", grades(&[("mug-red", 2)])),
        ("q5", "large", grades(&[("mug-red-large", 1)])),
        ("q6", "soft sofa", grades(&[("sofa-red", 3)])),
        ("q7", "nothing relevant", grades(&[("sofa-red", 0)])),
    ];
    let queries =
        judged.iter().map(|(id, text, _)| EvaluationQuery { id: (*id).to_owned(), query: Query::text(*text) });
    (queries.collect(), judged.iter().map(|(id, _, grades)| ((*id).to_owned(), grades.clone())).collect())
}

fn config() -> TuningConfig {
    TuningConfig {
        mode: Mode::Keyword,
        objective: vec![Measure::Ndcg(10), Measure::JudgedNdcg(10)],
        folds: 3,
        search: TuningSearch::Random(20),
        seed: 1,
        start: RankingSettings::default(),
    }
}

fn tuned(config: &TuningConfig) -> Result<TuningReport, SearchError> {
    let folder = tempfile::tempdir().unwrap();
    example::write_store(folder.path(), &example::items()).unwrap();
    let (_, searcher) = Searcher::open_current(folder.path(), &OpenOptions::default())?;
    let (queries, qrels) = judged();
    tune(&searcher, &queries, &qrels, config, &|| ())
}

#[test]
fn a_seed_gives_one_report_and_the_returned_settings_are_no_worse_in_sample() {
    let coarse = tuned(&TuningConfig { search: TuningSearch::Coarse, ..config() }).unwrap();
    assert!(coarse.in_sample >= coarse.untuned && coarse.trials == 4, "{coarse:?}");
    let report = tuned(&config()).unwrap();
    assert_eq!(report, tuned(&config()).unwrap());
    assert_eq!((report.queries, report.chosen_by_fold.len(), report.measures.len()), (6, 3, 2));
    assert!(report.in_sample >= report.untuned, "{report:?}");
    assert!(report.gain_interval.0 <= report.gain && report.gain <= report.gain_interval.1 + 1e-9);
    assert!((report.cross_validated - report.untuned - report.gain).abs() < 1e-9);
    report.settings.check().unwrap();
}

#[test]
fn what_gains_nothing_stays_at_its_start() {
    // Every query finds its one item first, whatever the settings.
    let start = RankingSettings::default();
    let config = TuningConfig { objective: vec![Measure::Recall(100)], start, ..config() };
    let report = tuned(&config).unwrap();
    assert_eq!((report.untuned, report.gain, report.p_value), (1.0, 0.0, 1.0));
    assert_eq!((report.settings.keyword.k1, report.settings.keyword.fields["title"].weight), (Some(1.2), Some(1.0)));
}

#[test]
fn what_moved_alpha_at_the_start_is_turned_off_and_what_was_off_is_not_named() {
    let words = FeatureWeight { weight: 0.5, middle: 0.5 };
    let query_alpha = Some(QueryAlpha { features: [(QueryFeature::Words, words)].into() });
    let mut start = RankingSettings::default();
    assert_eq!(tuned(&config()).unwrap().settings.rank_fusion.query_alpha, None);
    start.rank_fusion.query_alpha = query_alpha;
    let report = tuned(&TuningConfig { start, ..config() }).unwrap();
    assert_eq!(report.settings.rank_fusion.query_alpha, Some(QueryAlpha::default()));
    assert_eq!(report.query_alpha, None, "only where both retrievers take part");
}

#[test]
fn too_few_queries_are_an_error() {
    let error = |config: &TuningConfig| tuned(config).unwrap_err().to_string();
    assert!(error(&TuningConfig { folds: 7, ..config() }).contains("6 judged queries are too few for 7 folds"));
    assert!(error(&TuningConfig { folds: 1, ..config() }).contains("at least 2 folds"));
    assert!(error(&TuningConfig { objective: Vec::new(), ..config() }).contains("a measure"));
}

#[test]
fn folds_differ_by_one_query_at_most() {
    let fold_of = deal(17, 5, &mut SeededRandom::new(2));
    let sizes: Vec<usize> = (0..5).map(|fold| fold_of.iter().filter(|own| **own == fold).count()).collect();
    assert_eq!(sizes, [4, 4, 3, 3, 3]);
}
