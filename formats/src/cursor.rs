//! The only reader of binary headers: every take is checked against what is left.

use alloc::format;
use core::fmt::Display;

use byteorder::{BigEndian, ByteOrder, LittleEndian};

use crate::error::{ErrorKind, FormatError, Quoted};

/// Which end of a number comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endian {
    Little,
    Big,
}

/// A position in a slice. `what` names the item being read, for the error.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
    endian: Endian,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor {
            bytes,
            position: 0,
            endian: Endian::Little,
        }
    }

    /// The same place, numbers read in the given order from here on.
    pub(crate) fn with_endian(self, endian: Endian) -> Cursor<'a> {
        Cursor { endian, ..self }
    }

    /// Bytes from the start.
    pub(crate) fn offset(&self) -> u64 {
        self.position as u64
    }

    /// Bytes left.
    pub(crate) fn remaining(&self) -> u64 {
        self.rest().len() as u64
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    /// The next `len` bytes.
    pub(crate) fn take(&mut self, len: u64, what: &dyn Display) -> Result<&'a [u8], FormatError> {
        let taken = usize::try_from(len)
            .ok()
            .and_then(|len| self.rest().get(..len))
            .ok_or_else(|| {
                FormatError::new(
                    ErrorKind::Truncated,
                    Some(self.offset()),
                    format!(
                        "{what} needs {len} bytes, {} are left: the file is cut short or damaged",
                        self.remaining()
                    ),
                )
            })?;
        self.position += taken.len();
        Ok(taken)
    }

    /// The bytes that `read` passes.
    pub(crate) fn passed(
        &mut self,
        read: impl FnOnce(&mut Cursor<'a>) -> Result<(), FormatError>,
    ) -> Result<&'a [u8], FormatError> {
        let start = self.position;
        read(self)?;
        Ok(self.bytes.get(start..self.position).unwrap_or_default())
    }

    pub(crate) fn u8(&mut self, what: &dyn Display) -> Result<u8, FormatError> {
        let bytes = self.take(1, what)?;
        Ok(bytes.first().copied().unwrap_or_default())
    }

    pub(crate) fn u16(&mut self, what: &dyn Display) -> Result<u16, FormatError> {
        let bytes = self.take(2, what)?;
        Ok(match self.endian {
            Endian::Little => LittleEndian::read_u16(bytes),
            Endian::Big => BigEndian::read_u16(bytes),
        })
    }

    pub(crate) fn u32(&mut self, what: &dyn Display) -> Result<u32, FormatError> {
        let bytes = self.take(4, what)?;
        Ok(match self.endian {
            Endian::Little => LittleEndian::read_u32(bytes),
            Endian::Big => BigEndian::read_u32(bytes),
        })
    }

    pub(crate) fn u64(&mut self, what: &dyn Display) -> Result<u64, FormatError> {
        let bytes = self.take(8, what)?;
        Ok(match self.endian {
            Endian::Little => LittleEndian::read_u64(bytes),
            Endian::Big => BigEndian::read_u64(bytes),
        })
    }

    /// A string: u64 length, at most `limit`, then its bytes.
    pub(crate) fn string(
        &mut self,
        limit: u64,
        what: &dyn Display,
    ) -> Result<&'a [u8], FormatError> {
        let at = self.offset();
        let len = self.u64(&format_args!("the length of {what}"))?;
        if len > limit {
            return Err(FormatError::new(
                ErrorKind::Limit,
                Some(at),
                format!("{what} claims {len} bytes, at most {limit} are accepted"),
            ));
        }
        self.take(len, what)
    }

    /// A string that must be UTF-8.
    pub(crate) fn text(&mut self, limit: u64, what: &dyn Display) -> Result<&'a str, FormatError> {
        let bytes = self.string(limit, what)?;
        core::str::from_utf8(bytes).map_err(|error| {
            let start = self.offset().saturating_sub(bytes.len() as u64);
            // What could be read shows which string it is.
            let (good, _) = bytes
                .split_at_checked(error.valid_up_to())
                .unwrap_or_default();
            let good = core::str::from_utf8(good).unwrap_or_default();
            FormatError::new(
                ErrorKind::Syntax,
                Some(start.saturating_add(good.len() as u64)),
                format!("{what} is not UTF-8 after {}", Quoted(good)),
            )
        })
    }

    /// Refuses `count` items of at least `each` bytes if they cannot be in what is left.
    pub(crate) fn expect_room(
        &self,
        count: u64,
        each: u64,
        what: &dyn Display,
    ) -> Result<(), FormatError> {
        match count.checked_mul(each) {
            Some(needed) if needed <= self.remaining() => Ok(()),
            _ => Err(FormatError::new(
                ErrorKind::Truncated,
                Some(self.offset()),
                format!(
                    "{what}: {count} of at least {each} bytes each do not fit in the {} bytes left",
                    self.remaining()
                ),
            )),
        }
    }
}
