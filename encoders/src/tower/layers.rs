//! Layers that work row by row: linear maps, layer norms, activations. Owns their weights' names and reading; invariant:
//! a row of the result depends on the same row of the input only.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::bf16::Bf16Matrix;
use super::cpu_linear::CpuWeight;
#[cfg(target_arch = "x86_64")]
use super::f32_tiles::SplitMatrix;
use super::fused;
use super::settings::{Products, TowerSettings};

/// A linear map with or without a bias.
#[derive(Clone, Debug)]
pub(crate) struct Linear(Form);

/// A map's weight `[out, in]` and bias, for the way in which it is multiplied.
#[derive(Clone, Debug)]
enum Form {
    /// As published, for products of tensors.
    Plain { weight: Tensor, bias: Option<Tensor> },
    /// In bfloat16 on the CPU.
    Bf16(PackedLinear<Bf16Matrix>),
    /// In f32 by tiles on the CPU.
    #[cfg(target_arch = "x86_64")]
    F32(PackedLinear<SplitMatrix>),
}

/// A weight that was packed, and its bias.
#[derive(Clone, Debug)]
pub(super) struct PackedLinear<W> {
    /// Weight `[out, in]`.
    pub(super) weight: W,
    /// Bias `[out]`; zeros where there was none.
    pub(super) bias: Tensor,
}

impl Linear {
    /// Reads `weight` and `bias`.
    pub(crate) fn read(inputs: usize, outputs: usize, weights: &VarBuilder<'_>) -> Result<Linear> {
        Ok(Linear::new(weights.get((outputs, inputs), "weight")?, Some(weights.get(outputs, "bias")?)))
    }

    /// Reads `weight`, and `bias` if there is one.
    pub(crate) fn read_projection(inputs: usize, outputs: usize, weights: &VarBuilder<'_>) -> Result<Linear> {
        let bias = weights.contains_tensor("bias").then(|| weights.get(outputs, "bias")).transpose()?;
        Ok(Linear::new(weights.get((outputs, inputs), "weight")?, bias))
    }

    /// From tensors that are at hand.
    pub(crate) fn new(weight: Tensor, bias: Option<Tensor>) -> Linear {
        Linear(Form::Plain { weight, bias })
    }

    /// Several maps of the same input as one, their outputs side by side. Before [`Linear::with_products`].
    pub(crate) fn side_by_side(parts: &[Linear]) -> Result<Linear> {
        let parts: Vec<_> = parts.iter().map(Linear::plain).collect::<Result<_>>()?;
        let weights: Vec<&Tensor> = parts.iter().map(|(weight, _)| *weight).collect();
        let biases: Option<Vec<&Tensor>> = parts.iter().map(|(_, bias)| *bias).collect();
        let bias = biases.map(|biases| Tensor::cat(&biases, 0)).transpose()?;
        Ok(Linear::new(Tensor::cat(&weights, 0)?, bias))
    }

    /// The same map with its output multiplied by a number. Before [`Linear::with_products`].
    pub(crate) fn scaled(&self, factor: f64) -> Result<Linear> {
        let (weight, bias) = self.plain()?;
        let bias = bias.map(|bias| bias * factor).transpose()?;
        Ok(Linear::new((weight * factor)?, bias))
    }

    /// The same map, made ready for the way it will be multiplied.
    pub(crate) fn with_products(self, products: Products) -> Result<Linear> {
        let (weight, bias) = self.plain()?;
        let packed_bias = || match bias {
            Some(bias) => Ok(bias.clone()),
            None => Tensor::zeros(weight.dim(0)?, weight.dtype(), weight.device()),
        };
        let form = match products {
            Products::InTensors => None,
            Products::Bf16OnCpu => {
                Some(Form::Bf16(PackedLinear { weight: Bf16Matrix::pack(weight)?, bias: packed_bias()? }))
            }
            #[cfg(target_arch = "x86_64")]
            Products::F32InTiles => match SplitMatrix::pack(weight)? {
                Some(weight) => Some(Form::F32(PackedLinear { weight, bias: packed_bias()? })),
                None => None,
            },
        };
        Ok(form.map_or(self, Linear))
    }

    fn plain(&self) -> Result<(&Tensor, Option<&Tensor>)> {
        let Form::Plain { weight, bias } = &self.0 else { candle_core::bail!("a packed weight cannot be changed") };
        Ok((weight, bias.as_ref()))
    }

    /// Outputs.
    pub(crate) fn outputs(&self) -> Result<usize> {
        match &self.0 {
            Form::Plain { weight, .. } => weight.dim(0),
            Form::Bf16(packed) => Ok(packed.weight.outputs()),
            #[cfg(target_arch = "x86_64")]
            Form::F32(packed) => Ok(packed.weight.outputs()),
        }
    }

    /// Applies it to `[rows, in]`.
    pub(crate) fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        self.forward_activated(rows, Activation::Identity)
    }

    /// Applies it and an activation to `[rows, in]`.
    pub(crate) fn forward_activated(&self, rows: &Tensor, activation: Activation) -> Result<Tensor> {
        match &self.0 {
            Form::Plain { weight, bias: Some(bias) } => {
                fused::add_bias_activate(rows.matmul(&weight.t()?)?, bias, activation)
            }
            Form::Plain { weight, bias: None } => activation.forward(&rows.matmul(&weight.t()?)?),
            Form::Bf16(packed) => fused::cpu_linear(rows, packed, activation),
            #[cfg(target_arch = "x86_64")]
            Form::F32(packed) => fused::cpu_linear(rows, packed, activation),
        }
    }

    /// Applies it to `[rows, in]` and adds the result to `[rows, out]`.
    pub(crate) fn forward_onto(&self, residual: &Tensor, rows: &Tensor) -> Result<Tensor> {
        match &self.0 {
            Form::Plain { weight, bias: Some(bias) } => {
                fused::add_bias_and_rows(rows.matmul(&weight.t()?)?, bias, residual)
            }
            Form::Plain { weight, bias: None } => residual + rows.matmul(&weight.t()?)?,
            Form::Bf16(packed) => fused::cpu_linear_onto(rows, packed, residual),
            #[cfg(target_arch = "x86_64")]
            Form::F32(packed) => fused::cpu_linear_onto(rows, packed, residual),
        }
    }
}

/// The feed-forward part of a block: wider, activation, narrower.
#[derive(Clone, Debug)]
pub(crate) struct FeedForward {
    widen: Linear,
    activation: Activation,
    narrow: Linear,
}

impl FeedForward {
    /// Reads its two linear maps.
    pub(crate) fn read(
        settings: &TowerSettings,
        widen: &VarBuilder<'_>,
        narrow: &VarBuilder<'_>,
    ) -> Result<FeedForward> {
        let TowerSettings { hidden, intermediate, activation, products, .. } = *settings;
        Ok(FeedForward {
            widen: Linear::read(hidden, intermediate, widen)?.with_products(products)?,
            activation,
            narrow: Linear::read(intermediate, hidden, narrow)?.with_products(products)?,
        })
    }

    /// Applies it to every row and adds the result to the residual.
    pub(crate) fn forward_onto(&self, residual: &Tensor, rows: &Tensor) -> Result<Tensor> {
        match (&self.widen.0, &self.narrow.0) {
            (Form::Bf16(widen), Form::Bf16(narrow)) => {
                fused::cpu_feed_forward(rows, widen, self.activation, narrow, residual)
            }
            #[cfg(target_arch = "x86_64")]
            (Form::F32(widen), Form::F32(narrow)) => {
                fused::cpu_feed_forward(rows, widen, self.activation, narrow, residual)
            }
            _ => self.narrow.forward_onto(residual, &self.widen.forward_activated(rows, self.activation)?),
        }
    }
}

/// Layer normalisation.
#[derive(Clone, Debug)]
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f32,
}

impl LayerNorm {
    /// Reads `weight` and `bias`, or `gamma` and `beta` as checkpoints converted from TensorFlow call them.
    pub(crate) fn read(size: usize, epsilon: f64, weights: &VarBuilder<'_>) -> Result<LayerNorm> {
        let (weight, bias) = if weights.contains_tensor("gamma") { ("gamma", "beta") } else { ("weight", "bias") };
        let epsilon = epsilon as f32;
        Ok(LayerNorm { weight: weights.get(size, weight)?, bias: weights.get(size, bias)?, epsilon })
    }

    /// Applies it to every row.
    pub(crate) fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        fused::layer_norm(rows, &self.weight, &self.bias, self.epsilon)
    }
}

/// Activation functions, by the names of transformers' `hidden_act`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// Gaussian error linear unit with the error function.
    Gelu,
    /// The same with the approximation by the hyperbolic tangent.
    GeluTanh,
    /// `x · sigmoid(1.702 x)`, of the first CLIP models.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// Hyperbolic tangent.
    Tanh,
    /// No activation.
    Identity,
}

impl Activation {
    /// The activation of that name in transformers (`ACT2FN`), if it is one of these.
    pub(crate) fn from_name(name: &str) -> Option<Activation> {
        match name {
            "gelu" | "gelu_python" => Some(Activation::Gelu),
            "gelu_tanh" | "gelu_pytorch_tanh" | "gelu_new" | "gelu_python_tanh" => Some(Activation::GeluTanh),
            "quick_gelu" => Some(Activation::QuickGelu),
            "relu" => Some(Activation::Relu),
            "tanh" => Some(Activation::Tanh),
            "linear" => Some(Activation::Identity),
            _ => None,
        }
    }

    /// Applies it to every value, with candle's operations.
    pub(crate) fn forward(self, values: &Tensor) -> Result<Tensor> {
        match self {
            Activation::Gelu => values.gelu_erf(),
            Activation::GeluTanh => values.gelu(),
            Activation::QuickGelu => values * candle_nn::ops::sigmoid(&(values * 1.702)?)?,
            Activation::Relu => values.relu(),
            Activation::Tanh => values.tanh(),
            Activation::Identity => Ok(values.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn activations_follow_their_formulas() {
        let inputs = [-6.0f32, -1.5, -0.3, 0.0, 0.2, 1.0, 4.5];
        let tensor = Tensor::new(&inputs, &Device::Cpu).unwrap();
        let tanh_gelu =
            |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh());
        let formulas: [(&str, &dyn Fn(f64) -> f64); 5] = [
            ("quick_gelu", &|x| x / (1.0 + (-1.702 * x).exp())),
            ("gelu_pytorch_tanh", &tanh_gelu),
            ("relu", &|x| x.max(0.0)),
            ("tanh", &f64::tanh),
            ("linear", &|x| x),
        ];
        for (name, formula) in formulas {
            let got = Activation::from_name(name).unwrap().forward(&tensor).unwrap().to_vec1::<f32>().unwrap();
            for (got, input) in got.iter().zip(inputs) {
                let expected = formula(f64::from(input));
                assert!((f64::from(*got) - expected).abs() < 1e-6, "{name}({input}) = {got}, expected {expected}");
            }
        }
        // Known values of x · Φ(x).
        let gelu = Activation::Gelu.forward(&Tensor::new(&[1.0f32, -1.0, 3.0], &Device::Cpu).unwrap()).unwrap();
        for (got, expected) in gelu.to_vec1::<f32>().unwrap().iter().zip([0.841_344_7, -0.158_655_25, 2.995_950_3]) {
            assert!((got - expected).abs() < 1e-6, "{got} {expected}");
        }
    }
}
