//! What the model says at a token.

use crate::credit::Credits;
use crate::heads::probability;
use crate::network::Network;
use crate::random::Random;
use crate::ridge::{Prior, Ridge};
use crate::rssm::{Step, draw};

/// Largest gain; the smallest is that of the log at its other bound, practically zero.
const MAX_GAIN: f64 = 1.5;
const MIN_LOG_GAIN: f64 = -6.0;
/// Latents drawn for the spread of the ensemble.
const DRAWS: usize = 4;

/// Forecasts of the loss by horizon, nats per byte.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LossForecast {
    /// Expected loss by the model.
    pub mean: Vec<f64>,
    /// Calibrated standard deviation: `mean +- z sigma` holds the nominal share of the outcomes.
    pub sigma: Vec<f64>,
    /// Part of it that comes of not knowing the model's weights and state.
    pub epistemic: Vec<f64>,
    /// Log-linear fit alone.
    pub fit: Vec<f64>,
    /// Model and corrector.
    pub corrected: Vec<f64>,
}

/// Expected credit of a jump by candidate, nats per byte.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CreditForecast {
    /// Expected credit.
    pub mean: Vec<f64>,
    /// Its standard deviation.
    pub sigma: Vec<f64>,
    /// Probability that it is positive.
    pub probability: Vec<f64>,
}

/// All that the model says at a token.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Forecast {
    /// None before there is a fit.
    pub loss: Option<LossForecast>,
    /// None before a credit was recorded.
    pub credit: Option<CreditForecast>,
    /// Gain of the prediction by kind of tensor, 0 to 1.5.
    pub gain: Vec<f64>,
}

/// Gain of each kind at a step; its logarithm is what the head gives, within bounds.
pub(crate) fn gains(network: &Network, parameters: &[f64], step: &Step) -> Vec<f64> {
    let logs = network.heads.gain(parameters, &[&step.next, &step.latent]);
    logs.into_iter().map(|log| log.clamp(MIN_LOG_GAIN, MAX_GAIN.ln()).exp()).collect()
}

/// Credit of each candidate at a step, in nats per byte.
pub(crate) fn credits(
    network: &Network,
    parameters: &[f64],
    step: &Step,
    known: &Credits,
) -> Option<CreditForecast> {
    if !known.known() {
        return None;
    }
    let mut forecast = CreditForecast::default();
    let heads = network.heads.credit(parameters, &[&step.next, &step.latent]);
    for (candidate, [mean, log_sigma, log_odds]) in heads.into_iter().enumerate() {
        forecast.mean.push(known.mean(candidate) + known.scale() * mean);
        forecast.sigma.push(known.scale() * log_sigma.exp());
        forecast.probability.push(probability(known.log_odds(candidate) + log_odds));
    }
    Some(forecast)
}

/// What the ensemble says of one horizon, in units of the fit's scale.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Opinion {
    /// Mean over members at the posterior's mean.
    pub(crate) mean: f64,
    pub(crate) log_sigma: f64,
    /// Standard deviation over members and drawn latents.
    pub(crate) spread: f64,
}

/// Opinions by horizon. `step` is at the posterior's mean; latents are drawn for the spread alone.
pub(crate) fn opinions(
    network: &Network,
    parameters: &[f64],
    step: &Step,
    horizons: usize,
    random: &mut Random,
) -> Vec<Opinion> {
    let members = network.heads.num_members();
    let mut opinions = vec![Opinion::default(); horizons];
    for member in 0..members {
        let moments = network.heads.loss(parameters, member, &[&step.next, &step.latent]);
        for (opinion, (mean, log_sigma)) in opinions.iter_mut().zip(moments) {
            opinion.mean += mean / members as f64;
            opinion.log_sigma += log_sigma / members as f64;
        }
    }
    let mut squares = vec![(0.0, 0.0); horizons];
    for _ in 0..DRAWS {
        let noise: Vec<f64> = (0..network.rssm.latent).map(|_| random.normal()).collect();
        let drawn = network.rssm.redraw(parameters, step, draw(step.posterior(), &noise));
        for member in 0..members {
            let moments = network.heads.loss(parameters, member, &[&drawn.next, &drawn.latent]);
            for ((sum, square), (mean, _)) in squares.iter_mut().zip(moments) {
                *sum += mean;
                *square += mean * mean;
            }
        }
    }
    let count = (DRAWS * members) as f64;
    for (opinion, (sum, square)) in opinions.iter_mut().zip(squares) {
        opinion.spread = (square / count - (sum / count).powi(2)).max(0.0).sqrt();
    }
    opinions
}

/// Uncertainty of the mean in units of the scale: that of the solver's weights, and the spread as far as it counts.
pub(crate) fn epistemic(ridge: &Ridge, inputs: &[f64], prior: &Prior<'_>, spread: f64) -> f64 {
    let trust = ridge.weights.last().copied().unwrap_or_default();
    ridge.spread(inputs, prior).hypot(trust * spread)
}
