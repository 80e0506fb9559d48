//! Finding the threshold that gives a mean patch length.
//!
//! Entropies are whole steps, so thresholds halfway between two steps are all the thresholds there are: the search is a
//! bisection over integers and the comparison at run time never meets a tie.

use xxhash_rust::xxh3::xxh3_64;

use super::kneser_ney::STEPS_PER_NAT;
use crate::folds::CrossFit;
use crate::patch::{Patcher, Rule};
use crate::{DataError, Document, Result};

/// Largest distance between two entropies, in steps.
const RANGE: i64 = 45_427;

/// What a calibration is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The rule to calibrate.
    pub rule: Rule,
    /// Mean patch length in bytes, longer patches cut.
    pub mean_length: f64,
    /// Longest patch in bytes.
    pub max_length: usize,
    /// Patch length of the `stride` rule.
    pub stride: usize,
    /// Bytes of text to look at.
    pub sample_bytes: usize,
}

/// The patcher that comes nearest to the mean length on a sample of the documents.
///
/// Entropies are those of the model that has not seen the document. The sample is chosen by the documents' hashes, so it
/// does not depend on their order. `global` and `both` get a threshold (`both` with an increment of 0: the entropy must
/// rise), `monotonic` an increment; the other rules have nothing to find and report the length they give.
pub fn calibrate(models: &CrossFit, documents: &[Document], target: Target) -> Result<Patcher> {
    let (sample, folds) = sample(models, documents, target.sample_bytes);
    if sample.is_empty() {
        return Err(DataError::invalid("there is no text to calibrate patches on", ""));
    }
    let mut patcher = Patcher::new(target.rule, 0.0, 0.0, target.max_length, target.stride)?;
    if !target.rule.needs_entropies() {
        patcher.mean_length = Some(mean_length(&patcher, &sample, &[]));
        return Ok(patcher);
    }
    let entropies: Vec<_> = sample
        .iter()
        .zip(folds)
        .map(|(text, fold)| models.model(fold.map_or(0, |fold| fold + 1)).entropies(text))
        .collect();
    search(&patcher, &sample, &entropies, target.mean_length)
}

/// The texts of the sample, and the fold that each belongs to.
fn sample<'a>(
    models: &CrossFit,
    documents: &'a [Document],
    sample_bytes: usize,
) -> (Vec<&'a [u8]>, Vec<Option<u32>>) {
    let mut chosen: Vec<_> = documents.iter().filter(|document| !document.is_empty()).collect();
    chosen.sort_by_cached_key(|document| xxh3_64(&document.identity()));
    let mut taken = 0;
    chosen.retain(|document| {
        let room = taken < sample_bytes.max(1);
        taken += document.len();
        room
    });
    let texts = chosen.into_iter().flat_map(|document| {
        let fold = models.fold_of(&document.identity());
        document.texts().map(move |text| (&document.bytes[text], fold))
    });
    texts.filter(|(text, _)| !text.is_empty()).unzip()
}

fn search(patcher: &Patcher, sample: &[&[u8]], entropies: &[Vec<f32>], wanted: f64) -> Result<Patcher> {
    let at = |steps: i64| {
        let value = ((steps as f64 + 0.5) / STEPS_PER_NAT) as f32;
        let mut candidate = patcher.clone();
        match candidate.rule {
            Rule::Monotonic => candidate.increment = value,
            _ => candidate.threshold = value,
        }
        let mean = mean_length(&candidate, sample, entropies);
        candidate.mean_length = Some(mean);
        (candidate, mean)
    };
    let (mut low, mut high) = (-RANGE - 1, RANGE);
    let (shortest, longest) = (at(low).1, at(high).1);
    if !(shortest..=longest).contains(&wanted) {
        return Err(DataError::invalid(
            format!(
                "a mean patch length of {wanted} is out of reach: the rule `{}` gives {shortest:.2} to {longest:.2} \
                 with max_length = {}",
                patcher.rule.name(),
                patcher.max_length
            ),
            "change the mean length, `max_length` or the rule",
        ));
    }
    // Lengths grow with the threshold up to the cuts at max_length, which barely move the mean.
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if at(middle).1 < wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    let ((below, short), (above, long)) = (at(low), at(high));
    Ok(if wanted - short < long - wanted { below } else { above })
}

/// Bytes by patches over the sample; the start of the byte after the last is not a patch of the document.
fn mean_length(patcher: &Patcher, sample: &[&[u8]], entropies: &[Vec<f32>]) -> f64 {
    let (mut length, mut count) = (0usize, 0usize);
    let mut starts = Vec::new();
    for (index, bytes) in sample.iter().enumerate() {
        starts.clear();
        starts.resize(bytes.len() + 1, false);
        patcher.fill(bytes, entropies.get(index).map_or(&[], Vec::as_slice), &mut starts);
        length += bytes.len();
        count += starts[..bytes.len()].iter().filter(|&&start| start).count();
    }
    length as f64 / count as f64
}
