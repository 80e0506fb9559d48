//! Gated recurrent unit (Cho et al. 2014) in the form of `torch.nn.GRUCell`.
//!
//! `r, u, n` are the blocks of `x W_x + b_x` and `h W_h + b_h`:
//! `r = sigma(r_x + r_h)`, `u = sigma(u_x + u_h)`, `n = tanh(n_x + r n_h)`, `h' = (1 - u) n + u h`.

use crate::linear::{Builder, Gradient, Linear};

/// The unit.
#[derive(Debug, Clone)]
pub(crate) struct Gru {
    input: Linear,
    state: Linear,
    hidden: usize,
}

/// What the backward pass needs of one step.
#[derive(Debug, Clone, Default)]
pub(crate) struct GruCache {
    /// `r | u | n`.
    gates: Vec<f64>,
    /// `n_h`, the state's part of `n` before it is gated.
    new_of_state: Vec<f64>,
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl Gru {
    pub(crate) fn new(builder: &mut Builder, inputs: usize, hidden: usize) -> Self {
        Self {
            input: builder.linear("gru.input", inputs, 3 * hidden, 1.0),
            state: builder.linear("gru.state", hidden, 3 * hidden, 1.0),
            hidden,
        }
    }

    /// Writes the next state for an input given in parts.
    pub(crate) fn forward(
        &self,
        parameters: &[f64],
        parts: &[&[f64]],
        h: &[f64],
        next: &mut [f64],
        cache: &mut GruCache,
    ) {
        let n = self.hidden;
        let mut gates = vec![0.0; 3 * n];
        let mut of_state = vec![0.0; 3 * n];
        self.input.forward(parameters, parts, &mut gates);
        self.state.forward(parameters, &[h], &mut of_state);
        for (gate, part) in gates[..2 * n].iter_mut().zip(&of_state) {
            *gate = sigmoid(*gate + part);
        }
        for i in 0..n {
            gates[2 * n + i] = (gates[2 * n + i] + gates[i] * of_state[2 * n + i]).tanh();
            next[i] = (1.0 - gates[n + i]) * gates[2 * n + i] + gates[n + i] * h[i];
        }
        cache.new_of_state = of_state.split_off(2 * n);
        cache.gates = gates;
    }

    /// Adds gradients, those of the input's parts to `d_parts` and that of the state to `d_h`.
    #[allow(clippy::too_many_arguments, reason = "the arguments of one derivative")]
    pub(crate) fn backward(
        &self,
        parameters: &[f64],
        parts: &[&[f64]],
        h: &[f64],
        cache: &GruCache,
        d_next: &[f64],
        gradient: &mut Gradient,
        d_parts: &mut [&mut [f64]],
        d_h: &mut [f64],
    ) {
        let n = self.hidden;
        let (mut d_input, mut d_state) = (vec![0.0; 3 * n], vec![0.0; 3 * n]);
        for i in 0..n {
            let (r, u, new) = (cache.gates[i], cache.gates[n + i], cache.gates[2 * n + i]);
            let d_new = d_next[i] * (1.0 - u) * (1.0 - new * new);
            let d_r = d_new * cache.new_of_state[i] * r * (1.0 - r);
            let d_u = d_next[i] * (h[i] - new) * u * (1.0 - u);
            (d_input[i], d_input[n + i], d_input[2 * n + i]) = (d_r, d_u, d_new);
            (d_state[i], d_state[n + i], d_state[2 * n + i]) = (d_r, d_u, d_new * r);
            d_h[i] += d_next[i] * u;
        }
        self.input.backward(parameters, parts, &d_input, gradient, d_parts);
        self.state.backward(parameters, &[h], &d_state, gradient, &mut [d_h]);
    }
}
