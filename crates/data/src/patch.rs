//! Patch starts from bytes and entropies.
//!
//! Invariant: `starts[j]` depends on `entropies[..=j]` and `bytes[..j]` alone. The starts of a prefix are therefore the
//! prefix of the starts, and a document is cut the same way while it is being generated as when it is read whole.
//! The rules follow the Byte Latent Transformer (Pagnoni et al., 2024).

use serde::{Deserialize, Serialize};

use crate::{DataError, Result};

/// When a byte opens a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Its entropy is above the threshold.
    Global,
    /// Its entropy rose by more than the increment.
    Monotonic,
    /// Both of the above.
    Both,
    /// It follows the first space-like byte of a run.
    Space,
    /// Its index is a multiple of the stride.
    Stride,
    /// Always.
    Byte,
}

impl Rule {
    /// The rule's name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Monotonic => "monotonic",
            Self::Both => "both",
            Self::Space => "space",
            Self::Stride => "stride",
            Self::Byte => "byte",
        }
    }

    /// Whether the rule reads entropies.
    pub fn needs_entropies(self) -> bool {
        matches!(self, Self::Global | Self::Monotonic | Self::Both)
    }
}

impl std::str::FromStr for Rule {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self> {
        const ALL: [Rule; 6] =
            [Rule::Global, Rule::Monotonic, Rule::Both, Rule::Space, Rule::Stride, Rule::Byte];
        ALL.into_iter().find(|rule| rule.name() == name).ok_or_else(|| {
            DataError::invalid(
                format!("`{name}` is not a patch rule"),
                "choose `global`, `monotonic`, `both`, `space`, `stride` or `byte`",
            )
        })
    }
}

/// A patch rule with its numbers. Entropies and thresholds are in nats and compared in `f32`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patcher {
    /// When a byte opens a patch.
    pub rule: Rule,
    /// Entropy above which `global` and `both` open a patch.
    pub threshold: f32,
    /// Rise of entropy above which `monotonic` and `both` open a patch.
    pub increment: f32,
    /// Longest patch in bytes; a longer one is cut into pieces of this length, the remainder last.
    pub max_length: usize,
    /// Patch length of the `stride` rule.
    pub stride: usize,
    /// Mean patch length reached on the calibration sample; `None` when the numbers were given by hand.
    #[serde(default)]
    pub mean_length: Option<f64>,
}

impl Patcher {
    /// A patcher with the given numbers, checked.
    pub fn new(rule: Rule, threshold: f32, increment: f32, max_length: usize, stride: usize) -> Result<Self> {
        let patcher = Self { rule, threshold, increment, max_length, stride, mean_length: None };
        patcher.check()?;
        Ok(patcher)
    }

    /// Reads what [`Patcher::to_json`] wrote.
    pub fn from_json(text: &str) -> Result<Self> {
        let patcher: Self = serde_json::from_str(text).map_err(|error| {
            DataError::invalid(
                format!("this is not a patcher: {error}"),
                "pass the text of `Patcher.to_json`",
            )
        })?;
        patcher.check()?;
        Ok(patcher)
    }

    /// One line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// Refuses numbers that no rule can use.
    pub(crate) fn check(&self) -> Result<()> {
        if self.max_length == 0 || self.stride == 0 {
            return Err(DataError::invalid(
                format!("max_length = {} and stride = {} must be at least 1", self.max_length, self.stride),
                "",
            ));
        }
        if !self.threshold.is_finite() || !self.increment.is_finite() {
            return Err(DataError::invalid(
                format!("threshold = {} and increment = {} must be finite", self.threshold, self.increment),
                "",
            ));
        }
        Ok(())
    }

    /// The starts of a document of n bytes: n + 1 values, the last for the byte that would come next.
    /// `entropies` holds n + 1 values where the rule reads them and is ignored otherwise.
    pub fn starts(&self, bytes: &[u8], entropies: Option<&[f32]>) -> Result<Vec<bool>> {
        let mut starts = vec![false; bytes.len() + 1];
        match entropies {
            Some(entropies) if entropies.len() != starts.len() && self.rule.needs_entropies() => {
                return Err(DataError::invalid(
                    format!("a document of {} bytes got {} entropies", bytes.len(), entropies.len()),
                    "pass one entropy a byte and one for the byte after the last",
                ));
            }
            None if self.rule.needs_entropies() => {
                return Err(DataError::invalid(
                    format!("the rule `{}` needs entropies", self.rule.name()),
                    "pass the entropies, or use the rule `space`, `stride` or `byte`",
                ));
            }
            _ => {}
        }
        self.fill(bytes, entropies.unwrap_or_default(), &mut starts);
        Ok(starts)
    }

    /// [`Patcher::starts`] into a slice of n + 1 values, for callers whose lengths are known to agree.
    pub(crate) fn fill(&self, bytes: &[u8], entropies: &[f32], starts: &mut [bool]) {
        let (threshold, increment) = (self.threshold, self.increment);
        let rises = || entropies.windows(2).map(|pair| (pair[0], pair[1]));
        match self.rule {
            Rule::Global => set(starts, entropies[1..].iter().map(|&now| now > threshold)),
            Rule::Monotonic => set(starts, rises().map(|(before, now)| now - before > increment)),
            Rule::Both => {
                let opens = |(before, now)| {
                    let (high, rising) = (now > threshold, now - before > increment);
                    high & rising
                };
                set(starts, rises().map(opens));
            }
            Rule::Space => {
                let mut inside = false;
                set(
                    starts,
                    bytes.iter().map(|&byte| {
                        let space = is_space_like(byte);
                        space & !std::mem::replace(&mut inside, space)
                    }),
                );
            }
            Rule::Stride => starts.iter_mut().step_by(self.stride).for_each(|start| *start = true),
            Rule::Byte => starts.fill(true),
        }
        starts[0] = true;
        cut_long_patches(starts, self.max_length);
    }
}

/// Bytes that end a word: everything but ASCII letters, digits and bytes of multi-byte characters.
pub(crate) fn is_space_like(byte: u8) -> bool {
    byte < 0x80 && !byte.is_ascii_alphanumeric()
}

fn set(starts: &mut [bool], opens: impl Iterator<Item = bool>) {
    starts[1..].iter_mut().zip(opens).for_each(|(start, open)| *start = open);
}

/// Opens a patch every `max_length` bytes of a patch that is longer.
///
/// Works on the set bits of 64 starts at a time: the branch on a long gap is rarely taken, where a byte-by-byte loop
/// mispredicts once a patch.
fn cut_long_patches(starts: &mut [bool], max_length: usize) {
    let mut last = 0;
    for base in (0..starts.len()).step_by(64) {
        let mut bits = pack(&starts[base..(base + 64).min(starts.len())]);
        while bits != 0 {
            let start = base + bits.trailing_zeros() as usize;
            if start - last > max_length {
                cut(starts, last, start, max_length);
            }
            last = start;
            bits &= bits - 1;
        }
    }
    cut(starts, last, starts.len(), max_length);
}

fn cut(starts: &mut [bool], first: usize, end: usize, max_length: usize) {
    for start in starts[first..end].iter_mut().step_by(max_length) {
        *start = true;
    }
}

/// Up to 64 flags as bits, the first lowest.
fn pack(flags: &[bool]) -> u64 {
    // The product gathers the lowest bit of each of eight bytes in its top byte.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let mut bits = 0;
    for (index, chunk) in flags.chunks(8).enumerate() {
        let mut eight = [0; 8];
        eight.iter_mut().zip(chunk).for_each(|(byte, &flag)| *byte = u8::from(flag));
        bits |= (u64::from_le_bytes(eight).wrapping_mul(GATHER) >> 56) << (8 * index);
    }
    bits
}
