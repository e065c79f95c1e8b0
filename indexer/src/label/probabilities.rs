//! From cosines to probabilities of values, and the numbers of these formulas. Owns the formulas and the grid; pure functions.

/// Sharpness of the neighbours' vote that are tried: from a plain vote to one that nearly only hears the nearest.
pub(super) const SHARPNESS: [f32; 6] = [0.0, 5.0, 10.0, 20.0, 40.0, 80.0];
/// Scales of cosines with values' names that are tried; CLIP's own is 100.
pub(super) const SCALES: [f32; 7] = [2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0];
/// Shares that are tried, of the values' frequencies in each side and of the zero-shot side in both, in tenths.
const SHARES: std::ops::RangeInclusive<u8> = 0..=10;
/// Least probability that is counted, so that one surprise does not decide everything. On the fixture's fields 0.01 in its
/// place is better for some (calibration error of `colour` by neighbours 0.057 for 0.107) and worse for others (`size` 0.128
/// for 0.065); the lower one errs on the side of too little confidence.
const LEAST_PROBABILITY: f64 = 1e-4;

/// The numbers of the formulas.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Calibration {
    pub(super) sharpness: f32,
    /// Share of the values' frequencies in the neighbours' side.
    pub(super) vote_prior: f32,
    pub(super) scale: f32,
    /// Share of the values' frequencies in the zero-shot side.
    pub(super) name_prior: f32,
    /// Share of the zero-shot side where both sides are there.
    pub(super) share: f32,
}

/// What is known of one item whose value is known: the probability of that value under each number of the grids; `None`
/// where a side says nothing.
pub(super) struct Evidence {
    /// How frequent the value is among the other items.
    pub(super) prior: f32,
    pub(super) neighbours: Option<[f32; SHARPNESS.len()]>,
    pub(super) zero_shot: Option<[f32; SCALES.len()]>,
}

/// The vote of neighbours, nearest first, by value and cosine: a probability for each of `count` values. `None` without
/// neighbours.
pub(super) fn vote(neighbours: &[(usize, f32)], sharpness: f32, count: usize) -> Option<Vec<f32>> {
    let (_, nearest) = neighbours.first()?;
    let mut votes = vec![0.0; count];
    for (value, cosine) in neighbours {
        // Relative to the nearest, whose weight is 1, nothing overflows.
        votes[*value] += (sharpness * (cosine - nearest)).exp();
    }
    Some(scaled_to_one(votes))
}

/// The softmax of the cosines with values' names. `None` without a cosine.
pub(super) fn softmax(cosines: &[f32], scale: f32) -> Option<Vec<f32>> {
    let highest = cosines.iter().copied().reduce(f32::max)?;
    Some(scaled_to_one(cosines.iter().map(|cosine| (scale * (cosine - highest)).exp()).collect()))
}

/// `(1 − share) · probabilities + share · prior`: what is known of an item, and what is known of all.
pub(super) fn with_prior(probabilities: &[f32], prior: &[f32], share: f32) -> Vec<f32> {
    probabilities.iter().zip(prior).map(|(own, prior)| (1.0 - share) * own + share * prior).collect()
}

/// `(1 − share) · neighbours + share · zero_shot`; the one side alone where the other says nothing.
pub(super) fn joined(neighbours: Option<&[f32]>, zero_shot: Option<&[f32]>, share: f32) -> Option<Vec<f32>> {
    match (neighbours, zero_shot) {
        (Some(left), Some(right)) => {
            Some(left.iter().zip(right).map(|(left, right)| (1.0 - share) * left + share * right).collect())
        }
        (Some(side), None) | (None, Some(side)) => Some(side.to_vec()),
        (None, None) => None,
    }
}

/// The likeliest value and its probability; among equals the first.
pub(super) fn best(probabilities: &[f32]) -> Option<(usize, f32)> {
    let better = |left: (usize, f32), right: (usize, f32)| if right.1 > left.1 { right } else { left };
    probabilities.iter().copied().enumerate().reduce(better)
}

/// The numbers under which the known values are likeliest, each side by itself and then their share.
pub(super) fn calibrate(evidence: &[Evidence]) -> Calibration {
    let shares: Vec<f32> = SHARES.map(|tenths| f32::from(tenths) / 10.0).collect();
    let mixed = |own: Option<f32>, prior: f32, share: f32| own.map(|own| (1.0 - share) * own + share * prior);
    let by_vote =
        |item: &Evidence, number: usize, share: f32| mixed(item.neighbours.map(|side| side[number]), item.prior, share);
    let by_name =
        |item: &Evidence, number: usize, share: f32| mixed(item.zero_shot.map(|side| side[number]), item.prior, share);
    let sum = |probability: &dyn Fn(&Evidence) -> Option<f32>| -> f64 {
        evidence.iter().map(|item| logarithm(probability(item).unwrap_or(0.0))).sum()
    };
    let both = |count: usize| move |number: usize| (number % count, number / count);
    let (vote, name) = (both(SHARPNESS.len()), both(SCALES.len()));
    let (sharpness, vote_prior) = vote(likeliest(SHARPNESS.len() * shares.len(), |number| {
        let (sharpness, share) = vote(number);
        sum(&|item| by_vote(item, sharpness, shares[share]))
    }));
    let (scale, name_prior) = name(likeliest(SCALES.len() * shares.len(), |number| {
        let (scale, share) = name(number);
        sum(&|item| by_name(item, scale, shares[share]))
    }));
    let share = likeliest(shares.len(), |number| {
        sum(&|item| {
            let (vote, name) = (by_vote(item, sharpness, shares[vote_prior]), by_name(item, scale, shares[name_prior]));
            match (vote, name) {
                (Some(vote), Some(name)) => Some((1.0 - shares[number]) * vote + shares[number] * name),
                (side, None) | (None, side) => side,
            }
        })
    });
    Calibration {
        sharpness: SHARPNESS[sharpness],
        vote_prior: shares[vote_prior],
        scale: SCALES[scale],
        name_prior: shares[name_prior],
        share: shares[share],
    }
}

/// The number below `count` with the greatest figure; among equals the first.
fn likeliest(count: usize, figure: impl Fn(usize) -> f64) -> usize {
    let figures: Vec<f64> = (0..count).map(figure).collect();
    (1..count).fold(0, |best, number| if figures[number] > figures[best] { number } else { best })
}

fn logarithm(probability: f32) -> f64 {
    f64::from(probability).max(LEAST_PROBABILITY).ln()
}

fn scaled_to_one(mut weights: Vec<f32>) -> Vec<f32> {
    // Never 0: the weight of the nearest, or of the highest, is 1.
    let sum: f32 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= sum);
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vote_weighs_by_likeness() {
        let neighbours = [(1, 0.9), (0, 0.8), (0, 0.8)];
        assert_eq!(vote(&neighbours, 0.0, 3), Some(vec![2.0 / 3.0, 1.0 / 3.0, 0.0]));
        let sharp = vote(&neighbours, 20.0, 3).unwrap();
        let other = (-2.0f32).exp();
        assert!((sharp[1] - 1.0 / (1.0 + 2.0 * other)).abs() < 1e-6 && best(&sharp).unwrap().0 == 1);
        assert_eq!(vote(&[], 5.0, 3), None);
    }

    #[test]
    fn names_are_weighed_by_softmax() {
        let probabilities = softmax(&[0.5, 0.4, 0.5], 10.0).unwrap();
        let other = (-1.0f32).exp();
        assert!((probabilities[1] - other / (2.0 + other)).abs() < 1e-6);
        assert_eq!(best(&probabilities).unwrap().0, 0);
        assert!((softmax(&[1.0, -1.0], 1e30).unwrap()[0] - 1.0).abs() < 1e-6);
        assert_eq!(softmax(&[], 1.0), None);
    }

    #[test]
    fn both_sides_are_mixed_and_one_is_enough() {
        let (left, right) = ([1.0, 0.0], [0.5, 0.5]);
        assert_eq!(joined(Some(&left), Some(&right), 0.5), Some(vec![0.75, 0.25]));
        assert_eq!(joined(None, Some(&right), 0.0), Some(right.to_vec()));
        assert_eq!(joined(None, None, 0.5), None);
    }

    #[test]
    fn the_likeliest_numbers_are_taken() {
        // The zero-shot side is right at the third scale, the neighbours only guess.
        let mut zero_shot = [0.1; SCALES.len()];
        zero_shot[2] = 0.9;
        let evidence: Vec<Evidence> = (0..5)
            .map(|_| Evidence { prior: 0.2, neighbours: Some([0.5; SHARPNESS.len()]), zero_shot: Some(zero_shot) })
            .collect();
        let found = calibrate(&evidence);
        assert_eq!((found.sharpness, found.vote_prior), (SHARPNESS[0], 0.0));
        assert_eq!((found.scale, found.name_prior, found.share), (SCALES[2], 0.0, 1.0));
        let mut neighbours = [0.2; SHARPNESS.len()];
        neighbours[4] = 0.95;
        let evidence = [Evidence { prior: 0.0, neighbours: Some(neighbours), zero_shot: Some(zero_shot) }];
        let found = calibrate(&evidence);
        assert_eq!((found.sharpness, found.scale, found.share), (SHARPNESS[4], SCALES[2], 0.0));
    }

    #[test]
    fn what_says_nothing_leaves_the_frequencies() {
        // Sure of the value of one item, and against that of the other: frequencies, which are never so wrong, are likelier.
        let item = |own: f32| Evidence { prior: 0.5, neighbours: Some([own; SHARPNESS.len()]), zero_shot: None };
        assert_eq!(calibrate(&[item(0.6), item(0.0)]).vote_prior, 1.0);
        assert_eq!(calibrate(&[item(1.0), item(1.0)]).vote_prior, 0.0);
        assert_eq!(with_prior(&[1.0, 0.0], &[0.5, 0.5], 0.5), [0.75, 0.25]);
    }
}
