//! How far a product may depart from the reference for the sake of speed.

use core::fmt;
use core::str::FromStr;

/// How floats of 16 bits are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Precision {
    /// In float32, as the reference does.
    #[default]
    Reference,
    /// As the CPU multiplies them: what meets F16 and BF16 weights is rounded to 16 bits where it
    /// has instructions for such products, which are summed up in float32.
    Native,
}

impl Precision {
    /// Both.
    pub const ALL: &'static [Precision] = &[Precision::Reference, Precision::Native];

    /// The name users know.
    pub const fn name(self) -> &'static str {
        match self {
            Precision::Reference => "reference",
            Precision::Native => "native",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Precision, UnknownPrecision> {
        let mut all = Precision::ALL.iter().copied();
        let found = all.find(|precision| precision.name() == name);
        found.ok_or(UnknownPrecision)
    }
}

/// No precision has this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPrecision;

impl fmt::Display for UnknownPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected reference or native")
    }
}

impl core::error::Error for UnknownPrecision {}
