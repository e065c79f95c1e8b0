//! Layers that work row by row: linear maps, layer norms, activations. Owns their weights' names and reading; invariant:
//! a row of the result depends on the same row of the input only.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::bf16::Bf16Matrix;
use super::fused;
use super::settings::{Products, TowerSettings};

/// A linear map with or without a bias.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
}

/// A weight `[out, in]`, as published, or ready for products in bfloat16 on the CPU.
#[derive(Clone, Debug)]
enum Weight {
    Plain(Tensor),
    Bf16(Bf16Matrix),
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
        Linear { weight: Weight::Plain(weight), bias }
    }

    /// Several maps of the same input as one, their outputs side by side. Before [`Linear::with_products`].
    pub(crate) fn side_by_side(parts: &[Linear]) -> Result<Linear> {
        let weights: Vec<&Tensor> = parts.iter().map(Linear::plain).collect::<Result<_>>()?;
        let biases: Option<Vec<&Tensor>> = parts.iter().map(|part| part.bias.as_ref()).collect();
        let bias = biases.map(|biases| Tensor::cat(&biases, 0)).transpose()?;
        Ok(Linear::new(Tensor::cat(&weights, 0)?, bias))
    }

    /// The same map with its output multiplied by a number. Before [`Linear::with_products`].
    pub(crate) fn scaled(&self, factor: f64) -> Result<Linear> {
        let bias = self.bias.as_ref().map(|bias| bias * factor).transpose()?;
        Ok(Linear::new((self.plain()? * factor)?, bias))
    }

    /// The same map, made ready for the way it will be multiplied.
    pub(crate) fn with_products(self, products: Products) -> Result<Linear> {
        match products {
            Products::InTensors => Ok(self),
            Products::Bf16OnCpu => {
                let weight = self.plain()?;
                let bias = match self.bias {
                    Some(ref bias) => bias.clone(),
                    None => Tensor::zeros(weight.dim(0)?, weight.dtype(), weight.device())?,
                };
                Ok(Linear { weight: Weight::Bf16(Bf16Matrix::pack(weight)?), bias: Some(bias) })
            }
        }
    }

    fn plain(&self) -> Result<&Tensor> {
        match &self.weight {
            Weight::Plain(weight) => Ok(weight),
            Weight::Bf16(_) => candle_core::bail!("a packed weight cannot be changed"),
        }
    }

    /// Weight and bias, where products are in bfloat16 on the CPU.
    fn bf16(&self) -> Option<(&Bf16Matrix, &Tensor)> {
        match (&self.weight, &self.bias) {
            (Weight::Bf16(weight), Some(bias)) => Some((weight, bias)),
            (Weight::Plain(_), _) | (_, None) => None,
        }
    }

    /// Outputs.
    pub(crate) fn outputs(&self) -> Result<usize> {
        match &self.weight {
            Weight::Plain(weight) => weight.dim(0),
            Weight::Bf16(weight) => Ok(weight.outputs()),
        }
    }

    /// Applies it to `[rows, in]`.
    pub(crate) fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        self.forward_activated(rows, Activation::Identity)
    }

    /// Applies it and an activation to `[rows, in]`.
    pub(crate) fn forward_activated(&self, rows: &Tensor, activation: Activation) -> Result<Tensor> {
        if let Some((weight, bias)) = self.bf16() {
            return fused::bf16_linear(rows, weight, bias, activation);
        }
        let product = rows.matmul(&self.plain()?.t()?)?;
        match &self.bias {
            Some(bias) => fused::add_bias_activate(product, bias, activation),
            None => activation.forward(&product),
        }
    }

    /// Applies it to `[rows, in]` and adds the result to `[rows, out]`.
    pub(crate) fn forward_onto(&self, residual: &Tensor, rows: &Tensor) -> Result<Tensor> {
        if let Some((weight, bias)) = self.bf16() {
            return fused::bf16_linear_onto(rows, weight, bias, residual);
        }
        let product = rows.matmul(&self.plain()?.t()?)?;
        match &self.bias {
            Some(bias) => fused::add_bias_and_rows(product, bias, residual),
            None => residual + product,
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
        if let (Some(widen), Some(narrow)) = (self.widen.bf16(), self.narrow.bf16()) {
            return fused::bf16_feed_forward(rows, widen, self.activation, narrow, residual);
        }
        self.narrow.forward_onto(residual, &self.widen.forward_activated(rows, self.activation)?)
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
