//! Running figures of the credit that each candidate of a jump earned; the credit head corrects them.

use crate::heads::CreditLabel;
use crate::state::codec;

/// Labels after which old ones count for less.
const MEMORY: f64 = 50.0;
/// Labels' worth of the belief that a credit is zero and a coin's toss.
const PRIOR: f64 = 2.0;

/// Figures of one candidate.
#[derive(Debug, Clone, Default, PartialEq)]
struct Figures {
    count: f64,
    positive: f64,
    sum: f64,
}
codec!(Figures { count, positive, sum });

/// Figures of all candidates, and the scale of credits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Credits {
    figures: Vec<Figures>,
    labels: u64,
    /// Running mean of squared credits.
    square: f64,
}
codec!(Credits { figures, labels, square });

impl Credits {
    pub(crate) fn new(candidates: usize) -> Self {
        Self { figures: vec![Figures::default(); candidates], labels: 0, square: 0.0 }
    }

    pub(crate) fn fits(&self, candidates: usize) -> bool {
        self.figures.len() == candidates
    }

    /// Whether there is any label.
    pub(crate) fn known(&self) -> bool {
        self.labels > 0
    }

    /// Scale of credits in nats per byte.
    pub(crate) fn scale(&self) -> f64 {
        self.square.sqrt().max(1e-9)
    }

    /// Mean credit of a candidate, drawn to zero where labels are few.
    pub(crate) fn mean(&self, candidate: usize) -> f64 {
        let figures = &self.figures[candidate];
        figures.sum / (figures.count + PRIOR)
    }

    /// Log-odds that a candidate's credit is positive.
    pub(crate) fn log_odds(&self, candidate: usize) -> f64 {
        let figures = &self.figures[candidate];
        let half = 0.5 * PRIOR;
        ((figures.positive + half) / (figures.count - figures.positive + half)).ln()
    }

    /// Takes a measured credit and gives its label, relative to what was known before.
    pub(crate) fn push(&mut self, candidate: usize, credit: f64) -> CreditLabel {
        let (mean, log_odds) = (self.mean(candidate), self.log_odds(candidate));
        self.labels = self.labels.saturating_add(1);
        let share = (1.0 / self.labels as f64).max(1.0 / MEMORY);
        self.square += share * (credit * credit - self.square);
        let figures = &mut self.figures[candidate];
        let keep = 1.0 - 1.0 / MEMORY;
        figures.count = keep * figures.count + 1.0;
        figures.positive = keep * figures.positive + f64::from(u8::from(credit > 0.0));
        figures.sum = keep * figures.sum + credit;
        let value = ((credit - mean) / self.scale()).clamp(-6.0, 6.0);
        CreditLabel { candidate, value, positive: credit > 0.0, log_odds }
    }
}
