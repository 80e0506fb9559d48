//! Cross-fitting: beside the full model one for each fold, trained on the documents of the others.
//!
//! A document's fold is a function of its contents, so equal documents share a fold and no model has seen a document whose
//! statistics it provides.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use xxhash_rust::xxh3::xxh3_64;

use crate::corpus::second_fraction;
use crate::entropy::{Counts, NgramModel, count_documents, num_threads};
use crate::{DataError, Document, Result};

/// The full model and the fold models. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CrossFit {
    full: Arc<NgramModel>,
    folds: Vec<Arc<NgramModel>>,
    /// Documents whose second hash, as a fraction, is at least this were not trained on by any of the models.
    sample: f64,
}

impl CrossFit {
    /// Only the full model: no document is kept from it.
    pub fn single(model: Arc<NgramModel>) -> Self {
        Self { full: model, folds: Vec::new(), sample: 1.0 }
    }

    /// Trains `folds` + 1 models in one reading of the documents. With 0 folds this is [`CrossFit::single`]; `threads` = 0
    /// takes one a core.
    pub fn train(
        documents: impl IntoIterator<Item = Result<impl Into<Document>>>,
        order: usize,
        folds: usize,
        threads: usize,
    ) -> Result<Self> {
        if folds == 0 {
            return Ok(Self::single(Arc::new(NgramModel::train(documents, order, threads)?)));
        }
        let threads = num_threads(threads);
        let documents = documents.into_iter().map(|document| document.map(Into::into));
        let parts =
            count_documents(documents, order, folds, threads, |_, identity| fold(identity, folds) as usize)?;
        let total = Counts::sum(parts.clone());
        let models = parallel(folds + 1, threads, |index| {
            if index == folds {
                return NgramModel::from_counts(&total, order);
            }
            let rest = total.without(&parts[index]);
            if rest.keys.is_empty() && !total.keys.is_empty() {
                return Err(DataError::invalid(
                    format!("too few documents for {folds} folds: fold {index} holds all of them"),
                    "lower `ngram.folds`, or set `network.ngram_features=false`",
                ));
            }
            NgramModel::from_counts(&rest, order)
        });
        let mut models = models.into_iter().map(|model| model.map(Arc::new)).collect::<Result<Vec<_>>>()?;
        let full = models.remove(folds);
        Ok(Self { full, folds: models, sample: 1.0 })
    }

    /// Says that the documents trained on were those whose second hash, as a fraction, is below `share`: all others may
    /// use the full model, which has not seen them.
    #[must_use]
    pub fn of_sample(self, share: f64) -> Self {
        Self { sample: share, ..self }
    }

    /// The model of all documents.
    pub fn full(&self) -> &Arc<NgramModel> {
        &self.full
    }

    /// Number of folds, 0 when not cross-fitted.
    pub fn folds(&self) -> usize {
        self.folds.len()
    }

    /// The fold of a document, from its identity; `None` when not cross-fitted, or when no model was trained on it.
    pub fn fold_of(&self, identity: &[u8]) -> Option<u32> {
        let trained_on = self.sample >= 1.0 || second_fraction(identity) < self.sample;
        (trained_on && !self.folds.is_empty()).then(|| fold(identity, self.folds.len()))
    }

    /// Model 0 is the full one; model k + 1 has not seen fold k.
    ///
    /// # Panics
    /// If there is no such fold.
    pub fn model(&self, index: u32) -> &Arc<NgramModel> {
        if index == 0 { &self.full } else { &self.folds[index as usize - 1] }
    }
}

fn fold(identity: &[u8], folds: usize) -> u32 {
    (xxh3_64(identity) % folds as u64) as u32
}

/// `work(0)`, `work(1)`, .. on up to `threads` threads, the results in order.
fn parallel<T: Send>(count: usize, threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(count));
    std::thread::scope(|scope| {
        for _ in 0..threads.min(count) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    let result = work(index);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|&(index, _)| index);
    done.into_iter().map(|(_, result)| result).collect()
}
