//! The packed layout: all tokens of a batch in one matrix, sequence after sequence, no padding. Owns where each sequence
//! lies and the runs of equal length that attention computes together. Invariant: runs cover all tokens in order.

/// Length of a sequence, and how many of its first tokens may be attended to (all, but for models that pad and mask).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SequenceShape {
    /// Tokens.
    pub(crate) length: usize,
    /// Tokens that attention sees.
    pub(crate) keys: usize,
}

/// Neighbouring sequences of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Row of the first token.
    pub(crate) start: usize,
    /// Number of sequences.
    pub(crate) sequences: usize,
    /// Their shape.
    pub(crate) shape: SequenceShape,
}

impl Run {
    /// Number of tokens.
    pub(crate) fn tokens(&self) -> usize {
        self.sequences * self.shape.length
    }
}

/// Where the sequences of a batch lie.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    runs: Vec<Run>,
}

impl Packed {
    /// Lays sequences out in the given order; sorted by shape they make the fewest runs.
    pub(crate) fn new(shapes: impl IntoIterator<Item = SequenceShape>) -> Packed {
        let mut runs: Vec<Run> = Vec::new();
        let mut tokens = 0;
        for shape in shapes {
            match runs.last_mut() {
                Some(run) if run.shape == shape => run.sequences += 1,
                Some(_) | None => runs.push(Run { start: tokens, sequences: 1, shape }),
            }
            tokens += shape.length;
        }
        Packed { runs }
    }

    /// The runs in order.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Row of the first token of each sequence.
    pub(crate) fn starts(&self) -> impl Iterator<Item = usize> {
        let of_run = |run: &Run| {
            let Run { start, sequences, shape } = *run;
            (0..sequences).map(move |sequence| start + sequence * shape.length)
        };
        self.runs.iter().flat_map(of_run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_one_shape_make_a_run() {
        let shape = |length, keys| SequenceShape { length, keys };
        let packed = Packed::new([shape(2, 2), shape(2, 2), shape(3, 3), shape(3, 1)]);
        let lengths: Vec<_> = packed.runs().iter().map(|run| (run.start, run.sequences, run.tokens())).collect();
        assert_eq!(lengths, [(0, 2, 4), (4, 1, 3), (7, 1, 3)]);
        assert_eq!(packed.starts().collect::<Vec<_>>(), [0, 2, 4, 7]);
    }
}
