//! Online solver of a forecast's correction: ridge regression with forgetting, solved anew at each label.
//!
//! It minimises `sum_i f^(n-i) (y_i - w.x_i)^2 + sum_j pull_j (w_j - prior_j)^2`. Few inputs, strong ones: the learned heads'
//! mean is one of them, so its weight says how far the network is to be trusted.

use crate::linear::dot;

/// Weight of a label after the next one came.
const FORGET: f64 = 0.98;

/// Where the weights begin, and how strongly each is pulled back there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prior<'a> {
    pub(crate) weights: &'a [f64],
    pub(crate) pulls: &'a [f64],
}

/// The sums of one regression, and its weights.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ridge {
    /// `[n, n]`, without the prior.
    products: Vec<f64>,
    moments: Vec<f64>,
    pub(crate) weights: Vec<f64>,
    /// Forgotten sum of squared errors and of labels, for the noise.
    noise: (f64, f64),
}
crate::state::codec!(Ridge { products, moments, weights, noise });

impl Ridge {
    pub(crate) fn new(prior: &Prior<'_>) -> Self {
        let inputs = prior.weights.len();
        Self {
            products: vec![0.0; inputs * inputs],
            moments: vec![0.0; inputs],
            weights: prior.weights.to_vec(),
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
    pub(crate) fn spread(&self, x: &[f64], prior: &Prior<'_>) -> f64 {
        let noise = if self.noise.1 > 0.0 { self.noise.0 / self.noise.1 } else { 1.0 };
        let solved = self.solve(x, prior.pulls);
        solved.map_or(0.0, |solved| (noise * dot(&solved, x).max(0.0)).sqrt())
    }

    /// Takes a label and solves for the weights.
    pub(crate) fn learn(&mut self, x: &[f64], y: f64, prior: &Prior<'_>) {
        let n = x.len();
        let error = y - self.predict(x);
        self.noise = (FORGET * self.noise.0 + error * error, FORGET * self.noise.1 + 1.0);
        for i in 0..n {
            for j in 0..n {
                self.products[i * n + j] = FORGET * self.products[i * n + j] + x[i] * x[j];
            }
            self.moments[i] = FORGET * self.moments[i] + x[i] * y;
        }
        let pulled = self.moments.iter().zip(prior.weights.iter().zip(prior.pulls));
        let right: Vec<f64> = pulled.map(|(moment, (weight, pull))| moment + pull * weight).collect();
        if let Some(weights) = self.solve(&right, prior.pulls) {
            self.weights = weights;
        }
    }

    /// Solves `(products + pulls) w = b` by Cholesky's factors; None if they do not exist.
    fn solve(&self, b: &[f64], pulls: &[f64]) -> Option<Vec<f64>> {
        let n = b.len();
        let mut factor = self.products.clone();
        for (i, pull) in pulls.iter().enumerate() {
            factor[i * n + i] += pull;
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
    use super::{Prior, Ridge};
    use crate::random::Random;

    #[test]
    fn weights_of_a_linear_law_are_found_and_begin_at_the_prior() {
        let mut random = Random::new(1, 1);
        let prior = Prior { weights: &[0.0, 1.0, 0.0], pulls: &[1e-3; 3] };
        let mut model = Ridge::new(&prior);
        assert!((model.predict(&[1.0, 2.0, 3.0]) - 2.0).abs() < 1e-12);
        for _ in 0..200 {
            let x = [1.0, random.normal(), random.normal()];
            model.learn(&x, 0.5 - 2.0 * x[1] + 0.25 * x[2] + 0.01 * random.normal(), &prior);
        }
        for (found, true_weight) in model.weights.iter().zip([0.5, -2.0, 0.25]) {
            assert!((found - true_weight).abs() < 0.01, "{:?}", model.weights);
        }
        assert!(model.spread(&[1.0, 0.0, 0.0], &prior) < model.spread(&[1.0, 5.0, 5.0], &prior));
    }
}
