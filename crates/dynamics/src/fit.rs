//! Training: truncated backpropagation through time over the last tokens and over a replayed stretch of the past.

use crate::adamw::AdamW;
use crate::heads::Labels;
use crate::linear::Gradient;
use crate::network::{Example, Losses, Network};
use crate::random::Random;
use crate::token::History;

/// What one token's training gave: means over its updates, None where nothing was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Report {
    /// Negative log-likelihood of due forecasts in units of the fit's scale, without its constant.
    pub nll: Option<f64>,
    /// Divergence of posterior and prior, nats per token.
    pub kl: Option<f64>,
    /// Norm of the gradient before clipping.
    pub grad_norm: Option<f64>,
    /// Objective of the gains.
    pub gain_loss: Option<f64>,
    /// Objective of the credit heads.
    pub credit_loss: Option<f64>,
    /// Mean squared error of the rebuilt normalised features.
    pub rebuilt: Option<f64>,
}

/// Which tokens a backward pass reads: the last ones, or a stretch anywhere.
fn stretch(history: &History, length: usize, random: Option<&mut Random>) -> std::ops::Range<usize> {
    let length = length.min(history.len());
    let last = history.len() - length;
    let start = random.map_or(last, |random| random.below(last + 1));
    start..start + length
}

/// One update, on the last `length` tokens or on a stretch of the past.
pub(crate) fn train(
    network: &Network,
    parameters: &mut [f64],
    adamw: &mut AdamW,
    history: &History,
    length: usize,
    learning_rate: f64,
    random: &mut Random,
) -> Report {
    if history.len() < 2 {
        return Report::default();
    }
    // Every other update replays a stretch of the past, once there is one.
    let replay = history.len() > length && random.word().is_multiple_of(2);
    let tokens = stretch(history, length, replay.then_some(&mut *random));
    let (losses, norm) = update(network, parameters, adamw, history, tokens, learning_rate, random);
    let measured = |index: usize, value: f64| (losses.counts[index] > 0).then_some(value);
    Report {
        nll: measured(0, losses.heads.nll),
        kl: Some(losses.kl),
        grad_norm: Some(norm),
        gain_loss: measured(1, losses.heads.gain),
        credit_loss: measured(2, losses.heads.credit),
        rebuilt: Some(losses.rebuilt),
    }
}

fn update(
    network: &Network,
    parameters: &mut [f64],
    adamw: &mut AdamW,
    history: &History,
    stretch: std::ops::Range<usize>,
    learning_rate: f64,
    random: &mut Random,
) -> (Losses, f64) {
    let before = &history[stretch.start].before;
    let examples: Vec<Example<'_>> = history
        .range(stretch)
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
    let noise: Vec<f64> = (0..examples.len() * network.rssm.latent).map(|_| random.normal()).collect();
    let mut gradient = Gradient::default();
    let losses = network.sequence(parameters, before, &examples, &noise, Some(&mut gradient));
    let norm = adamw.update(parameters, &gradient.finish(parameters.len()), learning_rate);
    (losses, norm)
}
