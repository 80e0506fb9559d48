//! Rows of the hashed n-gram embeddings.
//!
//! For order n at the byte with index j the symbols `s[j], s[j-1], .. s[j-n+1]` (256 before the document) give
//! `sum over k of (s[j-k] + 1) PRIME^(k+1)`, plus `n SALT`, in wrapping 64-bit arithmetic, which is mixed and reduced to
//! a row of one fused table of `orders x rows`. The sum is a polynomial in PRIME and is carried from byte to byte.

use crate::{DataError, Result};

const PRIME: u64 = 0x9E37_79B9_7F4A_7C15;
const SALT: u64 = 0xD1B5_4A32_D192_ED03;
const MIX: u64 = 0xBF58_476D_1CE4_E5B9;
const BOS: u64 = 256;
const MAX_ORDER: usize = 64;

/// The orders and the size of the hash tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashTables {
    orders: Vec<usize>,
    rows: u64,
}

impl HashTables {
    /// One table of `rows` rows for each order; no order means no hashes.
    pub fn new(orders: &[usize], rows: usize) -> Result<Self> {
        if let Some(order) = orders.iter().find(|&&order| order == 0 || order > MAX_ORDER) {
            return Err(DataError::invalid(
                format!("a hash n-gram of {order} bytes is not possible"),
                format!("choose orders from 1 to {MAX_ORDER}"),
            ));
        }
        if !orders.is_empty() && (rows == 0 || rows > u32::MAX as usize) {
            return Err(DataError::invalid(
                format!("hash tables of {rows} rows are not possible"),
                "choose between 1 and 2^32 - 1",
            ));
        }
        Ok(Self { orders: orders.to_vec(), rows: rows as u64 })
    }

    /// Number of tables.
    pub fn num_tables(&self) -> usize {
        self.orders.len()
    }

    /// `hash % rows`, without the division for a power of two.
    fn reduce(&self, hash: u64) -> u64 {
        if self.rows.is_power_of_two() { hash & (self.rows - 1) } else { hash % self.rows }
    }

    /// Fills `out`, position-major `[positions, tables]`, for consecutive input positions.
    ///
    /// Position p is the input whose last byte has index p - 1; position 0 is the beginning of the document.
    pub(crate) fn fill(&self, bytes: &[u8], first: usize, out: &mut [i64]) {
        let tables = self.orders.len();
        for (table, &order) in self.orders.iter().enumerate() {
            let offset = table as u64 * self.rows;
            let salt = (order as u64).wrapping_mul(SALT);
            let leaving = PRIME.wrapping_pow(order as u32 + 1);
            let mut sum = polynomial(bytes, first, order);
            for (index, row) in out.iter_mut().skip(table).step_by(tables).enumerate() {
                let position = first + index;
                if index > 0 {
                    let entering = symbol(bytes, position, 0);
                    let gone = symbol(bytes, position, order);
                    sum = sum.wrapping_add(entering).wrapping_mul(PRIME);
                    sum = sum.wrapping_sub(gone.wrapping_mul(leaving));
                }
                *row = (self.reduce(mix(sum.wrapping_add(salt))) + offset) as i64;
            }
        }
    }
}

fn polynomial(bytes: &[u8], position: usize, order: usize) -> u64 {
    (0..order)
        .rev()
        .fold(0u64, |sum, back| sum.wrapping_add(symbol(bytes, position, back)).wrapping_mul(PRIME))
}

/// One more than the symbol `back` places before the last byte of a position's input.
fn symbol(bytes: &[u8], position: usize, back: usize) -> u64 {
    if back < position { u64::from(bytes[position - back - 1]) + 1 } else { BOS + 1 }
}

fn mix(mut acc: u64) -> u64 {
    acc ^= acc >> 32;
    acc = acc.wrapping_mul(MIX);
    acc ^ (acc >> 29)
}
