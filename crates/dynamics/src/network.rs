//! The whole network: encoder, state-space model, heads; objective and gradient of a sequence of tokens.

use crate::encoder::Encoder;
use crate::heads::{Heads, Labels, Objectives, Shares};
use crate::linear::{Builder, Gradient, Tensor};
use crate::random::Random;
use crate::rssm::{Rssm, Step};
use crate::settings::Settings;

/// Weight of the divergence in the objective.
const KL_WEIGHT: f64 = 0.1;
/// Weight of the error of the rebuilt features, a mean over features and tokens.
const REBUILD_WEIGHT: f64 = 0.5;

/// The maps; parameters live in one flat vector outside.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) encoder: Encoder,
    pub(crate) rssm: Rssm,
    pub(crate) heads: Heads,
    pub(crate) tensors: Vec<Tensor>,
    free_bits: f64,
}

/// One token of a training sequence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Example<'a> {
    /// Normalised features.
    pub(crate) features: &'a [f64],
    pub(crate) labels: Labels<'a>,
}

/// Objectives of a sequence; `total` is the weighted sum that is minimised.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Losses {
    pub(crate) total: f64,
    pub(crate) kl: f64,
    pub(crate) rebuilt: f64,
    pub(crate) heads: Objectives,
    /// Number of forecasts, slopes and credits in the means.
    pub(crate) counts: [usize; 3],
}

impl Network {
    /// The maps for some settings, and their initial parameters.
    pub(crate) fn new(settings: &Settings, features: usize) -> (Self, Vec<f64>) {
        let mut builder = Builder::new(Random::new(settings.seed, 1));
        let (hidden, latent) = (settings.hidden, settings.latent);
        let encoder = Encoder::new(&mut builder, features, hidden);
        let rssm = Rssm::new(&mut builder, features, hidden, latent);
        let heads = Heads::new(
            &mut builder,
            hidden + latent,
            settings.horizons.len(),
            settings.members,
            settings.kinds.len(),
            settings.candidates.len(),
        );
        let network = Self { encoder, rssm, heads, tensors: builder.tensors, free_bits: settings.free_bits };
        (network, builder.parameters)
    }

    /// Code of normalised features.
    pub(crate) fn encode(&self, parameters: &[f64], features: &[f64]) -> Vec<f64> {
        let mut code = vec![0.0; self.rssm.hidden];
        self.encoder.forward(parameters, features, &mut code);
        code
    }

    /// One observed step; zeros as noise give the posterior's mean.
    pub(crate) fn step(&self, parameters: &[f64], state: &[f64], features: &[f64], noise: Vec<f64>) -> Step {
        self.rssm.observe(parameters, state, self.encode(parameters, features), noise)
    }

    /// Objectives of a sequence from a state that is held fixed; adds the gradient if it is asked for.
    pub(crate) fn sequence(
        &self,
        parameters: &[f64],
        state: &[f64],
        examples: &[Example<'_>],
        noise: &[f64],
        gradient: Option<&mut Gradient>,
    ) -> Losses {
        let latent = self.rssm.latent;
        let mut steps: Vec<Step> = Vec::with_capacity(examples.len());
        for (index, example) in examples.iter().enumerate() {
            let before = steps.last().map_or(state, |step| &step.next[..]);
            let noise = noise[index * latent..(index + 1) * latent].to_vec();
            steps.push(self.step(parameters, before, example.features, noise));
        }
        let mut losses = Losses::default();
        for example in examples {
            let counts = self.heads.count(&example.labels);
            losses.counts.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        let [nll, gain, credit] =
            losses.counts.map(|count| if count == 0 { 0.0 } else { 1.0 / count as f64 });
        let shares = Shares { nll, gain, credit };
        let share = 1.0 / examples.len() as f64;
        losses.kl = share * steps.iter().map(|step| self.rssm.divergence(step)).sum::<f64>();
        losses.rebuilt = share * steps.iter().zip(examples).map(|(s, e)| rebuild_error(s, e)).sum::<f64>();
        match gradient {
            Some(gradient) => self.backward(parameters, examples, &steps, &shares, &mut losses, gradient),
            None => {
                for (step, example) in steps.iter().zip(examples) {
                    let parts = [&step.next[..], &step.latent[..]];
                    add(
                        &mut losses.heads,
                        self.heads.objective(parameters, &parts, &example.labels, &shares, None),
                    );
                }
            }
        }
        let Objectives { nll, gain, credit } = losses.heads;
        losses.total = nll + gain + credit + REBUILD_WEIGHT * losses.rebuilt;
        losses.total += KL_WEIGHT * losses.kl.max(self.free_bits);
        losses
    }

    fn backward(
        &self,
        parameters: &[f64],
        examples: &[Example<'_>],
        steps: &[Step],
        shares: &Shares,
        losses: &mut Losses,
        gradient: &mut Gradient,
    ) {
        let share = 1.0 / examples.len() as f64;
        let kl = if losses.kl > self.free_bits { KL_WEIGHT * share } else { 0.0 };
        let mut d_next = vec![0.0; self.rssm.hidden];
        let mut d_latent = vec![0.0; self.rssm.latent];
        for (step, example) in steps.iter().zip(examples).rev() {
            d_latent.fill(0.0);
            let parts = [&step.next[..], &step.latent[..]];
            let mut d_parts = [&mut d_next[..], &mut d_latent[..]];
            let sink = Some((&mut *gradient, &mut d_parts[..]));
            add(&mut losses.heads, self.heads.objective(parameters, &parts, &example.labels, shares, sink));
            let scale = REBUILD_WEIGHT * share * 2.0 / example.features.len().max(1) as f64;
            let d_rebuilt: Vec<f64> =
                step.rebuilt.iter().zip(example.features).map(|(r, x)| scale * (r - x)).collect();
            let (d_state, mut d_code) =
                self.rssm.backward(parameters, step, &d_next, &mut d_latent, &d_rebuilt, kl, gradient);
            self.encoder.backward(parameters, example.features, &step.code, &mut d_code, gradient);
            d_next = d_state;
        }
    }
}

fn rebuild_error(step: &Step, example: &Example<'_>) -> f64 {
    let squares = step.rebuilt.iter().zip(example.features).map(|(r, x)| (r - x) * (r - x));
    squares.sum::<f64>() / example.features.len().max(1) as f64
}

fn add(sum: &mut Objectives, other: Objectives) {
    sum.nll += other.nll;
    sum.gain += other.gain;
    sum.credit += other.credit;
}
