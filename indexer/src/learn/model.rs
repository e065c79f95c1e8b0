//! The model while it is trained, on candle. Owns its variables, the untrained model they start from, the forward pass, and
//! the step to the form that is served. Invariant: forward computes what `searcher::embedding_fusion` serves (a test holds
//! them together to 1e-5).
//!
//! The variables are differences to the untrained model, so that AdamW's decay pulls towards it and not towards nothing.
//! Untrained, every space has a block of the common space for itself, projections are unit matrices into that block, and the
//! gates are constants w/√W, with W the sum of the weights w of the modalities in the space: weighted blocks, at unit length.

use candle_core::{D, DType, Device, Result, Tensor, Var};
use schemas::learned_fusion::{Gate, LearnedFusion, LearnedModality, TrainingSummary};
use schemas::manifest::ModalityManifest;

/// Added to the logit of a modality that is absent: its gate is then 0.
const ABSENT_LOGIT: f64 = -1e9;
/// Keeps lengths from being 0.
const TINY: f64 = 1e-12;

/// The variables.
#[derive(Debug)]
pub(super) struct TrainedModel {
    dimension: usize,
    untrained: Vec<LearnedModality>,
    modalities: Vec<ModalityVariables>,
}

#[derive(Debug)]
struct ModalityVariables {
    /// `dimension × encoder dimension`, of the untrained model.
    start: Tensor,
    projection: Var,
    item_gate: GateVariables,
    query_gate: GateVariables,
}

#[derive(Debug)]
struct GateVariables {
    start: f64,
    bias: Var,
    direction: Var,
}

/// Which gates weigh the modalities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Item,
    Query,
}

/// Embeddings of several items or queries, by modality.
#[derive(Debug)]
pub(super) struct Embeddings {
    /// By modality: `count × encoder dimension`, zeros where absent.
    values: Vec<Tensor>,
    /// `count × modalities`: 0 where present, else [`ABSENT_LOGIT`].
    absent: Tensor,
}

impl Embeddings {
    /// Collects rows of embeddings, each parallel to the modalities.
    pub(super) fn new(rows: &[Vec<Option<Vec<f32>>>], dimensions: &[usize]) -> Result<Embeddings> {
        let mut values = Vec::new();
        for (modality, dimension) in dimensions.iter().enumerate() {
            let mut flat = Vec::with_capacity(rows.len() * dimension);
            for row in rows {
                match &row[modality] {
                    Some(embedding) => flat.extend_from_slice(embedding),
                    None => flat.resize(flat.len() + dimension, 0.0),
                }
            }
            values.push(Tensor::from_vec(flat, (rows.len(), *dimension), &Device::Cpu)?);
        }
        let absent = |embedding: &Option<Vec<f32>>| if embedding.is_some() { 0.0 } else { ABSENT_LOGIT as f32 };
        let absent: Vec<f32> = rows.iter().flatten().map(absent).collect();
        Ok(Embeddings { values, absent: Tensor::from_vec(absent, (rows.len(), dimensions.len()), &Device::Cpu)? })
    }
}

impl TrainedModel {
    /// The untrained model over the encoded modalities.
    pub(super) fn new(manifests: &[ModalityManifest]) -> Result<TrainedModel> {
        let (dimension, untrained) = untrained(manifests);
        let modalities = untrained.iter().map(|one| {
            let shape = (dimension, one.encoder_dimension);
            Ok(ModalityVariables {
                start: Tensor::from_slice(&one.projection, shape, &Device::Cpu)?,
                projection: Var::zeros(shape, DType::F32, &Device::Cpu)?,
                item_gate: GateVariables::new(&one.item_gate)?,
                query_gate: GateVariables::new(&one.query_gate)?,
            })
        });
        Ok(TrainedModel { dimension, modalities: modalities.collect::<Result<_>>()?, untrained })
    }

    /// The variables, always in one order.
    pub(super) fn variables(&self) -> Vec<Var> {
        let of = |one: &ModalityVariables| {
            [
                &one.projection,
                &one.item_gate.bias,
                &one.item_gate.direction,
                &one.query_gate.bias,
                &one.query_gate.direction,
            ]
            .map(Var::clone)
        };
        self.modalities.iter().flat_map(of).collect()
    }

    /// The vectors, `count × dimension`, at unit length.
    pub(super) fn forward(&self, embeddings: &Embeddings, side: Side) -> Result<Tensor> {
        let (mut projected, mut logits) = (Vec::new(), Vec::new());
        for (one, values) in self.modalities.iter().zip(&embeddings.values) {
            let projection = (&one.start + one.projection.as_tensor())?;
            let vectors = values.matmul(&projection.t()?)?;
            let gate = match side {
                Side::Item => &one.item_gate,
                Side::Query => &one.query_gate,
            };
            let bias = (gate.bias.as_tensor() + gate.start)?;
            logits.push(vectors.matmul(gate.direction.as_tensor())?.broadcast_add(&bias)?);
            projected.push(vectors);
        }
        let logits = (Tensor::cat(&logits, 1)? + &embeddings.absent)?;
        let gates = candle_nn::ops::softmax(&logits, D::Minus1)?;
        let mut sum = None;
        for (modality, vectors) in projected.iter().enumerate() {
            let part = vectors.broadcast_mul(&gates.narrow(1, modality, 1)?)?;
            sum = Some(match sum {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
        let sum = sum.ok_or_else(|| candle_core::Error::Msg("a model without modalities".to_owned()))?;
        let lengths = (sum.sqr()?.sum_keepdim(1)? + TINY)?.sqrt()?;
        sum.broadcast_div(&lengths)
    }

    /// The model as it is served.
    pub(super) fn export(&self) -> Result<LearnedFusion> {
        let modalities = self.modalities.iter().zip(&self.untrained).map(|(one, untrained)| {
            Ok(LearnedModality {
                projection: (&one.start + one.projection.as_tensor())?.flatten_all()?.to_vec1()?,
                item_gate: one.item_gate.export()?,
                query_gate: one.query_gate.export()?,
                ..untrained.clone()
            })
        });
        let modalities = modalities.collect::<Result<_>>()?;
        Ok(LearnedFusion { dimension: self.dimension, modalities, training: TrainingSummary::default() })
    }
}

impl GateVariables {
    fn new(untrained: &Gate) -> Result<GateVariables> {
        Ok(GateVariables {
            start: f64::from(untrained.bias),
            bias: Var::zeros((1, 1), DType::F32, &Device::Cpu)?,
            direction: Var::zeros((untrained.direction.len(), 1), DType::F32, &Device::Cpu)?,
        })
    }

    fn export(&self) -> Result<Gate> {
        let bias = (self.bias.as_tensor() + self.start)?.flatten_all()?.to_vec1::<f32>()?;
        Ok(Gate { bias: bias[0], direction: self.direction.as_tensor().flatten_all()?.to_vec1()? })
    }
}

/// Weighted blocks at unit length, and the length of its vectors.
fn untrained(manifests: &[ModalityManifest]) -> (usize, Vec<LearnedModality>) {
    // A space's blocks start one after the other, in the order of the first modality of each.
    let space = |one: &ModalityManifest| (one.encoder.space().to_owned(), one.encoder.dimension);
    let mut blocks: Vec<((String, usize), usize, f32)> = Vec::new();
    let mut dimension = 0;
    for one in manifests {
        match blocks.iter_mut().find(|(block, ..)| *block == space(one)) {
            Some((_, _, weight)) => *weight += one.weight,
            None => {
                blocks.push((space(one), dimension, one.weight));
                dimension += one.encoder.dimension;
            }
        }
    }
    let modality = |one: &ModalityManifest| {
        let own = blocks.iter().find(|(block, ..)| *block == space(one));
        let (start, total) = own.map_or((0, one.weight), |(_, start, total)| (*start, *total));
        let width = one.encoder.dimension;
        let mut projection = vec![0.0; dimension * width];
        (0..width).for_each(|place| projection[(start + place) * width + place] = 1.0);
        // A weight of 0 would be a logit of minus infinity.
        let share = (one.weight / total.sqrt()).max(f32::MIN_POSITIVE);
        let gate = Gate { bias: share.ln(), direction: vec![0.0; dimension] };
        LearnedModality {
            modality: one.modality,
            encoder: one.encoder.fingerprint(),
            encoder_dimension: width,
            projection,
            item_gate: gate.clone(),
            query_gate: gate,
        }
    };
    (dimension, manifests.iter().map(modality).collect())
}

#[cfg(test)]
mod tests;
