//! The image tower (vision transformer, Dosovitskiy et al. 2021): patches, blocks, pooling, projection. Owns one forward
//! pass for CLIP, Chinese-CLIP and SigLIP, and their weight names. Invariant: pictures of a batch never meet; a picture's
//! embedding is the same in any batch.

use candle_core::{DType, Device, IndexOp, Result, Tensor};
use candle_nn::VarBuilder;
use schemas::Pooling;

use super::attention::{Visibility, pooling_attention};
use super::block::{Block, CLIP_BLOCKS, query_scale};
use super::layers::{FeedForward, LayerNorm, Linear};
use super::packed::{Packed, SequenceShape};
use super::settings::TowerSettings;

/// Colours of a picture.
pub(crate) const CHANNELS: usize = 3;

/// Size of the pictures a tower takes, and of the squares they are cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PatchGrid {
    /// Width and height in pixels.
    pub(crate) picture: usize,
    /// Width and height of a patch.
    pub(crate) patch: usize,
}

impl PatchGrid {
    /// Patches in a row; pixels that do not fill a patch at the right and at the bottom are not seen, as with the
    /// convolution that publishes the weights.
    fn side(self) -> usize {
        self.picture / self.patch
    }

    fn patches(self) -> usize {
        self.side() * self.side()
    }

    fn values_per_patch(self) -> usize {
        CHANNELS * self.patch * self.patch
    }

    /// Values of a picture.
    pub(crate) fn values(self) -> usize {
        CHANNELS * self.picture * self.picture
    }

    /// Appends a picture's patches, each as channel, row, column: the order of the convolution's weights.
    fn cut(self, picture: &[f32], into: &mut Vec<f32>) {
        let PatchGrid { picture: size, patch } = self;
        for (top, left) in (0..self.side()).flat_map(|row| (0..self.side()).map(move |column| (row, column))) {
            for (channel, y) in (0..CHANNELS).flat_map(|channel| (0..patch).map(move |y| (channel, y))) {
                let begin = (channel * size + top * patch + y) * size + left * patch;
                into.extend_from_slice(&picture[begin..begin + patch]);
            }
        }
    }
}

/// A loaded image tower.
#[derive(Debug)]
pub(crate) struct ImageTower {
    grid: PatchGrid,
    hidden: usize,
    patch_embedding: Linear,
    class_embedding: Option<Tensor>,
    position_embedding: Tensor,
    first_norm: Option<LayerNorm>,
    blocks: Vec<Block>,
    last_norm: LayerNorm,
    head: Head,
}

/// What makes one embedding of the tokens.
#[derive(Debug)]
enum Head {
    /// The class token, projected.
    Class(Linear),
    /// Attention of a learned query.
    Attention(AttentionHead),
}

impl ImageTower {
    /// CLIP and Chinese-CLIP.
    pub(crate) fn clip(
        settings: &TowerSettings,
        grid: PatchGrid,
        projection: usize,
        weights: &VarBuilder<'_>,
    ) -> Result<ImageTower> {
        let tower = weights.pp("vision_model");
        let class_embedding = tower.get(settings.hidden, "embeddings.class_embedding")?;
        let head = Linear::read_projection(settings.hidden, projection, &weights.pp("visual_projection"))?;
        // The name is misspelt in every published checkpoint.
        let first_norm = LayerNorm::read(settings.hidden, settings.epsilon, &tower.pp("pre_layrnorm"))?;
        let head = Head::Class(head);
        ImageTower::read(settings, grid, Some(class_embedding), Some(first_norm), head, &tower)
    }

    /// SigLIP.
    pub(crate) fn siglip(settings: &TowerSettings, grid: PatchGrid, weights: &VarBuilder<'_>) -> Result<ImageTower> {
        let tower = weights.pp("vision_model");
        let head = Head::Attention(AttentionHead::read(settings, &tower.pp("head"))?);
        ImageTower::read(settings, grid, None, None, head, &tower)
    }

    fn read(
        settings: &TowerSettings,
        grid: PatchGrid,
        class_embedding: Option<Tensor>,
        first_norm: Option<LayerNorm>,
        head: Head,
        tower: &VarBuilder<'_>,
    ) -> Result<ImageTower> {
        let hidden = settings.hidden;
        let tokens = grid.patches() + usize::from(class_embedding.is_some());
        let patch = tower.pp("embeddings.patch_embedding");
        // A convolution whose stride is its size is a linear map of each patch.
        let kernel = patch.get((hidden, CHANNELS, grid.patch, grid.patch), "weight")?.flatten_from(1)?;
        let bias = patch.contains_tensor("bias").then(|| patch.get(hidden, "bias")).transpose()?;
        Ok(ImageTower {
            grid,
            hidden,
            patch_embedding: Linear::new(kernel, bias).with_products(settings.products)?,
            class_embedding,
            position_embedding: tower.get((tokens, hidden), "embeddings.position_embedding.weight")?,
            first_norm,
            blocks: Block::read_all(settings, &CLIP_BLOCKS, &tower.pp("encoder.layers"))?,
            last_norm: LayerNorm::read(hidden, settings.epsilon, &tower.pp("post_layernorm"))?,
            head,
        })
    }

    /// How hidden states become an embedding.
    pub(crate) fn pooling(&self) -> Pooling {
        match self.head {
            Head::Class(_) => Pooling::Cls,
            Head::Attention(_) => Pooling::Attention,
        }
    }

    /// Length of an embedding.
    pub(crate) fn dimension(&self) -> Result<usize> {
        match &self.head {
            Head::Class(projection) => projection.outputs(),
            Head::Attention(_) => Ok(self.hidden),
        }
    }

    /// Size of pictures and patches.
    pub(crate) fn grid(&self) -> PatchGrid {
        self.grid
    }

    /// Embeddings, not yet of unit length, row by row. Each picture has [`PatchGrid::values`] values.
    pub(crate) fn forward(&self, pictures: &[&[f32]], device: &Device) -> Result<Vec<f32>> {
        let mut hidden = self.embed(pictures, device)?;
        let length = hidden.dim(0)? / pictures.len();
        let packed = Packed::new(std::iter::repeat_n(SequenceShape { length, keys: length }, pictures.len()));
        for block in &self.blocks {
            hidden = block.forward(&hidden, &packed, &Visibility::Full)?;
        }
        let embeddings = match &self.head {
            Head::Class(projection) => {
                let class = hidden.reshape((pictures.len(), length, self.hidden))?.i((.., 0))?.contiguous()?;
                projection.forward(&self.last_norm.forward(&class)?)?
            }
            Head::Attention(head) => head.forward(&self.last_norm.forward(&hidden)?, pictures.len())?,
        };
        embeddings.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
    }

    /// `[pictures · tokens, hidden]`.
    fn embed(&self, pictures: &[&[f32]], device: &Device) -> Result<Tensor> {
        let (count, patches) = (pictures.len(), self.grid.patches());
        let mut values = Vec::with_capacity(count * patches * self.grid.values_per_patch());
        pictures.iter().for_each(|picture| self.grid.cut(picture, &mut values));
        let rows = Tensor::from_vec(values, (count * patches, self.grid.values_per_patch()), device)?;
        let rows = rows.to_dtype(self.position_embedding.dtype())?;
        let mut tokens = self.patch_embedding.forward(&rows)?.reshape((count, patches, self.hidden))?;
        if let Some(class) = &self.class_embedding {
            tokens = Tensor::cat(&[&class.broadcast_left((count, 1))?, &tokens], 1)?;
        }
        let tokens = tokens.broadcast_add(&self.position_embedding)?.flatten_to(1)?;
        match &self.first_norm {
            Some(norm) => norm.forward(&tokens),
            None => Ok(tokens),
        }
    }
}

/// SigLIP's pooling: one learned query attends to all tokens, then a feed-forward part with a residual around it.
#[derive(Debug)]
struct AttentionHead {
    /// `[heads, 1, head size]`: the query is learned, so what it becomes is known when the tower is loaded.
    queries: Tensor,
    keys_values: Linear,
    output: Linear,
    norm: LayerNorm,
    feed_forward: FeedForward,
}

impl AttentionHead {
    fn read(settings: &TowerSettings, weights: &VarBuilder<'_>) -> Result<AttentionHead> {
        let hidden = settings.hidden;
        let attention = weights.pp("attention");
        let weight = attention.get((3 * hidden, hidden), "in_proj_weight")?;
        let bias = attention.get(3 * hidden, "in_proj_bias")?;
        let part = |begin: usize, length: usize| -> Result<Linear> {
            let bias = bias.narrow(0, begin, length)?.contiguous()?;
            Ok(Linear::new(weight.narrow(0, begin, length)?.contiguous()?, Some(bias)))
        };
        let probe = weights.get((1, 1, hidden), "probe")?.flatten_to(1)?;
        let queries = part(0, hidden)?.scaled(query_scale(settings))?.forward(&probe)?;
        Ok(AttentionHead {
            queries: queries.reshape((settings.heads, 1, hidden / settings.heads))?,
            keys_values: part(hidden, 2 * hidden)?,
            output: Linear::read(hidden, hidden, &attention.pp("out_proj"))?,
            norm: LayerNorm::read(hidden, settings.epsilon, &weights.pp("layernorm"))?,
            feed_forward: FeedForward::read(settings, &weights.pp("mlp.fc1"), &weights.pp("mlp.fc2"))?,
        })
    }

    fn forward(&self, tokens: &Tensor, pictures: usize) -> Result<Tensor> {
        let attended = pooling_attention(&self.queries, &self.keys_values.forward(tokens)?, pictures)?;
        let attended = self.output.forward(&attended)?;
        self.feed_forward.forward_onto(&attended, &self.norm.forward(&attended)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_cut_in_the_order_of_a_convolution() {
        // 5 pixels and patches of 2: the last row and column are left out.
        let grid = PatchGrid { picture: 5, patch: 2 };
        let picture: Vec<f32> = (0..grid.values()).map(|value| value as f32).collect();
        let mut patches = Vec::new();
        grid.cut(&picture, &mut patches);
        assert_eq!(patches.len(), grid.patches() * grid.values_per_patch());
        assert_eq!(patches[..12], [0., 1., 5., 6., 25., 26., 30., 31., 50., 51., 55., 56.]);
        assert_eq!(patches[12..16], [2., 3., 7., 8.]);

        let kernel: Vec<f32> = (0..2 * 12).map(|value| (value as f32 * 0.7).sin()).collect();
        let kernel = Tensor::from_vec(kernel, (2, 3, 2, 2), &Device::Cpu).unwrap();
        let image = Tensor::from_vec(picture, (1, 3, 5, 5), &Device::Cpu).unwrap();
        let expected: Vec<f32> = image.conv2d(&kernel, 0, 2, 1, 1).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let rows = Tensor::from_vec(patches, (4, 12), &Device::Cpu).unwrap();
        let linear = Linear::new(kernel.flatten_from(1).unwrap(), None);
        let got: Vec<f32> = linear.forward(&rows).unwrap().t().unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert!(got.iter().zip(&expected).all(|(got, expected)| (got - expected).abs() < 1e-3), "{got:?} {expected:?}");
    }
}
