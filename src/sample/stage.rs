//! The stages that candidates pass.

use std::fmt;
use std::str::FromStr;

/// One of the things that happen to candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each is an option of the same name
pub enum SampleStage {
    Penalties,
    Dry,
    TopNSigma,
    TopK,
    TypicalP,
    TopP,
    MinP,
    Xtc,
    Temperature,
}

impl SampleStage {
    /// Every stage, in llama.cpp's order.
    pub const ORDER: &'static [SampleStage] = &[
        SampleStage::Penalties,
        SampleStage::Dry,
        SampleStage::TopNSigma,
        SampleStage::TopK,
        SampleStage::TypicalP,
        SampleStage::TopP,
        SampleStage::MinP,
        SampleStage::Xtc,
        SampleStage::Temperature,
    ];

    /// The name users know from llama.cpp's `--samplers`.
    pub const fn name(self) -> &'static str {
        match self {
            SampleStage::Penalties => "penalties",
            SampleStage::Dry => "dry",
            SampleStage::TopNSigma => "top_n_sigma",
            SampleStage::TopK => "top_k",
            SampleStage::TypicalP => "typ_p",
            SampleStage::TopP => "top_p",
            SampleStage::MinP => "min_p",
            SampleStage::Xtc => "xtc",
            SampleStage::Temperature => "temperature",
        }
    }
}

impl FromStr for SampleStage {
    type Err = UnknownSampleStage;

    fn from_str(name: &str) -> Result<SampleStage, UnknownSampleStage> {
        let plain = |name: &str| name.to_ascii_lowercase().replace('-', "_");
        let name = match plain(name).as_str() {
            "typical" | "typical_p" => "typ_p".to_string(),
            "temp" => "temperature".to_string(),
            other => other.to_string(),
        };
        let mut stages = SampleStage::ORDER.iter().copied();
        stages
            .find(|stage| stage.name() == name)
            .ok_or(UnknownSampleStage)
    }
}

/// No stage has that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownSampleStage;

impl fmt::Display for UnknownSampleStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no such stage; known are ")?;
        for (index, stage) in SampleStage::ORDER.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { ", " }, stage.name())?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownSampleStage {}
