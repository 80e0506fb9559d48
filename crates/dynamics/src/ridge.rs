//! Online solver of a forecast's correction: ridge regression with forgetting, solved anew at each label.
//!
//! It minimises `sum_i f^(n-i) (y_i - w.x_i)^2 + ridge |w|^2`. Few inputs, strong ones: the learned heads' mean is one of
//! them, so the weights say how far the network is to be trusted, and they begin at zero.

use crate::linear::dot;

/// Weight of a label after the next one came.
const FORGET: f64 = 0.99;

/// The sums of one regression, and its weights.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ridge {
    /// `[n, n]`, ridge left out.
    products: Vec<f64>,
    moments: Vec<f64>,
    pub(crate) weights: Vec<f64>,
    /// Forgotten sum of squared errors and of labels, for the noise.
    noise: (f64, f64),
}
crate::state::codec!(Ridge { products, moments, weights, noise });

impl Ridge {
    pub(crate) fn new(inputs: usize) -> Self {
        Self {
            products: vec![0.0; inputs * inputs],
            moments: vec![0.0; inputs],
            weights: vec![0.0; inputs],
            noise: (0.0, 0.0),
        }
    }

    pub(crate) fn fits(&self, inputs: usize) -> bool {
        self.products.len() == inputs * inputs && self.moments.len() == inputs && self.weights.len() == inputs
    }

    /// The regression's value.
    pub(crate) fn predict(&self, x: &[f64]) -> f64 {
        dot(&self.weights, x)
    }

    /// Standard deviation of [`Ridge::predict`] by the uncertainty of the weights.
    pub(crate) fn spread(&self, x: &[f64], ridge: &[f64]) -> f64 {
        let noise = if self.noise.1 > 0.0 { self.noise.0 / self.noise.1 } else { 1.0 };
        let solved = self.solve(x, ridge);
        solved.map_or(0.0, |solved| (noise * dot(&solved, x).max(0.0)).sqrt())
    }

    /// Takes a label and solves for the weights.
    pub(crate) fn learn(&mut self, x: &[f64], y: f64, ridge: &[f64]) {
        let n = x.len();
        let error = y - self.predict(x);
        self.noise = (FORGET * self.noise.0 + error * error, FORGET * self.noise.1 + 1.0);
        for i in 0..n {
            for j in 0..n {
                self.products[i * n + j] = FORGET * self.products[i * n + j] + x[i] * x[j];
            }
            self.moments[i] = FORGET * self.moments[i] + x[i] * y;
        }
        if let Some(weights) = self.solve(&self.moments, ridge) {
            self.weights = weights;
        }
    }

    /// Solves `(products + ridge) w = b` by Cholesky's factors; None if they do not exist.
    fn solve(&self, b: &[f64], ridge: &[f64]) -> Option<Vec<f64>> {
        let n = b.len();
        let mut factor = self.products.clone();
        for (i, ridge) in ridge.iter().enumerate() {
            factor[i * n + i] += ridge;
        }
        for i in 0..n {
            for j in 0..=i {
                let (above, row) = factor.split_at(i * n);
                let other = if i == j { &row[..j] } else { &above[j * n..j * n + j] };
                let value = row[j] - dot(&row[..j], other);
                if i == j && value <= 0.0 {
                    return None;
                }
                factor[i * n + j] = if i == j { value.sqrt() } else { value / factor[j * n + j] };
            }
        }
        let mut w = b.to_vec();
        for i in 0..n {
            w[i] = (w[i] - dot(&factor[i * n..i * n + i], &w[..i])) / factor[i * n + i];
        }
        for i in (0..n).rev() {
            let below: f64 = (i + 1..n).map(|k| factor[k * n + i] * w[k]).sum();
            w[i] = (w[i] - below) / factor[i * n + i];
        }
        Some(w)
    }
}

#[cfg(test)]
mod tests {
    use super::Ridge;
    use crate::random::Random;

    #[test]
    fn weights_of_a_linear_law_are_found_and_begin_at_zero() {
        let mut random = Random::new(1, 1);
        let mut model = Ridge::new(3);
        assert!(model.predict(&[1.0, 2.0, 3.0]).abs() < f64::MIN_POSITIVE);
        for _ in 0..200 {
            let x = [1.0, random.normal(), random.normal()];
            model.learn(&x, 0.5 - 2.0 * x[1] + 0.25 * x[2] + 0.01 * random.normal(), &[1e-3; 3]);
        }
        for (found, true_weight) in model.weights.iter().zip([0.5, -2.0, 0.25]) {
            assert!((found - true_weight).abs() < 0.01, "{:?}", model.weights);
        }
        assert!(model.spread(&[1.0, 0.0, 0.0], &[1e-3; 3]) < model.spread(&[1.0, 5.0, 5.0], &[1e-3; 3]));
    }
}
