//! The stages that candidates pass.

use std::fmt;
use std::str::FromStr;

/// One of the things that happen to candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each is an option of the same name
pub enum Stage {
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

impl Stage {
    /// Every stage, in llama.cpp's order.
    pub const ORDER: &'static [Stage] = &[
        Stage::Penalties,
        Stage::Dry,
        Stage::TopNSigma,
        Stage::TopK,
        Stage::TypicalP,
        Stage::TopP,
        Stage::MinP,
        Stage::Xtc,
        Stage::Temperature,
    ];

    /// The name users know from llama.cpp's `--samplers`.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Penalties => "penalties",
            Stage::Dry => "dry",
            Stage::TopNSigma => "top_n_sigma",
            Stage::TopK => "top_k",
            Stage::TypicalP => "typ_p",
            Stage::TopP => "top_p",
            Stage::MinP => "min_p",
            Stage::Xtc => "xtc",
            Stage::Temperature => "temperature",
        }
    }
}

impl FromStr for Stage {
    type Err = UnknownStage;

    fn from_str(name: &str) -> Result<Stage, UnknownStage> {
        let plain = |name: &str| name.to_ascii_lowercase().replace('-', "_");
        let name = match plain(name).as_str() {
            "typical" | "typical_p" => "typ_p".to_string(),
            "temp" => "temperature".to_string(),
            other => other.to_string(),
        };
        let mut stages = Stage::ORDER.iter().copied();
        stages
            .find(|stage| stage.name() == name)
            .ok_or(UnknownStage)
    }
}

/// No stage has that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownStage;

impl fmt::Display for UnknownStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no such stage; known are ")?;
        for (index, stage) in Stage::ORDER.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { ", " }, stage.name())?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownStage {}
