//! Steps of a tower that are done in one pass over memory on the CPU, as custom operations on candle's tensors. Everywhere
//! else they are the same steps as operations of candle. Owns that choice. candle's own element-wise CPU operations
//! make a new matrix each, and share one pool of spinning threads between callers, so batches on several threads would
//! wait for each other. Invariant: both ways compute the same, but for rounding; tensors on the CPU are f32.

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, InplaceOp1, InplaceOp2, InplaceOp3, Layout, Result, Shape, Tensor,
};

#[cfg(target_arch = "x86_64")]
use super::bf16_attention;
use super::cpu_attention::{self, AttentionInput};
use super::cpu_kernels;
use super::cpu_linear::{self, CpuLinear, CpuWeight};
use super::layers::{Activation, PackedLinear};
use super::packed::Packed;
use super::settings::Products;

/// Whether a tensor is computed by this file's operations.
pub(super) fn is_fused(tensor: &Tensor) -> bool {
    tensor.device().is_cpu()
}

/// Adds a bias to every row and applies an activation. `rows` is a fresh result that nothing else refers to.
pub(super) fn add_bias_activate(rows: Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    if !is_fused(&rows) {
        return activation.forward(&rows.broadcast_add(bias)?);
    }
    rows.inplace_op2(bias, &AddBiasActivate(activation))?;
    Ok(rows)
}

/// Adds a bias to every row, and the residual. `rows` is a fresh result that nothing else refers to.
pub(super) fn add_bias_and_rows(rows: Tensor, bias: &Tensor, residual: &Tensor) -> Result<Tensor> {
    if !is_fused(&rows) {
        return rows.broadcast_add(bias)? + residual;
    }
    rows.inplace_op3(bias, residual, &AddBiasAndRows)?;
    Ok(rows)
}

/// Softmax over the last dimension. `scores` is a fresh result that nothing else refers to.
pub(super) fn softmax(scores: Tensor) -> Result<Tensor> {
    if !is_fused(&scores) {
        return candle_nn::ops::softmax_last_dim(&scores);
    }
    scores.inplace_op1(&Softmax)?;
    Ok(scores)
}

/// Layer norm of every row.
pub(super) fn layer_norm(rows: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f32) -> Result<Tensor> {
    if !is_fused(rows) {
        return candle_nn::ops::layer_norm(rows, weight, bias, epsilon);
    }
    rows.apply_op3_no_bwd(weight, bias, &LayerNorm(epsilon))
}

/// Self-attention on the CPU: `[tokens, 3 · hidden]` to `[tokens, hidden]`.
pub(super) fn self_attention(
    qkv: &Tensor,
    packed: &Packed,
    heads: usize,
    causal: bool,
    products: Products,
) -> Result<Tensor> {
    qkv.apply_op1_no_bwd(&SelfAttention { packed, heads, causal, products })
}

/// A linear map with a packed weight, on the CPU, with bias and activation.
pub(super) fn cpu_linear<W: CpuWeight>(rows: &Tensor, map: &PackedLinear<W>, activation: Activation) -> Result<Tensor> {
    rows.apply_op2_no_bwd(&map.bias, &LinearActivated { weight: &map.weight, activation })
}

/// The same with a residual added in place of an activation.
pub(super) fn cpu_linear_onto<W: CpuWeight>(rows: &Tensor, map: &PackedLinear<W>, residual: &Tensor) -> Result<Tensor> {
    rows.apply_op3_no_bwd(&map.bias, residual, &LinearOnto { weight: &map.weight })
}

/// The feed-forward part of a block with packed weights, on the CPU.
pub(super) fn cpu_feed_forward<W: CpuWeight>(
    rows: &Tensor,
    widen: &PackedLinear<W>,
    activation: Activation,
    narrow: &PackedLinear<W>,
    residual: &Tensor,
) -> Result<Tensor> {
    // An operation takes three tensors; the rows and the residual change with each call, the biases do not.
    let biases = Tensor::cat(&[&widen.bias, &narrow.bias], 0)?;
    let operation = CpuFeedForward { widen: &widen.weight, activation, narrow: &narrow.weight };
    rows.apply_op3_no_bwd(&biases, residual, &operation)
}

fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (CpuStorage::F32(values), Some((begin, end))) = (storage, layout.contiguous_offsets()) else {
        candle_core::bail!("a fused step needs contiguous f32")
    };
    Ok(&values[begin..end])
}

fn values_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    let (CpuStorage::F32(values), Some((begin, end))) = (storage, layout.contiguous_offsets()) else {
        candle_core::bail!("a fused step needs contiguous f32")
    };
    Ok(&mut values[begin..end])
}

struct AddBiasActivate(Activation);

impl InplaceOp2 for AddBiasActivate {
    fn name(&self) -> &'static str {
        "add-bias-activate"
    }

    fn cpu_fwd(&self, rows: &mut CpuStorage, rows_at: &Layout, bias: &CpuStorage, bias_at: &Layout) -> Result<()> {
        cpu_kernels::add_bias_activate(values_mut(rows, rows_at)?, values(bias, bias_at)?, self.0);
        Ok(())
    }
}

struct AddBiasAndRows;

impl InplaceOp3 for AddBiasAndRows {
    fn name(&self) -> &'static str {
        "add-bias-and-rows"
    }

    fn cpu_fwd(
        &self,
        rows: &mut CpuStorage,
        rows_at: &Layout,
        bias: &CpuStorage,
        bias_at: &Layout,
        other: &CpuStorage,
        other_at: &Layout,
    ) -> Result<()> {
        let rows = values_mut(rows, rows_at)?;
        cpu_kernels::add_bias_and_rows(rows, values(bias, bias_at)?, values(other, other_at)?);
        Ok(())
    }
}

struct Softmax;

impl InplaceOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, scores: &mut CpuStorage, scores_at: &Layout) -> Result<()> {
        let length = scores_at.dims().last().copied().unwrap_or(1);
        cpu_kernels::softmax(values_mut(scores, scores_at)?, length);
        Ok(())
    }
}

struct LayerNorm(f32);

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        rows: &CpuStorage,
        rows_at: &Layout,
        weight: &CpuStorage,
        weight_at: &Layout,
        bias: &CpuStorage,
        bias_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let rows = values(rows, rows_at)?;
        let mut output = vec![0.0; rows.len()];
        cpu_kernels::layer_norm(rows, values(weight, weight_at)?, values(bias, bias_at)?, self.0, &mut output);
        Ok((CpuStorage::F32(output), rows_at.shape().clone()))
    }
}

struct SelfAttention<'a> {
    packed: &'a Packed,
    heads: usize,
    causal: bool,
    products: Products,
}

impl CustomOp1 for SelfAttention<'_> {
    fn name(&self) -> &'static str {
        "self-attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, qkv_at: &Layout) -> Result<(CpuStorage, Shape)> {
        let (tokens, triple) = qkv_at.shape().dims2()?;
        let hidden = triple / 3;
        let mut output = vec![0.0; tokens * hidden];
        let SelfAttention { packed, heads, causal, products } = *self;
        let input = AttentionInput { qkv: values(qkv, qkv_at)?, runs: packed.runs(), heads, hidden, causal };
        match products {
            #[cfg(target_arch = "x86_64")]
            Products::Bf16OnCpu if bf16_attention::attends(hidden / heads) => {
                bf16_attention::attend(input, &mut output)
            }
            _ => cpu_attention::attend(input, &mut output),
        }
        Ok((CpuStorage::F32(output), Shape::from((tokens, hidden))))
    }
}

struct LinearActivated<'a, W> {
    weight: &'a W,
    activation: Activation,
}

impl<W: CpuWeight> CustomOp2 for LinearActivated<'_, W> {
    fn name(&self) -> &'static str {
        "cpu-linear"
    }

    fn cpu_fwd(
        &self,
        rows: &CpuStorage,
        rows_at: &Layout,
        bias: &CpuStorage,
        bias_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = (rows_at.shape().dims2()?.0, self.weight.outputs());
        let mut output = vec![0.0; shape.0 * shape.1];
        let layer = CpuLinear { weight: self.weight, bias: values(bias, bias_at)? };
        cpu_linear::linear(values(rows, rows_at)?, layer, self.activation, &mut output);
        Ok((CpuStorage::F32(output), Shape::from(shape)))
    }
}

struct LinearOnto<'a, W> {
    weight: &'a W,
}

impl<W: CpuWeight> CustomOp3 for LinearOnto<'_, W> {
    fn name(&self) -> &'static str {
        "cpu-linear-onto"
    }

    fn cpu_fwd(
        &self,
        rows: &CpuStorage,
        rows_at: &Layout,
        bias: &CpuStorage,
        bias_at: &Layout,
        residual: &CpuStorage,
        residual_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let residual = values(residual, residual_at)?;
        let mut output = vec![0.0; residual.len()];
        let layer = CpuLinear { weight: self.weight, bias: values(bias, bias_at)? };
        cpu_linear::linear_onto(values(rows, rows_at)?, layer, residual, &mut output);
        Ok((CpuStorage::F32(output), residual_at.shape().clone()))
    }
}

struct CpuFeedForward<'a, W> {
    widen: &'a W,
    activation: Activation,
    narrow: &'a W,
}

impl<W: CpuWeight> CustomOp3 for CpuFeedForward<'_, W> {
    fn name(&self) -> &'static str {
        "cpu-feed-forward"
    }

    fn cpu_fwd(
        &self,
        rows: &CpuStorage,
        rows_at: &Layout,
        biases: &CpuStorage,
        biases_at: &Layout,
        residual: &CpuStorage,
        residual_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let residual = values(residual, residual_at)?;
        let mut output = vec![0.0; residual.len()];
        let (widen_bias, narrow_bias) = values(biases, biases_at)?.split_at(self.widen.outputs());
        let widen = CpuLinear { weight: self.widen, bias: widen_bias };
        let narrow = CpuLinear { weight: self.narrow, bias: narrow_bias };
        W::feed_forward(values(rows, rows_at)?, widen, self.activation, narrow, residual, &mut output);
        Ok((CpuStorage::F32(output), residual_at.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn tensor(shape: (usize, usize), seed: f32) -> Tensor {
        let values: Vec<f32> = (0..shape.0 * shape.1).map(|i| (i as f32 * seed).sin() * 3.0).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn row(length: usize) -> Tensor {
        tensor((1, length), 0.7).squeeze(0).unwrap()
    }

    fn assert_close(got: &Tensor, expected: &Tensor) {
        let difference = (got - expected).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(difference < 4e-6, "{difference}");
    }

    #[test]
    fn fused_steps_equal_the_operations_of_candle() {
        // A copy for each, as the steps work in place.
        let rows = || tensor((5, 37), 0.31);
        let bias = row(37);
        for name in ["gelu", "gelu_tanh", "quick_gelu", "relu", "tanh", "linear"] {
            let activation = Activation::from_name(name).unwrap();
            let expected = activation.forward(&rows().broadcast_add(&bias).unwrap()).unwrap();
            assert_close(&add_bias_activate(rows(), &bias, activation).unwrap(), &expected);
        }
        let other = tensor((5, 37), 0.53);
        let expected = (rows().broadcast_add(&bias).unwrap() + &other).unwrap();
        assert_close(&add_bias_and_rows(rows(), &bias, &other).unwrap(), &expected);
        assert_close(&softmax(rows()).unwrap(), &candle_nn::ops::softmax_last_dim(&rows()).unwrap());
        let expected = candle_nn::ops::layer_norm(&rows(), &bias, &bias, 1e-5).unwrap();
        assert_close(&layer_norm(&rows(), &bias, &bias, 1e-5).unwrap(), &expected);
    }
}
