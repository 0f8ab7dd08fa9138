//! Figures that people quote of kinds of models, and what is planned for the same shapes.

use crate::CliError;
use crate::arguments::ThreadArguments;
use crate::plan::{blueprint, total};
use rillm::{KvType, SessionOptions};
use std::path::Path;

/// Positions that the figures are for.
pub const CONTEXT: usize = 16_384;

/// A figure that is quoted.
pub struct QuotedFigure {
    /// What of.
    pub what: &'static str,
    /// Its shape.
    pub shape: &'static str,
    /// Gigabytes.
    pub memory: f64,
    /// Tokens per second, on a graphics card.
    pub speed: Option<u32>,
    /// Where ours differs and why.
    pub why: &'static str,
}

/// All are for graphics cards, and for 16,384 tokens.
pub const QUOTED: &[QuotedFigure] = &[
    QuotedFigure {
        what: "LLaMA 3 70B",
        shape: "llama-3-70b",
        memory: 48.0,
        speed: None,
        why: "four bits a weight are 40 GiB, and eight heads of keys and values for 64 of queries keep \
              the cache at 5 GiB: quoted is the one with the other",
    },
    QuotedFigure {
        what: "Mixtral 8x22B",
        shape: "mixtral-8x22b",
        memory: 32.0,
        speed: None,
        why: "a token meets 39 of its 141 billion parameters, but the next one may meet any other: all of \
              them must be at hand, in memory or on a disk; 32 GB are two bits a weight, or a part of them",
    },
    QuotedFigure {
        what: "Longformer",
        shape: "led-large",
        memory: 18.0,
        speed: None,
        why: "quoted is training, or a batch of texts; to read one text it takes weights and what a layer \
              holds of the text, which grows with it and not with its square (planned: LED, whose encoder \
              reads 16,384 tokens; Longformer itself reads 4,096)",
    },
    QuotedFigure {
        what: "Mamba 7B",
        shape: "mamba-7b",
        memory: 6.0,
        speed: None,
        why: "the state is the same at any length; what counts are weights, of which 6 GB hold six bits each",
    },
    QuotedFigure {
        what: "a Transformer of 7B",
        shape: "llama-2-7b",
        memory: 24.0,
        speed: Some(120),
        why: "13 GiB of weights in 16 bits and 8 GiB of keys and values, each head having its own",
    },
    QuotedFigure {
        what: "Mamba beside it",
        shape: "mamba-2.8b",
        memory: 8.0,
        speed: Some(380),
        why: "nobody says which; planned is Mamba 2.8B, whose 16 bits a weight and what a runtime reserves \
              come near it",
    },
    QuotedFigure {
        what: "RetNet beside it",
        shape: "retnet-6.7b",
        memory: 10.0,
        speed: Some(260),
        why: "nobody says which; planned is RetNet 6.7B, whose weights alone are more in 16 bits, and \
              whose state is of constant size",
    },
];

/// Bytes that are planned for a shape in 16 bits and in four.
pub fn planned(quoted: &QuotedFigure, threads: &ThreadArguments) -> Result<[u64; 2], CliError> {
    let options = SessionOptions::default()
        .context(CONTEXT)
        .source(CONTEXT)
        .kv_type(KvType::F16);
    let mut bytes = [0; 2];
    for (bytes, mix) in bytes.iter_mut().zip(["f16", "q4_k_m"]) {
        let planned = blueprint(Path::new(quoted.shape), mix.parse().ok(), threads)?;
        *bytes = total(&planned.weights(), &planned.memory_plan(options)?);
    }
    Ok(bytes)
}
