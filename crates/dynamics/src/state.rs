//! Versioned state bytes: a header, a payload written field by field, a checksum.
//!
//! `magic [8] | version u32 | settings digest u64 | payload length u64 | payload | xxh3_64 of all before`, little-endian.
//! Reading is bounded by the bytes that are there: a length that they cannot hold is refused before memory is taken.

use std::collections::VecDeque;

use xxhash_rust::xxh3::xxh3_64;

use crate::error::{DynamicsError, Result};

const HEADER: usize = 28;
const CHECKSUM: usize = 8;

/// What kind of state the bytes hold.
pub(crate) struct Format {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u32,
    pub(crate) name: &'static str,
}

impl Format {
    /// Header, payload and checksum of a state.
    pub(crate) fn seal(&self, digest: u64, state: &impl Codec) -> Vec<u8> {
        let mut payload = Vec::new();
        state.write(&mut payload);
        let mut bytes = Vec::with_capacity(payload.len() + HEADER + CHECKSUM);
        bytes.extend(self.magic);
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(digest.to_le_bytes());
        bytes.extend((payload.len() as u64).to_le_bytes());
        bytes.extend(payload);
        bytes.extend(xxh3_64(&bytes).to_le_bytes());
        bytes
    }

    /// The state in `bytes`, or why they hold none for these settings.
    pub(crate) fn open<T: Codec>(&self, digest: u64, bytes: &[u8]) -> Result<T> {
        let name = self.name;
        let whole = "restore the file from another checkpoint, or start a fresh model";
        if bytes.len() < 8 || bytes[..8] != self.magic {
            return Err(DynamicsError::state(format!("these bytes are no state of {name}"), whole));
        }
        let cut = || DynamicsError::state(format!("the state of {name} is cut short"), whole);
        let mut header = Reader { bytes: bytes.get(8..HEADER).ok_or_else(cut)? };
        let version = u32::read(&mut header)?;
        if version != self.version {
            return Err(DynamicsError::state(
                format!("the state of {name} has version {version}, this program reads {}", self.version),
                "go on with the version of NEAT that wrote it",
            ));
        }
        let (found, length) = (u64::read(&mut header)?, u64::read(&mut header)?);
        if bytes.len() as u64 != length.saturating_add((HEADER + CHECKSUM) as u64) {
            return Err(cut());
        }
        let (body, checksum) = bytes.split_at(bytes.len() - CHECKSUM);
        if xxh3_64(body).to_le_bytes() != checksum {
            return Err(DynamicsError::state(format!("the state of {name} is damaged"), whole));
        }
        if found != digest {
            return Err(DynamicsError::state(
                format!("the state of {name} was written under other settings"),
                "go on with the settings it was made with, or start a fresh model",
            ));
        }
        let mut reader = Reader { bytes: &body[HEADER..] };
        let state = T::read(&mut reader)?;
        if reader.bytes.is_empty() { Ok(state) } else { Err(reader.misfit()) }
    }
}

/// The rest of a payload.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((head, rest)) = self.bytes.split_first_chunk::<N>() else { return Err(self.misfit()) };
        self.bytes = rest;
        Ok(*head)
    }

    /// A length that the remaining bytes can hold.
    fn length(&mut self) -> Result<usize> {
        let length = u64::from_le_bytes(self.take()?);
        if length > self.bytes.len() as u64 { Err(self.misfit()) } else { Ok(length as usize) }
    }

    /// The error for bytes whose checksum is right and whose content is not.
    pub(crate) fn misfit(&self) -> DynamicsError {
        misfit(&format!("{} bytes before its end", self.bytes.len()))
    }
}

/// The error for a state whose parts do not fit one another.
pub(crate) fn misfit(place: &str) -> DynamicsError {
    DynamicsError::state(
        format!("the content of the state does not fit its settings ({place})"),
        "restore the file from another checkpoint, or start a fresh model",
    )
}

/// A value that can be written to and read from a payload. No value takes zero bytes.
pub(crate) trait Codec: Sized {
    /// Appends the value.
    fn write(&self, out: &mut Vec<u8>);
    /// Takes the value off the front.
    fn read(from: &mut Reader<'_>) -> Result<Self>;
}

macro_rules! number {
    ($($kind:ty),*) => {$(
        impl Codec for $kind {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend(self.to_le_bytes());
            }
            fn read(from: &mut Reader<'_>) -> Result<Self> {
                Ok(Self::from_le_bytes(from.take()?))
            }
        }
    )*};
}
number!(u32, u64, f64);

impl Codec for usize {
    fn write(&self, out: &mut Vec<u8>) {
        (*self as u64).write(out);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self> {
        Ok(u64::read(from)? as Self)
    }
}

impl Codec for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn read(from: &mut Reader<'_>) -> Result<Self> {
        match from.take::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(from.misfit()),
        }
    }
}

impl<T: Codec> Codec for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        self.is_some().write(out);
        if let Some(value) = self {
            value.write(out);
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self> {
        Ok(if bool::read(from)? { Some(T::read(from)?) } else { None })
    }
}

impl<A: Codec, B: Codec> Codec for (A, B) {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self> {
        Ok((A::read(from)?, B::read(from)?))
    }
}

impl<T: Codec> Codec for Vec<T> {
    fn write(&self, out: &mut Vec<u8>) {
        self.len().write(out);
        for value in self {
            value.write(out);
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self> {
        let length = from.length()?;
        (0..length).map(|_| T::read(from)).collect()
    }
}

impl<T: Codec> Codec for VecDeque<T> {
    fn write(&self, out: &mut Vec<u8>) {
        self.len().write(out);
        for value in self {
            value.write(out);
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self> {
        Ok(Vec::read(from)?.into())
    }
}

/// Implements [`Codec`] for a struct by listing its fields.
macro_rules! codec {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::state::Codec for $name {
            fn write(&self, out: &mut Vec<u8>) {
                $($crate::state::Codec::write(&self.$field, out);)*
            }
            fn read(from: &mut $crate::state::Reader<'_>) -> $crate::error::Result<Self> {
                Ok(Self { $($field: $crate::state::Codec::read(from)?),* })
            }
        }
    };
}
pub(crate) use codec;
