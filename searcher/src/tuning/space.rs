//! What is tuned, and which values are tried. Owns the grids and the step from a point of them to ranking settings; not
//! which point is good. Invariants: every parameter's grid holds the value that tuning starts from; settings of a point name
//! every tuned key, so that they mean the same on a snapshot with other defaults.

use schemas::manifest::{Manifest, RankFusionMethod};
use schemas::ranking::Matching;
use schemas::{Modality, RankingSettings};

use crate::query::Mode;
use crate::random::SeededRandom;

/// Weights of a searched field inside BM25F.
const FIELD_WEIGHTS: [f32; 8] = [0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0];
/// Length normalisation.
const FIELD_B: [f32; 6] = [0.0, 0.15, 0.3, 0.5, 0.75, 0.9];
/// Saturation.
const K1: [f32; 7] = [0.4, 0.6, 0.9, 1.2, 1.6, 2.0, 3.0];
/// Weights of words that stand close together.
const PROXIMITY: [f32; 6] = [0.0, 0.1, 0.2, 0.4, 0.7, 1.0];
/// Policies of matching, from the loosest to the strictest.
const MATCHING: [Matching; 5] =
    [Matching::Any, Matching::Share(34), Matching::Share(50), Matching::Share(75), Matching::All];
/// Shares of the vector score.
const ALPHA: [f32; 10] = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 0.9, 0.95];
/// Constants of reciprocal rank fusion.
const RECIPROCAL_RANK_CONSTANT: [f32; 5] = [5.0, 15.0, 30.0, 60.0, 120.0];
/// The keyword retriever's best that stand first.
const KEYWORD_FIRST: [usize; 8] = [0, 5, 10, 15, 20, 30, 50, 100];
/// Weights of a modality in the vector score.
const MODALITY_WEIGHTS: [f32; 7] = [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0];
const METHODS: [RankFusionMethod; 4] =
    [RankFusionMethod::Convex, RankFusionMethod::MinMax, RankFusionMethod::ZScore, RankFusionMethod::ReciprocalRank];

/// Of how many drawn values one is the starting value: settings near the start are tried more often.
const KEEP_ONE_OF: usize = 2;

/// A place in the grids: the number of the chosen value of each parameter.
pub(super) type Point = Vec<usize>;

/// The grids.
#[derive(Clone, Debug)]
pub(super) struct Space {
    parameters: Vec<Parameter>,
    start: Point,
}

/// One parameter with the values that are tried, in ascending order where they have one.
#[derive(Clone, Debug)]
pub(super) enum Parameter {
    K1(Vec<f32>),
    Proximity(Vec<f32>),
    Matching(Vec<Matching>),
    FieldWeight(String, Vec<f32>),
    FieldB(String, Vec<f32>),
    Method(Vec<RankFusionMethod>),
    Alpha(Vec<f32>),
    ReciprocalRankConstant(Vec<f32>),
    KeywordFirst(Vec<usize>),
    ModalityWeight(Modality, Vec<f32>),
}

/// The grid with `start` in it, and the place of `start`.
fn with_start<T: PartialOrd + Copy>(grid: &[T], start: T) -> (Vec<T>, usize) {
    let place = grid.iter().position(|value| *value >= start).unwrap_or(grid.len());
    let mut values = grid.to_vec();
    if values.get(place) != Some(&start) {
        values.insert(place, start);
    }
    (values, place)
}

impl Space {
    /// The grids for a mode, around the snapshot's settings with `settings` in their place.
    ///
    /// # Errors
    /// When `settings` name a field that the snapshot does not search.
    pub(super) fn new(manifest: &Manifest, settings: &RankingSettings, mode: Mode) -> Result<Space, String> {
        let mut space = Space { parameters: Vec::new(), start: Vec::new() };
        let keyword = settings.keyword.applied_to(&manifest.keyword)?;
        let fusion = settings.rank_fusion.applied_to(&manifest.rank_fusion);
        if mode.uses_keyword() {
            space.add(with_start(&K1, keyword.k1), Parameter::K1);
            space.add(with_start(&PROXIMITY, keyword.proximity), Parameter::Proximity);
            let matching = MATCHING.iter().position(|matching| *matching == keyword.matching);
            let mut policies = MATCHING.to_vec();
            let place = matching.unwrap_or_else(|| {
                policies.push(keyword.matching);
                policies.len() - 1
            });
            space.add((policies, place), Parameter::Matching);
            for field in &keyword.fields {
                let name = || field.name.clone();
                space.add(with_start(&FIELD_WEIGHTS, field.weight), |values| Parameter::FieldWeight(name(), values));
                space.add(with_start(&FIELD_B, field.b), |values| Parameter::FieldB(name(), values));
            }
        }
        if mode == Mode::Hybrid {
            let place = METHODS.iter().position(|method| *method == fusion.method).unwrap_or(0);
            space.add((METHODS.to_vec(), place), Parameter::Method);
            space.add(with_start(&ALPHA, fusion.alpha), Parameter::Alpha);
            let constants = with_start(&RECIPROCAL_RANK_CONSTANT, fusion.reciprocal_rank_constant);
            space.add(constants, Parameter::ReciprocalRankConstant);
            space.add(with_start(&KEYWORD_FIRST, fusion.keyword_first), Parameter::KeywordFirst);
        }
        if mode.uses_vector() && manifest.modalities.len() > 1 {
            for modality in &manifest.modalities {
                let weight = settings.modality_weights.get(&modality.modality).copied().unwrap_or(modality.weight);
                let values = with_start(&MODALITY_WEIGHTS, weight);
                space.add(values, |values| Parameter::ModalityWeight(modality.modality, values));
            }
        }
        Ok(space)
    }

    fn add<T>(&mut self, (values, start): (Vec<T>, usize), parameter: impl FnOnce(Vec<T>) -> Parameter) {
        self.parameters.push(parameter(values));
        self.start.push(start);
    }

    /// The point that tuning starts from.
    pub(super) fn start(&self) -> &Point {
        &self.start
    }

    /// The parameters, each with the place of its starting value.
    pub(super) fn parameters(&self) -> impl Iterator<Item = (&Parameter, usize)> {
        self.parameters.iter().zip(self.start.iter().copied())
    }

    /// A random point near the start.
    pub(super) fn draw(&self, random: &mut SeededRandom) -> Point {
        let places = self.parameters.iter().zip(&self.start).map(|(parameter, start)| {
            let drawn = random.below(parameter.len());
            if random.below(KEEP_ONE_OF) == 0 { *start } else { drawn }
        });
        places.collect()
    }

    /// The middle of some points, parameter by parameter: the lower median, or where values have no order the most
    /// frequent one, of several the first.
    pub(super) fn middle(&self, points: &[&Point]) -> Point {
        let middle = |(number, parameter): (usize, &Parameter)| {
            let mut places: Vec<usize> = points.iter().map(|point| point[number]).collect();
            places.sort_unstable();
            let median = places.get(places.len().saturating_sub(1) / 2).copied().unwrap_or(self.start[number]);
            let count = |place: usize| places.iter().filter(|own| **own == place).count();
            let most_frequent = (0..parameter.len()).rev().max_by_key(|place| count(*place));
            if parameter.is_ordered() { median } else { most_frequent.unwrap_or(median) }
        };
        self.parameters.iter().enumerate().map(middle).collect()
    }

    /// The points with one parameter that differs from the start set back to it.
    pub(super) fn towards_start(&self, point: &Point) -> Vec<Point> {
        let differing = (0..point.len()).filter(|number| point[*number] != self.start[*number]);
        let set_back = differing.map(|number| {
            let mut nearer = point.clone();
            nearer[number] = self.start[number];
            nearer
        });
        set_back.collect()
    }

    /// The settings of a point, behind `settings`, whose other keys stay.
    pub(super) fn settings(&self, point: &Point, settings: &RankingSettings) -> RankingSettings {
        let mut settings = settings.clone();
        for (parameter, place) in self.parameters.iter().zip(point) {
            let (keyword, fusion) = (&mut settings.keyword, &mut settings.rank_fusion);
            match parameter {
                Parameter::K1(values) => keyword.k1 = Some(values[*place]),
                Parameter::Proximity(values) => keyword.proximity = Some(values[*place]),
                Parameter::Matching(values) => keyword.matching = Some(values[*place]),
                Parameter::FieldWeight(name, values) => {
                    keyword.fields.entry(name.clone()).or_default().weight = Some(values[*place]);
                }
                Parameter::FieldB(name, values) => {
                    keyword.fields.entry(name.clone()).or_default().b = Some(values[*place]);
                }
                Parameter::Method(values) => fusion.method = Some(values[*place]),
                Parameter::Alpha(values) => fusion.alpha = Some(values[*place]),
                Parameter::ReciprocalRankConstant(values) => fusion.reciprocal_rank_constant = Some(values[*place]),
                Parameter::KeywordFirst(values) => fusion.keyword_first = Some(values[*place]),
                Parameter::ModalityWeight(modality, values) => {
                    settings.modality_weights.insert(*modality, values[*place]);
                }
            }
        }
        settings
    }
}

impl Parameter {
    fn len(&self) -> usize {
        match self {
            Parameter::K1(values)
            | Parameter::Proximity(values)
            | Parameter::FieldWeight(_, values)
            | Parameter::FieldB(_, values)
            | Parameter::Alpha(values)
            | Parameter::ReciprocalRankConstant(values)
            | Parameter::ModalityWeight(_, values) => values.len(),
            Parameter::Matching(values) => values.len(),
            Parameter::Method(values) => values.len(),
            Parameter::KeywordFirst(values) => values.len(),
        }
    }

    fn is_ordered(&self) -> bool {
        !matches!(self, Parameter::Method(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;
    use crate::snapshot::{OpenOptions, Searcher};

    fn space(mode: Mode) -> Space {
        let folder = tempfile::tempdir().unwrap();
        example::write_store(folder.path(), &example::items()).unwrap();
        let (_, searcher) = Searcher::open_current(folder.path(), &OpenOptions::default()).unwrap();
        Space::new(searcher.manifest(), &RankingSettings::default(), mode).unwrap()
    }

    #[test]
    fn the_start_is_the_snapshots_settings() {
        let space = space(Mode::Hybrid);
        let settings = space.settings(space.start(), &RankingSettings::default());
        settings.check().unwrap();
        assert_eq!(settings.keyword.fields["title"].weight, Some(1.0));
        assert_eq!((settings.keyword.k1, settings.rank_fusion.alpha), (Some(1.2), Some(0.5)));
        assert_eq!(settings.modality_weights.len(), 2);
        assert!(space.towards_start(space.start()).is_empty());
    }

    #[test]
    fn a_mode_tunes_only_what_it_uses() {
        let keyword = space(Mode::Keyword);
        let settings = keyword.settings(keyword.start(), &RankingSettings::default());
        assert!(settings.modality_weights.is_empty() && settings.rank_fusion == Default::default());
        let vector = space(Mode::Vector);
        assert_eq!(vector.settings(vector.start(), &RankingSettings::default()).keyword, Default::default());
    }

    #[test]
    fn every_drawn_point_is_valid_and_the_middle_of_one_point_is_itself() {
        let space = space(Mode::Hybrid);
        let mut random = SeededRandom::new(3);
        for _ in 0..200 {
            let point = space.draw(&mut random);
            space.settings(&point, &RankingSettings::default()).check().unwrap();
            assert_eq!(space.middle(&[&point]), point);
        }
    }

    #[test]
    fn the_middle_is_the_median_or_the_most_frequent() {
        let space = Space {
            parameters: vec![Parameter::K1(K1.to_vec()), Parameter::Method(METHODS.to_vec())],
            start: vec![3, 0],
        };
        let points: [Point; 5] = [vec![0, 3], vec![1, 1], vec![2, 3], vec![6, 0], vec![5, 2]];
        let middle = |count: usize| space.middle(&points[..count].iter().collect::<Vec<&Point>>());
        assert_eq!([middle(5), middle(2), middle(0)], [vec![2, 3], vec![0, 1], vec![3, 0]]);
    }

    #[test]
    fn a_start_between_the_grids_values_is_added() {
        assert_eq!(with_start(&[1.0, 2.0], 1.5), (vec![1.0, 1.5, 2.0], 1));
        assert_eq!(with_start(&[1.0, 2.0], 2.0), (vec![1.0, 2.0], 1));
        assert_eq!(with_start(&[1.0, 2.0], 3.0), (vec![1.0, 2.0, 3.0], 2));
    }
}
