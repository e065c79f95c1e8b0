//! Steps between matrix products, done in one pass over memory where that is possible: on the CPU in f32. Everywhere else
//! they are the same steps as tensor operations of candle. Owns that choice. candle's own element-wise CPU operations
//! make a new matrix each, and share one pool of spinning threads between callers, so batches on several threads would
//! wait for each other. Invariant: both ways compute the same, but for rounding.

use candle_core::{CpuStorage, CustomOp3, DType, InplaceOp1, InplaceOp2, InplaceOp3, Layout, Result, Shape, Tensor};

use super::cpu_kernels;
use super::layers::Activation;

/// Whether a tensor is computed by this file's kernels.
fn is_fused(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && tensor.dtype() == DType::F32
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
    if is_fused(&scores) {
        scores.inplace_op1(&Softmax)?;
        return Ok(scores);
    }
    if !scores.device().is_cpu() {
        return candle_nn::ops::softmax_last_dim(&scores);
    }
    // candle's CPU code sums half precision in half precision, which costs bf16 three digits at 256 tokens.
    let dtype = scores.dtype();
    candle_nn::ops::softmax_last_dim(&scores.to_dtype(DType::F32)?)?.to_dtype(dtype)
}

/// Layer norm of every row.
pub(super) fn layer_norm(rows: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f32) -> Result<Tensor> {
    if !is_fused(rows) {
        return candle_nn::ops::layer_norm(rows, weight, bias, epsilon);
    }
    rows.apply_op3_no_bwd(weight, bias, &LayerNorm(epsilon))
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
