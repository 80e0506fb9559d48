//! The dynamics model as its user sees it: observe a token, ask for a forecast, record what came of a jump.

use crate::adamw::AdamW;
use crate::averaged::Averaged;
use crate::calibration::{Calibration, Due, normal_quantile};
use crate::credit::Credits;
use crate::error::Result;
use crate::features::{Fading, Features, Measured, log_norm, lr_change, of_gram};
use crate::fit::{Report, train};
use crate::forecast::{Forecast, LossForecast, credits, epistemic, gains, opinions};
use crate::linear::Tensor;
use crate::network::Network;
use crate::observation::Observation;
use crate::random::Random;
use crate::residual::{Store, Trust, proposal, similar};
use crate::ridge::{Prior, Ridge};
use crate::rssm::Step;
use crate::settings::Settings;
use crate::token::{HISTORY, History, Point, Token, bootstrap};
use crate::trend::{CAPACITY, Line, MIN_LOSS, Trend};

/// Tokens before the first forecast: the fit of a shorter past is no yardstick for anything.
const WARMUP: u64 = 20;
/// Share of the run so far that the log-linear fit looks back over, and the least of it in tokens.
const SLOW_SHARE: f64 = 0.4;
const SLOW_MIN: usize = 8;
/// Tokens of the fast fit, a feature.
const FAST: usize = 6;
/// Bound of the solver's inputs and labels.
const BOUND: f64 = 6.0;
/// Weight of the newest error in the scale of a horizon's errors.
const NEWEST: f64 = 0.1;
/// Bound of that scale in deviations of the log-loss about the fit.
const MAX_SCALE: f64 = 3.0;
/// Weight of the newest log-loss in the running level.
const LEVEL: f64 = 0.25;
/// Where the online solver begins, by input: running level less fit now, fit now less fit then, newest known error,
/// change of the learning rate, the network. A share of 0.3 takes back a part of what the fit extrapolates, much of it
/// noise: the damped trend of Gardner and `McKenzie` (1985). The network counts once it has proved itself.
pub(crate) const PRIOR: Prior<'static> =
    Prior { weights: &[0.3, 0.3, 0.0, 0.0, 0.0], pulls: &[100.0, 100.0, 100.0, 60.0, 30.0] };

/// A model that watches training, forecasts its loss and learns from what comes.
#[derive(Debug, Clone)]
pub struct Dynamics {
    pub(crate) settings: Settings,
    /// Half-width of the interval in sigmas of a normal distribution.
    quantile: f64,
    pub(crate) network: Network,
    pub(crate) parameters: Vec<f64>,
    pub(crate) adamw: AdamW,
    pub(crate) features: Features,
    pub(crate) tracks: Tracks,
    pub(crate) history: History,
    pub(crate) horizons: Vec<Horizon>,
    pub(crate) credits: Credits,
    pub(crate) store: Store,
    pub(crate) averaged: Averaged,
    pub(crate) forecast: Forecast,
    pub(crate) random: Random,
}

/// Running quantities between tokens.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Tracks {
    pub(crate) trend: Trend,
    /// Recurrent state after the newest token.
    pub(crate) state: Vec<f64>,
    grad: Option<f64>,
    /// Running mean of the log-loss.
    level: Option<f64>,
    credit: Fading,
    accepted: Fading,
    tokens: u64,
}
crate::state::codec!(Tracks { trend, state, grad, level, credit, accepted, tokens });

impl Tracks {
    pub(crate) fn fits(&self, hidden: usize) -> bool {
        self.state.len() == hidden && self.trend.len() <= CAPACITY
    }
}

/// What is learned of one horizon outside the network.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Horizon {
    ridge: Ridge,
    calibration: Calibration,
    /// Running mean of the magnitude of the fit's errors in log-loss.
    size: Option<f64>,
    /// The newest of them that is known.
    last_error: Option<f64>,
    /// Running mean of what the model's log-loss missed.
    bias: f64,
    trust: Trust,
}
crate::state::codec!(Horizon { ridge, calibration, size, last_error, bias, trust });

impl Horizon {
    pub(crate) fn fits(&self, inputs: usize) -> bool {
        self.ridge.fits(inputs) && self.calibration.fits()
    }
}

/// Accuracy and coverage by horizon; None before a forecast came due.
#[derive(Debug, Clone, PartialEq)]
pub struct Accuracy {
    /// Nominal share of outcomes inside the intervals.
    pub interval: f64,
    /// Share found inside.
    pub coverage: Vec<Option<f64>>,
    /// Mean absolute error of the model, the fit alone and the corrected forecast, nats per byte, on the same forecasts.
    pub errors: [Vec<Option<f64>>; 3],
    /// Forecasts that came due.
    pub count: Vec<u64>,
}

impl Dynamics {
    /// A fresh model.
    pub fn new(settings: Settings) -> Self {
        let features = Features::new(&settings);
        let (network, parameters) = Network::new(&settings, features.len());
        let horizon = Horizon {
            ridge: Ridge::new(&PRIOR),
            calibration: Calibration::new(settings.interval),
            size: None,
            last_error: None,
            bias: 0.0,
            trust: Trust::new(0.0, 10.0),
        };
        Self {
            quantile: normal_quantile(settings.interval),
            adamw: AdamW::new(parameters.len()),
            tracks: Tracks { state: vec![0.0; settings.hidden], ..Tracks::default() },
            history: History::new(),
            horizons: vec![horizon; settings.horizons.len()],
            credits: Credits::new(settings.candidates.len()),
            store: Store::new(settings.store),
            averaged: Averaged::new(),
            forecast: Forecast { gain: vec![1.0; settings.kinds.len()], ..Forecast::default() },
            random: Random::new(settings.seed, 2),
            settings,
            network,
            parameters,
            features,
        }
    }

    /// Takes a token: settles the forecasts that it makes due, forecasts anew, and trains.
    ///
    /// A step at or before the last one is a rollback: what was seen at and after that step is forgotten, what was
    /// learned from it is kept.
    pub fn observe(&mut self, observation: &Observation<'_>) -> Result<Report> {
        observation.check(&self.settings)?;
        self.rewind(observation.step);
        self.settle(observation.step, observation.loss);
        let residual =
            self.line().map(|line| observation.loss.max(MIN_LOSS).ln() - line.log_loss(observation.step));
        self.track(observation);
        let measured = self.measure(observation, residual);
        let features = self.features.push(&measured);
        let zeros = vec![0.0; self.settings.latent];
        let step = self.network.step(&self.parameters, &self.tracks.state, &features, zeros);
        let points = self.points(observation, &features, &step);
        self.forecast = self.compose(&points, &step);
        self.remember(observation, features, step.next, points);
        Ok(train(
            &self.network,
            &mut self.parameters,
            &mut self.adamw,
            &self.history,
            self.settings.bptt,
            self.settings.learning_rate,
            &mut self.random,
        ))
    }

    /// Forgets what was seen at and after a step.
    fn rewind(&mut self, step: u64) {
        while self.history.back().is_some_and(|token| token.step >= step) {
            if let Some(token) = self.history.pop_back() {
                self.tracks.state = token.before;
            }
        }
        self.tracks.trend.rewind(step);
        self.averaged.rewind(step);
    }

    /// Gives their labels to the forecasts that a loss at `step` makes due, and learns from them.
    fn settle(&mut self, step: u64, loss: f64) {
        let last = self.tracks.trend.last_step().unwrap_or(0);
        for token in &mut self.history {
            for (index, point) in token.points.iter().enumerate() {
                let due = token.step.saturating_add(u64::from(self.settings.horizons[index]));
                if due <= last || due > step || token.targets[index].is_some() {
                    continue;
                }
                let horizon = &mut self.horizons[index];
                let error = loss.max(MIN_LOSS).ln() - point.fit.max(MIN_LOSS).ln();
                let label = (error / point.scale).clamp(-BOUND, BOUND);
                token.targets[index] = Some(label);
                horizon.last_error = Some(error);
                horizon.size =
                    Some(horizon.size.map_or(error.abs(), |size| size + NEWEST * (error.abs() - size)));
                horizon.ridge.learn(&point.inputs, label, &PRIOR);
                let missed = error - (point.mean.max(MIN_LOSS).ln() - point.fit.max(MIN_LOSS).ln());
                token.missed[index] = Some(missed);
                horizon.trust.push(point.proposed / point.scale, missed / point.scale);
                horizon.bias += NEWEST * (missed - horizon.bias);
                let errors = [point.mean, point.fit, point.corrected].map(|value| (loss - value).abs());
                let due = Due { errors, raw_sigma: point.raw_sigma, sigma: point.sigma };
                horizon.calibration.push(&due, self.settings.interval, self.quantile);
            }
        }
    }

    /// The log-linear fit now.
    pub(crate) fn line(&self) -> Option<Line> {
        let window = (SLOW_SHARE * self.tracks.tokens as f64) as usize;
        self.tracks.trend.fit(window.clamp(SLOW_MIN, CAPACITY))
    }

    fn track(&mut self, observation: &Observation<'_>) {
        let tracks = &mut self.tracks;
        tracks.trend.push(observation.step, observation.loss);
        tracks.tokens = tracks.tokens.saturating_add(1);
        let log_loss = observation.loss.max(MIN_LOSS).ln();
        tracks.level = Some(tracks.level.map_or(log_loss, |level| level + LEVEL * (log_loss - level)));
    }

    fn measure(&mut self, observation: &Observation<'_>, residual: Option<f64>) -> Measured {
        let line = self.line();
        let fast = self.tracks.trend.fit(FAST);
        let grad = log_norm(observation.grad_norm);
        let change = self.tracks.grad.map(|before| grad - before);
        let tracks = &mut self.tracks;
        tracks.grad = Some(tracks.grad.map_or(grad, |before| before + 0.2 * (grad - before)));
        let mut all = vec![
            residual,
            line.map(|line| line.slope),
            line.map(|line| (line.deviation + 1e-9).ln()),
            line.zip(fast)
                .map(|(slow, fast)| fast.log_loss(observation.step) - slow.log_loss(observation.step)),
            Some(grad),
            change,
            Some(observation.lr),
            Some((observation.step as f64).ln()),
            observation.gap,
            tracks.credit.push(observation.credit),
            tracks.accepted.push(observation.accepted.map(|accepted| if accepted { 1.0 } else { -1.0 })),
        ];
        for (horizon, &ahead) in self.horizons.iter().zip(observation.lr_ahead) {
            all.push(Some(lr_change(observation.lr, ahead)));
            all.push(horizon.last_error);
        }
        let basis = self.settings.basis;
        for kind in 0..self.settings.kinds.len() {
            all.push(observation.slopes.map(|slopes| slopes[kind]));
            let entries = basis * basis;
            match observation.gram.map(|gram| of_gram(&gram[kind * entries..(kind + 1) * entries], basis)) {
                Some(values) => all.extend(values.into_iter().map(Some)),
                None => all.extend(vec![None; basis - 1 + basis * (basis - 1) / 2]),
            }
        }
        Measured(all)
    }

    /// Forecasts by horizon; none before there is a fit.
    fn points(&mut self, observation: &Observation<'_>, features: &[f64], step: &Step) -> Vec<Point> {
        let Some(line) = self.line().filter(|_| self.tracks.tokens >= WARMUP) else { return Vec::new() };
        let count = self.horizons.len();
        let opinions = opinions(&self.network, &self.parameters, step, count, &mut self.random);
        let now = line.log_loss(observation.step);
        let level = self.tracks.level.unwrap_or(now);
        let noise = line.deviation.max(1e-4);
        let mut points = Vec::with_capacity(count);
        for (index, opinion) in opinions.into_iter().enumerate() {
            let horizon = &mut self.horizons[index];
            let fit = line.log_loss(observation.step + u64::from(self.settings.horizons[index]));
            let most = MAX_SCALE * noise + (fit - now).abs();
            let size = *horizon.size.get_or_insert(noise + 0.5 * (fit - now).abs());
            let scale = size.clamp(1e-6, most);
            let bounded = |value: f64| (value / scale).clamp(-BOUND, BOUND);
            let inputs = vec![
                bounded(level - now),
                bounded(now - fit),
                bounded(horizon.last_error.unwrap_or_default()),
                lr_change(observation.lr, observation.lr_ahead[index]),
                opinion.mean.clamp(-BOUND, BOUND),
            ];
            let learned = scale * horizon.ridge.predict(&inputs).clamp(-BOUND, BOUND);
            let mean = (fit + learned).exp();
            let epistemic = scale * epistemic(&horizon.ridge, &inputs, &PRIOR, opinion.spread);
            let raw_sigma = mean * (scale * opinion.log_sigma.exp()).hypot(epistemic).max(1e-9);
            let known = self.history.iter();
            let known =
                known.filter_map(|token| token.missed[index].map(|missed| (&token.features[..], missed)));
            let proposed = proposal(self.settings.blend, similar(features, known), horizon.bias);
            points.push(Point {
                fit: fit.exp(),
                scale,
                mean,
                raw_sigma,
                // No forecast is surer than the noise of what it forecasts.
                sigma: (raw_sigma * horizon.calibration.scale(self.quantile)).max(noise * mean),
                epistemic: mean * epistemic,
                proposed,
                corrected: mean * (horizon.trust.share() * proposed).exp(),
                inputs,
            });
        }
        points
    }

    fn compose(&self, points: &[Point], step: &Step) -> Forecast {
        let list = |pick: fn(&Point) -> f64| points.iter().map(pick).collect();
        let loss = (!points.is_empty()).then(|| LossForecast {
            mean: list(|point| point.mean),
            sigma: list(|point| point.sigma),
            epistemic: list(|point| point.epistemic),
            fit: list(|point| point.fit),
            corrected: list(|point| point.corrected),
        });
        let credit = credits(&self.network, &self.parameters, step, &self.credits);
        Forecast { loss, credit, gain: gains(&self.network, &self.parameters, step) }
    }

    fn remember(
        &mut self,
        observation: &Observation<'_>,
        features: Vec<f64>,
        next: Vec<f64>,
        points: Vec<Point>,
    ) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        let before = std::mem::replace(&mut self.tracks.state, next);
        self.history.push_back(Token {
            step: observation.step,
            features,
            before,
            weights: bootstrap(&mut self.random, self.settings.members),
            slopes: observation.slopes.map(<[f64]>::to_vec).unwrap_or_default(),
            credits: Vec::new(),
            points,
            targets: vec![None; self.horizons.len()],
            missed: vec![None; self.horizons.len()],
        });
    }

    /// What was forecast at the newest token.
    pub fn forecast(&self) -> &Forecast {
        &self.forecast
    }

    /// Accuracy and coverage of the forecasts that came due.
    pub fn accuracy(&self) -> Accuracy {
        let all = || self.horizons.iter().map(|horizon| &horizon.calibration);
        let errors =
            [0, 1, 2].map(|which| all().map(|c| c.mean_errors().map(|errors| errors[which])).collect());
        Accuracy {
            interval: self.settings.interval,
            coverage: all().map(Calibration::coverage).collect(),
            errors,
            count: all().map(|calibration| calibration.count).collect(),
        }
    }

    /// Name, running mean and running variance of every feature that was measured more than once.
    pub fn feature_statistics(&self) -> Vec<(String, f64, f64)> {
        self.features.statistics()
    }

    /// Number of trained parameters.
    pub fn num_parameters(&self) -> usize {
        self.parameters.len()
    }

    /// Every tensor with its values.
    pub fn tensors(&self) -> impl Iterator<Item = (&Tensor, &[f64])> {
        let values = |tensor: &Tensor| tensor.offset..tensor.offset + tensor.len();
        self.network.tensors.iter().map(move |tensor| (tensor, &self.parameters[values(tensor)]))
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}
