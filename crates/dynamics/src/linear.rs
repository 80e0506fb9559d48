//! Affine maps over one flat vector of parameters, with their hand-written backward pass.

use crate::random::Random;

/// One tensor in the flat vector of parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Name, as in `gru.input.weight`.
    pub name: String,
    /// Shape: `[inputs, outputs]` of a weight, `[outputs]` of a bias.
    pub shape: Vec<usize>,
    /// Place of its first element.
    pub offset: usize,
}

impl Tensor {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Hands out places in the flat vector and fills them.
pub(crate) struct Builder {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) parameters: Vec<f64>,
    random: Random,
}

impl Builder {
    pub(crate) fn new(random: Random) -> Self {
        Self { tensors: Vec::new(), parameters: Vec::new(), random }
    }

    /// A map whose weights are normal with standard deviation `scale / sqrt(inputs)`, its bias zero.
    pub(crate) fn linear(&mut self, name: &str, inputs: usize, outputs: usize, scale: f64) -> Linear {
        let weight = self.parameters.len();
        let deviation = scale / (inputs as f64).sqrt();
        for _ in 0..inputs * outputs {
            self.parameters.push(deviation * self.random.normal());
        }
        let bias = self.parameters.len();
        self.parameters.resize(bias + outputs, 0.0);
        let named = |part, shape, offset| Tensor { name: format!("{name}.{part}"), shape, offset };
        self.tensors.push(named("weight", vec![inputs, outputs], weight));
        self.tensors.push(named("bias", vec![outputs], bias));
        Linear { weight, bias, inputs, outputs }
    }
}

/// `y = x W + b` with W `[inputs, outputs]`, row-major.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    weight: usize,
    bias: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

impl Linear {
    /// Writes `y` for an input given in parts that follow one another.
    pub(crate) fn forward(&self, parameters: &[f64], parts: &[&[f64]], y: &mut [f64]) {
        y.copy_from_slice(&parameters[self.bias..self.bias + self.outputs]);
        if self.outputs == 0 {
            return;
        }
        let weight = &parameters[self.weight..self.weight + self.inputs * self.outputs];
        let inputs = parts.iter().flat_map(|part| part.iter());
        for (row, &x) in weight.chunks_exact(self.outputs).zip(inputs) {
            for (y, w) in y.iter_mut().zip(row) {
                *y += x * w;
            }
        }
    }

    /// Adds the gradients of weight and bias to `gradient`, and those of each part of the input to `d_parts`.
    ///
    /// An empty slice in `d_parts` says that nobody wants the gradient of that part.
    pub(crate) fn backward(
        &self,
        parameters: &[f64],
        parts: &[&[f64]],
        dy: &[f64],
        gradient: &mut [f64],
        d_parts: &mut [&mut [f64]],
    ) {
        for (g, d) in gradient[self.bias..self.bias + self.outputs].iter_mut().zip(dy) {
            *g += d;
        }
        let mut row = self.weight;
        for (part, d_part) in parts.iter().zip(d_parts) {
            for (index, &x) in part.iter().enumerate() {
                for (g, d) in gradient[row..row + self.outputs].iter_mut().zip(dy) {
                    *g += x * d;
                }
                if let Some(d_x) = d_part.get_mut(index) {
                    *d_x += dot(&parameters[row..row + self.outputs], dy);
                }
                row += self.outputs;
            }
        }
    }
}

/// Inner product in four lanes, so that the compiler may use vector registers; the order of sums is fixed.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_lanes, b_lanes) = (a.chunks_exact(4), b.chunks_exact(4));
    let tail: f64 = a_lanes.remainder().iter().zip(b_lanes.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0; 4];
    for (a, b) in a_lanes.zip(b_lanes) {
        for lane in 0..4 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + tail
}
