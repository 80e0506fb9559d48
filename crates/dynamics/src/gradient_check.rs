//! The hand-written gradient against central differences, for every tensor.

use crate::heads::{CreditLabel, Labels};
use crate::linear::Gradient;
use crate::network::{Example, Losses, Network};
use crate::random::Random;
use crate::settings::Settings;

const FEATURES: usize = 7;
const TOKENS: usize = 5;

/// One token's labels, so that every objective has several terms and some are missing.
struct Sample {
    features: Vec<f64>,
    targets: Vec<Option<f64>>,
    weights: Vec<f64>,
    slopes: Vec<f64>,
    credits: Vec<CreditLabel>,
}

struct Problem {
    network: Network,
    parameters: Vec<f64>,
    state: Vec<f64>,
    samples: Vec<Sample>,
    noise: Vec<f64>,
}

impl Problem {
    fn new(free_bits: f64) -> Self {
        let mut settings = Settings { hidden: 6, latent: 3, members: 2, free_bits, ..Settings::default() };
        settings.horizons = vec![10, 30];
        settings.candidates = vec![0.5, 1.0];
        let (network, mut parameters) = Network::new(&settings, FEATURES);
        let mut random = Random::new(7, 7);
        let normals = |random: &mut Random, n: usize| (0..n).map(|_| random.normal()).collect::<Vec<_>>();
        // Layers that begin at zero would hide the gradients of those before them.
        for p in &mut parameters {
            *p += 0.2 * random.normal();
        }
        let samples = (0..TOKENS)
            .map(|t| Sample {
                features: normals(&mut random, FEATURES),
                targets: vec![Some(random.normal()), (t < 3).then(|| random.normal())],
                weights: vec![0.3 + random.uniform(), 0.3 + random.uniform()],
                slopes: if t % 2 == 0 { normals(&mut random, 2) } else { Vec::new() },
                credits: (0..t % 3)
                    .map(|c| CreditLabel {
                        candidate: c,
                        value: random.normal(),
                        positive: c == 0,
                        log_odds: 0.3,
                    })
                    .collect(),
            })
            .collect();
        let (state, noise) = (normals(&mut random, 6), normals(&mut random, 3 * TOKENS));
        Self { network, parameters, state, samples, noise }
    }

    fn losses(&self, parameters: &[f64], gradient: Option<&mut Gradient>) -> Losses {
        let examples: Vec<Example<'_>> = self
            .samples
            .iter()
            .map(|s| Example {
                features: &s.features,
                labels: Labels {
                    targets: &s.targets,
                    weights: &s.weights,
                    slopes: &s.slopes,
                    credits: &s.credits,
                },
            })
            .collect();
        self.network.sequence(parameters, &self.state, &examples, &self.noise, gradient)
    }
}

#[test]
fn the_gradient_of_every_tensor_is_that_of_finite_differences() {
    let problem = Problem::new(0.0);
    let mut tape = Gradient::default();
    let losses = problem.losses(&problem.parameters, Some(&mut tape));
    assert!(losses.kl > 0.0 && losses.counts.iter().all(|count| *count > 0), "{losses:?}");
    let gradient = tape.finish(problem.parameters.len());
    let step = 1e-5;
    let mut parameters = problem.parameters.clone();
    for tensor in &problem.network.tensors {
        let (mut wrong, mut size) = (0.0_f64, 0.0_f64);
        for index in tensor.offset..tensor.offset + tensor.len() {
            let kept = parameters[index];
            parameters[index] = kept + step;
            let above = problem.losses(&parameters, None).total;
            parameters[index] = kept - step;
            let below = problem.losses(&parameters, None).total;
            parameters[index] = kept;
            let numeric = (above - below) / (2.0 * step);
            wrong = wrong.max((numeric - gradient[index]).abs());
            size = size.max(numeric.abs());
        }
        assert!(size > 1e-6, "{} has no gradient", tensor.name);
        assert!(wrong <= 1e-5 * size.max(1e-3), "{}: {wrong:e} of {size:e}", tensor.name);
    }
}

#[test]
fn divergence_below_the_free_bits_moves_nothing() {
    let problem = Problem::new(100.0);
    let mut free = Gradient::default();
    let losses = problem.losses(&problem.parameters, Some(&mut free));
    assert!(losses.kl < 100.0);
    let free = free.finish(problem.parameters.len());
    let prior = problem.network.tensors.iter().find(|tensor| tensor.name == "prior.weight").unwrap();
    assert!(free[prior.offset..prior.offset + prior.len()].iter().all(|value| *value == 0.0));
}

#[test]
fn objectives_are_the_same_with_and_without_a_gradient() {
    let problem = Problem::new(1.0);
    let with = problem.losses(&problem.parameters, Some(&mut Gradient::default()));
    let without = problem.losses(&problem.parameters, None);
    assert!((with.total - without.total).abs() < 1e-12);
    assert!((with.heads.nll - without.heads.nll).abs() < 1e-12);
}
