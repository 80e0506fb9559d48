//! What decides the size and the training of the dynamics model.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{DynamicsError, Result};

/// Settings of a [`crate::Dynamics`]. Unknown keys are errors; absent ones have the defaults below.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Seed of initial parameters, latent samples and bootstrap weights.
    pub seed: u64,
    /// Kinds of tensors, one gain each (at most 16).
    pub kinds: Vec<String>,
    /// Vectors of the trajectory basis (1 to 8); a Gram matrix has `basis * basis` entries for each kind.
    pub basis: usize,
    /// Steps ahead at which the loss is forecast, ascending (1 to 8 of them, each at most 100,000).
    pub horizons: Vec<u32>,
    /// Shares of a displacement that a jump may take, one credit head each (at most 16, ascending).
    pub candidates: Vec<f64>,
    /// Units of the recurrent state (4 to 256).
    pub hidden: usize,
    /// Dimensions of the stochastic latent (1 to 64).
    pub latent: usize,
    /// Ensemble members of the loss heads (1 to 16).
    pub members: usize,
    /// Learning rate of `AdamW` (above 0, at most 0.1).
    pub learning_rate: f64,
    /// Nats of divergence between posterior and prior that cost nothing (0 to 100).
    pub free_bits: f64,
    /// Tokens of one truncated backward pass (2 to 256).
    pub bptt: usize,
    /// Share of the outcomes that the intervals are to hold (0.5 to 0.99).
    pub interval: f64,
    /// Residuals kept (1 to 65,536).
    pub store: usize,
    /// Weight of the stored residuals against the learned correction (0 to 1).
    pub blend: f64,
    /// Length of the run in steps, if it is known.
    pub total_steps_hint: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0,
            kinds: vec!["hidden".to_owned(), "vectors".to_owned()],
            basis: 3,
            horizons: vec![10, 30, 100],
            candidates: vec![0.125, 0.25, 0.5, 1.0],
            hidden: 48,
            latent: 12,
            members: 3,
            learning_rate: 1e-3,
            free_bits: 1.0,
            bptt: 32,
            interval: 0.9,
            store: 256,
            blend: 0.7,
            total_steps_hint: None,
        }
    }
}

impl Settings {
    /// Settings from a JSON object.
    pub fn from_json(text: &str) -> Result<Self> {
        let settings: Self = serde_json::from_str(text).map_err(|error| {
            DynamicsError::setting(
                format!("settings of the dynamics model cannot be read: {error}"),
                format!("the keys are {}", Self::keys().join(", ")),
            )
        })?;
        settings.check()?;
        Ok(settings)
    }

    /// The settings as canonical JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// A hash of the settings; states are bound to it.
    pub fn digest(&self) -> u64 {
        xxh3_64(self.to_json().as_bytes())
    }

    fn keys() -> Vec<String> {
        match serde_json::to_value(Self::default()) {
            Ok(serde_json::Value::Object(map)) => map.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    fn check(&self) -> Result<()> {
        within("kinds", self.kinds.len() as f64, 0.0, 16.0)?;
        within("basis", self.basis as f64, 1.0, 8.0)?;
        within("horizons", self.horizons.len() as f64, 1.0, 8.0)?;
        within("candidates", self.candidates.len() as f64, 0.0, 16.0)?;
        within("hidden", self.hidden as f64, 4.0, 256.0)?;
        within("latent", self.latent as f64, 1.0, 64.0)?;
        within("members", self.members as f64, 1.0, 16.0)?;
        within("learning_rate", self.learning_rate, f64::MIN_POSITIVE, 0.1)?;
        within("free_bits", self.free_bits, 0.0, 100.0)?;
        within("bptt", self.bptt as f64, 2.0, 256.0)?;
        within("interval", self.interval, 0.5, 0.99)?;
        within("store", self.store as f64, 1.0, 65_536.0)?;
        within("blend", self.blend, 0.0, 1.0)?;
        if let Some(total) = self.total_steps_hint {
            within("total_steps_hint", total as f64, 1.0, 1e12)?;
        }
        for (index, &horizon) in self.horizons.iter().enumerate() {
            within(&format!("horizons[{index}]"), f64::from(horizon), 1.0, 100_000.0)?;
        }
        for (index, &candidate) in self.candidates.iter().enumerate() {
            within(&format!("candidates[{index}]"), candidate, 0.0, 16.0)?;
        }
        let mut names: Vec<&str> = self.kinds.iter().map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() < self.kinds.len() || names.iter().any(|name| name.is_empty() || name.len() > 64) {
            return Err(DynamicsError::setting(
                "kinds of tensors are named twice or have no name",
                "give each kind one name of 1 to 64 bytes",
            ));
        }
        let ascending = self.horizons.windows(2).all(|pair| pair[0] < pair[1])
            && self.candidates.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending {
            return Err(DynamicsError::setting(
                "horizons or candidates do not ascend",
                "list them from the smallest to the largest, each once",
            ));
        }
        Ok(())
    }
}

/// Refuses a setting outside `[low, high]`; a NaN is outside.
pub(crate) fn within(name: &str, value: f64, low: f64, high: f64) -> Result<()> {
    if value >= low && value <= high {
        return Ok(());
    }
    let low = if low > 0.0 && low <= f64::MIN_POSITIVE { "above 0".to_owned() } else { format!("{low}") };
    Err(DynamicsError::setting(
        format!("the dynamics model's setting {name} cannot be {value}"),
        format!("its range (for a list, that of its length) is {low} to {high}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::Settings;

    #[test]
    fn defaults_are_valid_and_survive_json() {
        let settings = Settings::from_json("{}").unwrap();
        assert_eq!(settings, Settings::default());
        assert_eq!(Settings::from_json(&settings.to_json()).unwrap(), settings);
    }

    #[test]
    fn unknown_keys_and_absurd_values_are_refused_by_name() {
        for (text, word) in [
            (r#"{"hiden": 3}"#, "hiden"),
            (r#"{"hidden": 100000}"#, "hidden"),
            (r#"{"horizons": []}"#, "horizons"),
            (r#"{"horizons": [10, 10]}"#, "ascend"),
            (r#"{"horizons": [0]}"#, "horizons[0]"),
            (r#"{"kinds": ["a", "a"]}"#, "twice"),
            (r#"{"learning_rate": 0}"#, "learning_rate"),
            (r#"{"blend": -0.1}"#, "blend"),
            (r#"{"seed": -1}"#, "-1"),
            ("[", "cannot be read"),
        ] {
            let error = Settings::from_json(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn every_setting_is_in_the_digest() {
        let digest = |text: &str| Settings::from_json(text).unwrap().digest();
        assert_ne!(digest("{}"), digest(r#"{"seed": 1}"#));
        assert_ne!(digest("{}"), digest(r#"{"blend": 0.6}"#));
    }
}
