//! Layers that work row by row: linear maps, layer norms, activations. Owns their weights' names and reading; invariant:
//! a row of the result depends on the same row of the input only.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::fused;

/// A linear map with or without a bias.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    /// `[out, in]`, as published.
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Reads `weight` and `bias`.
    pub(crate) fn read(inputs: usize, outputs: usize, weights: &VarBuilder<'_>) -> Result<Linear> {
        Ok(Linear { weight: weights.get((outputs, inputs), "weight")?, bias: Some(weights.get(outputs, "bias")?) })
    }

    /// Reads `weight`, and `bias` if there is one.
    pub(crate) fn read_projection(inputs: usize, outputs: usize, weights: &VarBuilder<'_>) -> Result<Linear> {
        let bias = weights.contains_tensor("bias").then(|| weights.get(outputs, "bias")).transpose()?;
        Ok(Linear { weight: weights.get((outputs, inputs), "weight")?, bias })
    }

    /// From tensors that are at hand.
    pub(crate) fn new(weight: Tensor, bias: Option<Tensor>) -> Linear {
        Linear { weight, bias }
    }

    /// Several maps of the same input as one, their outputs side by side.
    pub(crate) fn side_by_side(parts: &[Linear]) -> Result<Linear> {
        let weights: Vec<&Tensor> = parts.iter().map(|part| &part.weight).collect();
        let biases: Option<Vec<&Tensor>> = parts.iter().map(|part| part.bias.as_ref()).collect();
        let bias = biases.map(|biases| Tensor::cat(&biases, 0)).transpose()?;
        Ok(Linear { weight: Tensor::cat(&weights, 0)?, bias })
    }

    /// The same map with its output multiplied by a number.
    pub(crate) fn scaled(&self, factor: f64) -> Result<Linear> {
        let bias = self.bias.as_ref().map(|bias| bias * factor).transpose()?;
        Ok(Linear { weight: (&self.weight * factor)?, bias })
    }

    /// Outputs.
    pub(crate) fn outputs(&self) -> Result<usize> {
        self.weight.dim(0)
    }

    /// Applies it to `[rows, in]`.
    pub(crate) fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        self.forward_activated(rows, Activation::Identity)
    }

    /// Applies it and an activation to `[rows, in]`.
    pub(crate) fn forward_activated(&self, rows: &Tensor, activation: Activation) -> Result<Tensor> {
        let product = rows.matmul(&self.weight.t()?)?;
        match &self.bias {
            Some(bias) => fused::add_bias_activate(product, bias, activation),
            None => activation.forward(&product),
        }
    }

    /// Applies it to `[rows, in]` and adds the result to `[rows, out]`.
    pub(crate) fn forward_onto(&self, residual: &Tensor, rows: &Tensor) -> Result<Tensor> {
        let product = rows.matmul(&self.weight.t()?)?;
        match &self.bias {
            Some(bias) => fused::add_bias_and_rows(product, bias, residual),
            None => residual + product,
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
