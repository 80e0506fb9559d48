//! A look inside, so that another implementation can be held against this one.

use crate::dynamics::Dynamics;
use crate::heads::Labels;
use crate::linear::Gradient;
use crate::network::Example;
use crate::random::Random;

/// One observed step from the newest token on, with all that it gave.
#[derive(Debug, Clone)]
pub struct StepView {
    /// Recurrent state before, `[hidden]`.
    pub state: Vec<f64>,
    /// Normalised features of the newest token.
    pub features: Vec<f64>,
    /// Noise of the latent, `[latent]`.
    pub noise: Vec<f64>,
    /// Recurrent state after.
    pub next: Vec<f64>,
    /// The latent drawn.
    pub latent: Vec<f64>,
    /// Rebuilt features.
    pub rebuilt: Vec<f64>,
    /// Divergence of posterior and prior in nats.
    pub kl: f64,
    /// `means | log-sigmas` by horizon of each member, `[members, 2 horizons]`.
    pub loss: Vec<Vec<f64>>,
    /// Log-gain of each kind.
    pub gain: Vec<f64>,
    /// Mean, log-sigma and log-odds of each candidate.
    pub credit: Vec<[f64; 3]>,
}

/// The last tokens as a training sequence, with objectives and gradient.
#[derive(Debug, Clone)]
pub struct TrainingView {
    /// Recurrent state before the first token.
    pub state: Vec<f64>,
    /// Normalised features, `[tokens, features]`.
    pub features: Vec<Vec<f64>>,
    /// Error of the fit in its scale by horizon, NaN where not due, `[tokens, horizons]`.
    pub targets: Vec<Vec<f64>>,
    /// Bootstrap weights, `[tokens, members]`.
    pub weights: Vec<Vec<f64>>,
    /// Descent slopes by kind, NaN where not measured, `[tokens, kinds]`.
    pub slopes: Vec<Vec<f64>>,
    /// Labels: token, candidate, value, whether positive, log-odds before.
    pub credits: Vec<(usize, usize, f64, bool, f64)>,
    /// Noise of the latents, `[tokens, latent]`.
    pub noise: Vec<Vec<f64>>,
    /// Objectives: total, nll, kl, rebuilt, gain, credit.
    pub losses: [f64; 6],
    /// Gradient of the total, in the order of the parameters.
    pub gradient: Vec<f64>,
}

impl Dynamics {
    /// A rollout without observations: normalised features of the next tokens, latents drawn from the prior by `seed`.
    pub fn imagine(&self, tokens: usize, seed: u64) -> Vec<Vec<f64>> {
        let mut random = Random::new(seed, 3);
        let mut state = self.tracks.state.clone();
        let mut features = Vec::with_capacity(tokens);
        for _ in 0..tokens {
            let noise: Vec<f64> = (0..self.settings.latent).map(|_| random.normal()).collect();
            let encode = |rebuilt: &[f64]| self.network.encode(&self.parameters, rebuilt);
            let step = self.network.rssm.imagine(&self.parameters, &state, &noise, encode);
            features.push(step.rebuilt);
            state = step.next;
        }
        features
    }

    /// One observed step from the newest token's features with drawn noise; None before a token.
    pub fn inspect(&self) -> Option<StepView> {
        let token = self.history.back()?;
        let mut random = Random::new(self.settings.seed, 4);
        let noise: Vec<f64> = (0..self.settings.latent).map(|_| random.normal()).collect();
        let step = self.network.step(&self.parameters, &token.before, &token.features, noise.clone());
        let parts = [&step.next[..], &step.latent[..]];
        let member = |index| {
            let moments = self.network.heads.loss(&self.parameters, index, &parts);
            moments.iter().map(|m| m.0).chain(moments.iter().map(|m| m.1)).collect()
        };
        Some(StepView {
            state: token.before.clone(),
            features: token.features.clone(),
            noise,
            kl: self.network.rssm.divergence(&step),
            loss: (0..self.settings.members).map(member).collect(),
            gain: self.network.heads.gain(&self.parameters, &parts),
            credit: self.network.heads.credit(&self.parameters, &parts),
            next: step.next,
            latent: step.latent,
            rebuilt: step.rebuilt,
        })
    }

    /// Objectives and gradient on the last tokens, as training would see them; None before a token.
    pub fn inspect_training(&self) -> Option<TrainingView> {
        let first = self.history.len() - self.settings.bptt.min(self.history.len());
        let state = self.history.get(first)?.before.clone();
        let tokens: Vec<_> = self.history.range(first..).collect();
        let mut random = Random::new(self.settings.seed, 5);
        let noise: Vec<f64> = (0..tokens.len() * self.settings.latent).map(|_| random.normal()).collect();
        let examples: Vec<Example<'_>> = tokens
            .iter()
            .map(|token| Example {
                features: &token.features,
                labels: Labels {
                    targets: &token.targets,
                    weights: &token.weights,
                    slopes: &token.slopes,
                    credits: &token.credits,
                },
            })
            .collect();
        let mut gradient = Gradient::default();
        let losses = self.network.sequence(&self.parameters, &state, &examples, &noise, Some(&mut gradient));
        let missing = vec![f64::NAN; self.settings.kinds.len()];
        let heads = losses.heads;
        Some(TrainingView {
            state,
            features: tokens.iter().map(|token| token.features.clone()).collect(),
            targets: tokens
                .iter()
                .map(|token| token.targets.iter().map(|target| target.unwrap_or(f64::NAN)).collect())
                .collect(),
            weights: tokens.iter().map(|token| token.weights.clone()).collect(),
            slopes: tokens
                .iter()
                .map(|token| if token.slopes.is_empty() { missing.clone() } else { token.slopes.clone() })
                .collect(),
            credits: tokens
                .iter()
                .enumerate()
                .flat_map(|(index, token)| {
                    token.credits.iter().map(move |c| (index, c.candidate, c.value, c.positive, c.log_odds))
                })
                .collect(),
            noise: noise.chunks_exact(self.settings.latent).map(<[f64]>::to_vec).collect(),
            losses: [losses.total, heads.nll, losses.kl, losses.rebuilt, heads.gain, heads.credit],
            gradient: gradient.finish(self.parameters.len()),
        })
    }
}
