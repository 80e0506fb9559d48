//! State bytes of a [`Dynamics`]: a model read from them goes on bit for bit.

use std::collections::VecDeque;

use crate::adamw::AdamW;
use crate::averaged::Averaged;
use crate::credit::Credits;
use crate::dynamics::{Dynamics, Horizon, PRIOR, Tracks};
use crate::error::Result;
use crate::features::Moments;
use crate::forecast::{CreditForecast, Forecast, LossForecast};
use crate::residual::Store;
use crate::settings::Settings;
use crate::state::{Format, codec, misfit};
use crate::token::{HISTORY, Token};

const FORMAT: Format = Format { magic: *b"NEATDYN\0", version: 1, name: "the dynamics model" };

codec!(LossForecast { mean, sigma, epistemic, fit, corrected });
codec!(CreditForecast { mean, sigma, probability });
codec!(Forecast { loss, credit, gain });

/// All of a model but its settings and maps.
struct Saved {
    parameters: Vec<f64>,
    adamw: AdamW,
    moments: Vec<Moments>,
    tracks: Tracks,
    history: VecDeque<Token>,
    horizons: Vec<Horizon>,
    credits: Credits,
    store: Store,
    averaged: Averaged,
    forecast: Forecast,
    random: u64,
}
codec!(Saved {
    parameters,
    adamw,
    moments,
    tracks,
    history,
    horizons,
    credits,
    store,
    averaged,
    forecast,
    random,
});

impl Dynamics {
    /// The state as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let saved = Saved {
            parameters: self.parameters.clone(),
            adamw: self.adamw.clone(),
            moments: self.features.moments().to_vec(),
            tracks: self.tracks.clone(),
            history: self.history.clone(),
            horizons: self.horizons.clone(),
            credits: self.credits.clone(),
            store: self.store.clone(),
            averaged: self.averaged.clone(),
            forecast: self.forecast.clone(),
            random: self.random.state,
        };
        FORMAT.seal(self.settings.digest(), &saved)
    }

    /// A model that goes on from [`Dynamics::to_bytes`]; refuses other settings, other versions and damage.
    pub fn from_bytes(settings: Settings, bytes: &[u8]) -> Result<Self> {
        let saved: Saved = FORMAT.open(settings.digest(), bytes)?;
        let mut model = Self::new(settings);
        model.check(&saved)?;
        if !model.features.restore(saved.moments) {
            return Err(misfit("features"));
        }
        model.parameters = saved.parameters;
        model.adamw = saved.adamw;
        model.tracks = saved.tracks;
        model.history = saved.history;
        model.horizons = saved.horizons;
        model.credits = saved.credits;
        model.store = saved.store;
        model.averaged = saved.averaged;
        model.forecast = saved.forecast;
        model.random.state = saved.random;
        Ok(model)
    }

    /// Refuses parts whose sizes are not those of these settings.
    fn check(&self, saved: &Saved) -> Result<()> {
        let (features, inputs) = (self.features.len(), PRIOR.weights.len());
        let tokens = saved.history.iter().all(|token| token.fits(&self.settings, features, inputs));
        let ascending = saved.history.iter().zip(saved.history.iter().skip(1)).all(|(a, b)| a.step < b.step);
        let entries = saved.store.entries.iter().all(|entry| entry.features.len() == features);
        let parts = [
            ("parameters", saved.parameters.len() == self.parameters.len()),
            ("optimizer", saved.adamw.fits(self.parameters.len())),
            ("tracks", saved.tracks.fits(self.settings.hidden)),
            ("tokens", tokens && ascending && saved.history.len() <= HISTORY),
            ("horizons", saved.horizons.len() == self.horizons.len()),
            ("solvers", saved.horizons.iter().all(|horizon| horizon.fits(inputs))),
            ("credits", saved.credits.fits(self.settings.candidates.len())),
            ("store", entries && saved.store.fits(&self.settings)),
            ("averaged", saved.averaged.fits()),
            ("gains", saved.forecast.gain.len() == self.settings.kinds.len()),
        ];
        match parts.iter().find(|part| !part.1) {
            Some((name, _)) => Err(misfit(name)),
            None => Ok(()),
        }
    }
}
