//! Recurrent state-space model (Hafner et al. 2019, `PlaNet`) in the form of a variational recurrent network.
//!
//! With state `h`, code `e` of the observation and latent `z`:
//! prior `p(z | h)`, posterior `q(z | h, e)`, both diagonal Gaussians with `sigma = softplus(raw) + 0.1`;
//! `z = mu_q + sigma_q eps`; the observation's features are rebuilt from `[h, z]`; `h' = GRU([e, z], h)`.
//! The code enters the recurrence beside the latent, so that a forecast need not pass through the noise.

use crate::gru::{Gru, GruCache};
use crate::linear::{Builder, Gradient, Linear};

/// Smallest standard deviation of a latent.
const MIN_SIGMA: f64 = 0.1;

/// The model's maps.
#[derive(Debug, Clone)]
pub(crate) struct Rssm {
    prior: Linear,
    posterior: Linear,
    gru: Gru,
    observation: Linear,
    pub(crate) hidden: usize,
    pub(crate) latent: usize,
}

/// One step: what it computed and what its backward pass needs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Step {
    pub(crate) state: Vec<f64>,
    pub(crate) code: Vec<f64>,
    prior: Vec<f64>,
    posterior: Vec<f64>,
    noise: Vec<f64>,
    pub(crate) latent: Vec<f64>,
    pub(crate) rebuilt: Vec<f64>,
    pub(crate) next: Vec<f64>,
    gru: GruCache,
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn sigma(raw: f64) -> f64 {
    softplus(raw) + MIN_SIGMA
}

/// Derivative of [`sigma`].
fn d_sigma(raw: f64) -> f64 {
    1.0 / (1.0 + (-raw).exp())
}

impl Rssm {
    pub(crate) fn new(builder: &mut Builder, features: usize, hidden: usize, latent: usize) -> Self {
        Self {
            prior: builder.linear("prior", hidden, 2 * latent, 1.0),
            posterior: builder.linear("posterior", 2 * hidden, 2 * latent, 1.0),
            gru: Gru::new(builder, hidden + latent, hidden),
            observation: builder.linear("observation", hidden + latent, features, 1.0),
            hidden,
            latent,
        }
    }

    /// One observed step from `state`: the latent is drawn from the posterior with `noise` (zeros give its mean).
    pub(crate) fn observe(&self, parameters: &[f64], state: &[f64], code: Vec<f64>, noise: Vec<f64>) -> Step {
        let n = self.latent;
        let mut step = Step { state: state.to_vec(), code, noise, ..Step::default() };
        step.prior = vec![0.0; 2 * n];
        step.posterior = vec![0.0; 2 * n];
        self.prior.forward(parameters, &[state], &mut step.prior);
        self.posterior.forward(parameters, &[state, &step.code], &mut step.posterior);
        step.latent = draw(&step.posterior, &step.noise);
        self.finish(parameters, &mut step);
        step
    }

    /// One imagined step: the latent is drawn from the prior, and the code is that of the rebuilt observation.
    pub(crate) fn imagine(
        &self,
        parameters: &[f64],
        state: &[f64],
        noise: &[f64],
        encode: impl Fn(&[f64]) -> Vec<f64>,
    ) -> Step {
        let mut step = Step { state: state.to_vec(), ..Step::default() };
        step.prior = vec![0.0; 2 * self.latent];
        self.prior.forward(parameters, &[state], &mut step.prior);
        step.latent = draw(&step.prior, noise);
        step.rebuilt = vec![0.0; self.observation.outputs];
        self.observation.forward(parameters, &[state, &step.latent], &mut step.rebuilt);
        step.code = encode(&step.rebuilt);
        self.finish(parameters, &mut step);
        step
    }

    /// The same step with another latent.
    pub(crate) fn redraw(&self, parameters: &[f64], step: &Step, latent: Vec<f64>) -> Step {
        let mut step = Step { state: step.state.clone(), code: step.code.clone(), latent, ..Step::default() };
        self.finish(parameters, &mut step);
        step
    }

    fn finish(&self, parameters: &[f64], step: &mut Step) {
        step.rebuilt = vec![0.0; self.observation.outputs];
        self.observation.forward(parameters, &[&step.state, &step.latent], &mut step.rebuilt);
        step.next = vec![0.0; self.hidden];
        let parts = [&step.code[..], &step.latent[..]];
        self.gru.forward(parameters, &parts, &step.state, &mut step.next, &mut step.gru);
    }

    /// Divergence of the posterior from the prior in nats, summed over dimensions.
    pub(crate) fn divergence(&self, step: &Step) -> f64 {
        let n = self.latent;
        (0..n)
            .map(|i| {
                let (p, q) = (sigma(step.prior[n + i]), sigma(step.posterior[n + i]));
                let shift = step.posterior[i] - step.prior[i];
                (p / q).ln() + (q * q + shift * shift) / (2.0 * p * p) - 0.5
            })
            .sum()
    }

    /// Adds gradients of one observed step.
    ///
    /// `d_next` is that of the next state, `d_latent` that of the latent from elsewhere (used up), `d_rebuilt` that of the
    /// rebuilt features, `kl` the weight of the divergence. Gives the gradients of the state and of the code.
    #[allow(clippy::too_many_arguments, reason = "the arguments of one derivative")]
    pub(crate) fn backward(
        &self,
        parameters: &[f64],
        step: &Step,
        d_next: &[f64],
        d_latent: &mut [f64],
        d_rebuilt: &[f64],
        kl: f64,
        gradient: &mut Gradient,
    ) -> (Vec<f64>, Vec<f64>) {
        let n = self.latent;
        let (mut d_state, mut d_code) = (vec![0.0; self.hidden], vec![0.0; self.hidden]);
        let parts = [&step.code[..], &step.latent[..]];
        self.gru.backward(
            parameters,
            &parts,
            &step.state,
            &step.gru,
            d_next,
            gradient,
            &mut [&mut d_code, d_latent],
            &mut d_state,
        );
        let parts = [&step.state[..], &step.latent[..]];
        self.observation.backward(parameters, &parts, d_rebuilt, gradient, &mut [&mut d_state, d_latent]);
        let (mut d_prior, mut d_posterior) = (vec![0.0; 2 * n], vec![0.0; 2 * n]);
        for i in 0..n {
            let (p, q) = (sigma(step.prior[n + i]), sigma(step.posterior[n + i]));
            let shift = step.posterior[i] - step.prior[i];
            let pull = shift / (p * p);
            d_posterior[i] = d_latent[i] + kl * pull;
            d_prior[i] = -kl * pull;
            let d_q = d_latent[i] * step.noise[i] + kl * (q / (p * p) - 1.0 / q);
            let d_p = kl * (1.0 / p - (q * q + shift * shift) / (p * p * p));
            d_posterior[n + i] = d_q * d_sigma(step.posterior[n + i]);
            d_prior[n + i] = d_p * d_sigma(step.prior[n + i]);
        }
        self.prior.backward(parameters, &[&step.state], &d_prior, gradient, &mut [&mut d_state]);
        let parts = [&step.state[..], &step.code[..]];
        self.posterior.backward(parameters, &parts, &d_posterior, gradient, &mut [&mut d_state, &mut d_code]);
        (d_state, d_code)
    }
}

/// `mu + sigma eps` of a Gaussian given as `mu | raw`.
pub(crate) fn draw(gaussian: &[f64], noise: &[f64]) -> Vec<f64> {
    let n = noise.len();
    (0..n).map(|i| gaussian[i] + sigma(gaussian[n + i]) * noise[i]).collect()
}

impl Step {
    /// Mean and raw deviation of the posterior, `[2 latent]`.
    pub(crate) fn posterior(&self) -> &[f64] {
        &self.posterior
    }
}
