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
        Linear { index: self.tensors.len() / 2 - 1, weight, bias, inputs, outputs }
    }
}

/// The gradient of all parameters over a sequence.
///
/// Each map keeps its inputs and the gradients of its outputs; the products that give the gradient of its weight are
/// made once for all steps, which reads and writes that gradient once instead of once a step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gradient {
    tapes: Vec<Tape>,
}

/// What one map saw: `x [steps, inputs]` and `dy [steps, outputs]`.
#[derive(Debug, Clone, Default)]
struct Tape {
    weight: usize,
    bias: usize,
    inputs: usize,
    outputs: usize,
    x: Vec<f64>,
    dy: Vec<f64>,
}

impl Gradient {
    fn tape(&mut self, map: &Linear) -> &mut Tape {
        if self.tapes.len() <= map.index {
            self.tapes.resize_with(map.index + 1, Tape::default);
        }
        let tape = &mut self.tapes[map.index];
        (tape.weight, tape.bias, tape.inputs, tape.outputs) = (map.weight, map.bias, map.inputs, map.outputs);
        tape
    }

    /// The gradient in the order of the parameters, of which there are `parameters`.
    pub(crate) fn finish(&self, parameters: usize) -> Vec<f64> {
        let mut gradient = vec![0.0; parameters];
        for tape in self.tapes.iter().filter(|tape| tape.outputs > 0) {
            let n = tape.outputs;
            for dy in tape.dy.chunks_exact(n) {
                add_scaled(&mut gradient[tape.bias..tape.bias + n], 1.0, dy);
            }
            for input in 0..tape.inputs {
                let row = &mut gradient[tape.weight + input * n..tape.weight + (input + 1) * n];
                let x = |step: usize| tape.x[step * tape.inputs + input];
                let blocks = tape.dy.chunks_exact(4 * n);
                let done = 4 * blocks.len();
                for (block, dy) in blocks.enumerate() {
                    add_four(row, [0, 1, 2, 3].map(|step| x(4 * block + step)), dy);
                }
                for (step, dy) in tape.dy.chunks_exact(n).enumerate().skip(done) {
                    add_scaled(row, x(step), dy);
                }
            }
        }
        gradient
    }
}

/// `y += scale x`.
fn add_scaled(y: &mut [f64], scale: f64, x: &[f64]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += scale * x;
    }
}

/// `y += scales . rows` for four rows that follow one another.
fn add_four(y: &mut [f64], scales: [f64; 4], rows: &[f64]) {
    let width = y.len();
    let (early, late) = rows.split_at(2 * width);
    let (first, second) = early.split_at(width);
    let (third, fourth) = late.split_at(width);
    for ((((y, p), q), r), s) in y.iter_mut().zip(first).zip(second).zip(third).zip(fourth) {
        *y += (scales[0] * p + scales[1] * q) + (scales[2] * r + scales[3] * s);
    }
}

/// `y = x W + b` with W `[inputs, outputs]`, row-major.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    index: usize,
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
        let x = parts.concat();
        let blocks = weight.chunks_exact(4 * self.outputs);
        let rest = blocks.remainder();
        for (rows, x) in blocks.zip(x.chunks_exact(4)) {
            add_four(y, [x[0], x[1], x[2], x[3]], rows);
        }
        for (row, &x) in rest.chunks_exact(self.outputs).zip(x.chunks_exact(4).remainder()) {
            add_scaled(y, x, row);
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
        gradient: &mut Gradient,
        d_parts: &mut [&mut [f64]],
    ) {
        if self.outputs == 0 {
            return;
        }
        let tape = gradient.tape(self);
        tape.dy.extend_from_slice(dy);
        let mut rows = parameters[self.weight..].chunks_exact(self.outputs);
        for (part, d_part) in parts.iter().zip(d_parts) {
            tape.x.extend_from_slice(part);
            if d_part.is_empty() {
                rows.by_ref().take(part.len()).for_each(drop);
            }
            for (d_x, row) in d_part.iter_mut().zip(rows.by_ref()) {
                *d_x += dot(row, dy);
            }
        }
    }
}

/// Inner product in eight lanes, so that the compiler may use vector registers; the order of sums is fixed.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let (a_lanes, b_lanes) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f64 = a_lanes.remainder().iter().zip(b_lanes.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0; LANES];
    for (a, b) in a_lanes.zip(b_lanes) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7])) + tail
}
