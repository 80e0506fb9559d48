//! Look-ups by context: the stored entropy, and the place of a context within its level.
//!
//! Both tables compare whole keys, so a hit is never another context's.

use super::counts::{BOS, SYMBOL_BITS, SYMBOL_MASK};
use super::kneser_ney::{Level, STEPS_PER_NAT};

const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
const BATCH: usize = 64;
/// Positions before which a context may reach over the beginning of the document; eight for a load of one word.
pub(crate) const WORD: usize = 8;

/// Slots for `contexts` keys, at most two thirds full, and the shift that turns a hash into a slot.
fn size(contexts: usize) -> (usize, u32) {
    let slots = (contexts * 3 / 2 + 1).next_power_of_two();
    (slots, 64 - slots.trailing_zeros().max(1))
}

fn home(key: u64, shift: u32) -> usize {
    (key.wrapping_mul(MULTIPLIER) >> shift) as usize
}

/// Open addressing from a context to its place in [`Level::contexts`]; a slot holds the place plus one.
#[derive(Debug, Clone)]
pub(crate) struct ContextIndex {
    slots: Vec<u32>,
    shift: u32,
}

impl ContextIndex {
    pub(crate) fn new(level: &Level) -> Self {
        let (slots, shift) = size(level.contexts.len());
        let mut index = Self { slots: vec![0; slots.max(2)], shift };
        let mask = index.slots.len() - 1;
        for (place, &key) in level.contexts.iter().enumerate() {
            let mut slot = home(key, shift);
            while index.slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            index.slots[slot] = place as u32 + 1;
        }
        index
    }

    /// The place of `key` among the contexts that the index was built from.
    pub(crate) fn find(&self, contexts: &[u64], key: u64) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let mut slot = home(key, self.shift);
        loop {
            let place = self.slots[slot].checked_sub(1)? as usize;
            if contexts[place] == key {
                return Some(place);
            }
            slot = (slot + 1) & mask;
        }
    }
}

/// Entropies of the contexts of one length that lie inside a document: 48 bits of bytes and 16 of entropy in a slot.
///
/// An entropy is stored plus one; 0 marks an empty slot.
#[derive(Debug, Clone)]
struct EntropyLevel {
    slots: Vec<u64>,
    shift: u32,
}

impl EntropyLevel {
    fn new(level: &Level, entropies: &[u16]) -> Self {
        let (slots, shift) = size(level.contexts.len());
        let mut table = Self { slots: vec![0; slots.max(2)], shift };
        let mask = table.slots.len() - 1;
        for (&context, &entropy) in level.contexts.iter().zip(entropies) {
            let Some(key) = bytes_only(context) else { continue };
            let mut slot = home(key, shift);
            while table.slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            table.slots[slot] = (key << 16) | (u64::from(entropy) + 1);
        }
        table
    }

    fn find(&self, key: u64) -> Option<u16> {
        let mask = self.slots.len() - 1;
        let mut slot = home(key, self.shift);
        loop {
            let value = self.slots[slot];
            if let Some(entropy) = matching(value, key) {
                return Some(entropy);
            }
            if value == 0 {
                return None;
            }
            slot = (slot + 1) & mask;
        }
    }
}

/// The entropy in a slot, if the slot is `key`'s.
fn matching(slot: u64, key: u64) -> Option<u16> {
    let rest = (slot ^ (key << 16)).wrapping_sub(1);
    (rest < u64::from(u16::MAX)).then_some(rest as u16)
}

/// A context of nine-bit symbols as one of bytes, the newest highest; `None` if it reaches before the document.
fn bytes_only(context: u64) -> Option<u64> {
    if context & SYMBOL_MASK == BOS {
        return None;
    }
    let bytes = (0..8).map(|place| ((context >> (SYMBOL_BITS * place)) & 0xFF) << (8 * place));
    Some(bytes.sum())
}

/// The entropy of the longest stored suffix, for positions with at least [`WORD`] bytes before them.
#[derive(Debug, Clone)]
pub(crate) struct EntropyTable {
    /// Entropy plus one by the last two bytes, the longest stored suffix already chosen.
    pairs: Vec<u16>,
    /// Contexts of 3, 4, .. bytes.
    longer: Vec<EntropyLevel>,
}

impl EntropyTable {
    /// From the levels and their entropies, the empty context first.
    pub(crate) fn new(levels: &[Level], entropies: &[Vec<u16>]) -> Self {
        let mut pairs = vec![entropies[0][0]; 1 << 16];
        for length in 1..levels.len().min(3) {
            for (&context, &entropy) in levels[length].contexts.iter().zip(&entropies[length]) {
                let Some(key) = bytes_only(context) else { continue };
                let span = 1 << (8 * (2 - length));
                pairs[key as usize * span..(key as usize + 1) * span].fill(entropy);
            }
        }
        let longer = levels.iter().zip(entropies).skip(3).map(|(level, e)| EntropyLevel::new(level, e));
        Self { pairs, longer: longer.collect() }
    }

    /// Entropies in nats at the positions [`WORD`]`..`, one for each window of eight bytes.
    pub(crate) fn fill(&self, bytes: &[u8], out: &mut [f32]) {
        let mut words = [0u64; BATCH];
        let mut steps = [0u16; BATCH];
        for (batch, out) in out.chunks_mut(BATCH).enumerate() {
            let bytes = &bytes[batch * BATCH..];
            for (word, window) in words.iter_mut().zip(bytes.windows(WORD)).take(out.len()) {
                *word = window.iter().rev().fold(0, |word, &byte| (word << 8) | u64::from(byte));
            }
            self.look_up(&words[..out.len()], &mut steps);
            for (entropy, &steps) in out.iter_mut().zip(&steps) {
                *entropy = f32::from(steps) / STEPS_PER_NAT as f32;
            }
        }
    }

    /// The entropies of a batch, the longest contexts of all positions first, then the next shorter ones of those that
    /// had none: the loads of a level are independent, so that the processor overlaps them.
    fn look_up(&self, words: &[u64], steps: &mut [u16; BATCH]) {
        let mut pending: [u8; BATCH] = std::array::from_fn(|index| index as u8);
        let mut num_pending = words.len();
        let mut first_slots = [0u64; BATCH];
        for (index, level) in self.longer.iter().enumerate().rev() {
            let unused = 64 - 8 * (index + 3);
            for (slot, &at) in first_slots.iter_mut().zip(&pending[..num_pending]) {
                *slot = level.slots[home(words[at as usize] >> unused, level.shift)];
            }
            let mut missing = 0;
            for place in 0..num_pending {
                let at = pending[place];
                let key = words[at as usize] >> unused;
                let mut found = matching(first_slots[place], key);
                if found.is_none() && first_slots[place] != 0 {
                    found = level.find(key);
                }
                steps[at as usize] = found.unwrap_or_default();
                pending[missing] = at;
                missing += usize::from(found.is_none());
            }
            num_pending = missing;
        }
        for &at in &pending[..num_pending] {
            steps[at as usize] = self.pairs[(words[at as usize] >> 48) as usize];
        }
    }
}
