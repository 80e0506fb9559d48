//! `AdamW` (Loshchilov and Hutter 2019) with clipping by the global norm, over the flat vector of parameters.

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.99;
const EPSILON: f64 = 1e-8;
const WEIGHT_DECAY: f64 = 0.01;
const CLIP: f64 = 1.0;

/// Moments of the gradient.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AdamW {
    mean: Vec<f64>,
    square: Vec<f64>,
    updates: u64,
}
crate::state::codec!(AdamW { mean, square, updates });

impl AdamW {
    pub(crate) fn new(parameters: usize) -> Self {
        Self { mean: vec![0.0; parameters], square: vec![0.0; parameters], updates: 0 }
    }

    pub(crate) fn fits(&self, parameters: usize) -> bool {
        self.mean.len() == parameters && self.square.len() == parameters
    }

    /// One update; gives the gradient's norm before clipping. A gradient that is not finite changes nothing.
    pub(crate) fn update(&mut self, parameters: &mut [f64], gradient: &[f64], learning_rate: f64) -> f64 {
        let norm = crate::linear::dot(gradient, gradient).sqrt();
        if !norm.is_finite() {
            return norm;
        }
        self.updates = self.updates.saturating_add(1);
        let clip = if norm > CLIP { CLIP / norm } else { 1.0 };
        let updates = self.updates as f64;
        let (first, second) = (1.0 - BETA1.powf(updates), 1.0 - BETA2.powf(updates));
        let moments = self.mean.iter_mut().zip(&mut self.square);
        for ((p, g), (m, v)) in parameters.iter_mut().zip(gradient).zip(moments) {
            let g = clip * g;
            *m = BETA1 * *m + (1.0 - BETA1) * g;
            *v = BETA2 * *v + (1.0 - BETA2) * g * g;
            *p -= learning_rate * (*m / first / ((*v / second).sqrt() + EPSILON) + WEIGHT_DECAY * *p);
        }
        norm
    }
}

#[cfg(test)]
mod tests {
    use super::AdamW;

    #[test]
    fn the_first_update_is_that_of_the_formula() {
        let mut parameters = [1.0, -2.0];
        AdamW::new(2).update(&mut parameters, &[0.3, -0.4], 0.1);
        // Bias correction makes the first step the gradient's sign; decay takes 0.1 * 0.01 of the weight.
        for (found, expected) in parameters.iter().zip([1.0 - 0.1 - 0.001, -2.0 + 0.1 + 0.002]) {
            assert!((found - expected).abs() < 1e-7, "{parameters:?}");
        }
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let mut parameters = [1.0];
        let mut adamw = AdamW::new(1);
        assert!(adamw.update(&mut parameters, &[f64::NAN], 0.1).is_nan());
        assert_eq!((parameters, adamw), ([1.0], AdamW::new(1)));
    }
}
