//! Learned encoder of an observation: `e = tanh(x W + b)`.

use crate::linear::{Builder, Gradient, Linear};

/// The encoder; width of its output is that of the recurrent state.
#[derive(Debug, Clone)]
pub(crate) struct Encoder {
    map: Linear,
}

impl Encoder {
    pub(crate) fn new(builder: &mut Builder, features: usize, hidden: usize) -> Self {
        Self { map: builder.linear("encoder", features, hidden, 1.0) }
    }

    /// Writes the code of normalised features.
    pub(crate) fn forward(&self, parameters: &[f64], x: &[f64], code: &mut [f64]) {
        self.map.forward(parameters, &[x], code);
        for value in code.iter_mut() {
            *value = value.tanh();
        }
    }

    /// Adds gradients; `d_code` is used up.
    pub(crate) fn backward(
        &self,
        parameters: &[f64],
        x: &[f64],
        code: &[f64],
        d_code: &mut [f64],
        gradient: &mut Gradient,
    ) {
        for (d, c) in d_code.iter_mut().zip(code) {
            *d *= 1.0 - c * c;
        }
        self.map.backward(parameters, &[x], d_code, gradient, &mut [&mut []]);
    }
}
