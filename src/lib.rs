//! Language models on plain CPUs: weights are mapped and not loaded, memory is planned before the
//! first token and does not grow after it, and a token costs no allocation.
//!
//! A file becomes a [`Model`] once: immutable, shared, cheap to clone. A [`Session`] is a model's
//! working memory: activations, the KV cache, recurrent states. Rows go into a session and outputs
//! come out; [`generate`](mod@generate) makes that prompts and texts.
//!
//! ```
//! use rillm::formats::tokenizer::{DecodeOptions, EncodeOptions};
//! use rillm::generate::{GenerateOptions, Generator};
//! use rillm::sample::{SampleOptions, Sampler};
//! use rillm::{Model, ModelOptions, Session, SessionOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model = Model::open("assets/demo.gguf", ModelOptions::default())?;
//! let tokenizer = model.tokenizer()?;
//! let mut session = Session::new(&model, SessionOptions::default().context(256))?;
//! let mut sampler = Sampler::new(SampleOptions::default(), tokenizer.vocabulary_len(), 256);
//!
//! let begin = EncodeOptions::default().add_special(true);
//! let prompt = tokenizer.encode("Once upon a time", begin)?;
//! let options = GenerateOptions::default()
//!     .end_tokens(tokenizer.end_tokens())
//!     .max_tokens(40);
//! let mut decoder = tokenizer.decoder(DecodeOptions::default());
//! let mut text = String::new();
//! for token in Generator::new(&mut session, &prompt, options, &mut sampler)? {
//!     text.clear();
//!     decoder.push(token?, &mut text);
//!     print!("{text}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is where
//!
//! | to | see |
//! |---|---|
//! | open a model: GGUF or a Hugging Face folder, with a number of threads or an instruction set | [`Model::open`], [`ModelOptions`] |
//! | know what memory a session takes before it is opened | [`Session::memory_plan`] |
//! | know what a model takes before its weights are there | [`Blueprint`] |
//! | go from text to tokens and back | [`Model::tokenizer`], [`formats::tokenizer`] |
//! | write text, token by token, with an iterator or a function | [`generate::Generator`], [`generate::generate`] |
//! | choose tokens: temperature, top-k, penalties, Mirostat, … | [`sample`] |
//! | talk with a model through its own template | [`chat`] |
//! | embed texts, and compare them | [`tasks`] |
//! | get any output of a model | [`Session::encode`], [`Session::feed`], [`Output`] |
//! | run several sequences, share a prompt among them | [`SessionOptions::sequences`], [`Session::fork`] |
//! | go back, or go on when the context is full | [`Session::rewind`], [`Session::checkpoint`], [`Session::discard`] |
//! | keep a prompt's KV cache in a file | [`Session::snapshot`], [`Session::restore`] |
//! | write a model's file with smaller weights | [`quantize`](mod@quantize) |
//! | read and write model files alone | [`formats`] |
//! | know what went wrong | [`LoadError`], [`RunError`], [`error`] |
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `chat` (default) | [`chat`]: conversations through Jinja templates |
//! | `capi` | the functions that `include/rillm.h` declares; the crate `capi` makes libraries of them |
//!
//! # Promises
//!
//! The library never prints, exits or aborts, and reads no environment. No input crashes it: what
//! is wrong with a file is a [`LoadError`] of one line. Results are the same bits for any number of
//! threads and for any way of cutting a prompt. After a session's first rows nothing is allocated.
//!
//! `ARCHITECTURE.md` is the way into the code.

mod arena;
mod blueprint;
#[cfg(feature = "capi")]
#[doc(hidden)]
pub mod capi;
#[cfg(feature = "chat")]
pub mod chat;
mod checksum;
mod convert;
pub mod error;
mod eval;
mod exec;
pub mod generate;
mod graph;
mod json;
mod knobs;
mod model;
mod models;
mod plan;
mod platform;
mod pool;
pub mod quantize;
mod replace;
mod reserve;
mod residency;
pub mod sample;
mod session;
mod setters;
mod state;
mod synthetic;
pub mod tasks;
mod weights;

pub use rillm_formats as formats;
use rillm_kernels as kernels;
use rillm_kernels::quant;

pub use blueprint::{Blueprint, FittedMix, Fitting, LayerWeights, TypeWeights, WeightFigures};
pub use error::{LoadError, RunError};
pub use exec::{Output, Row, Sink};
pub use graph::RowSpace;
#[doc(inline)]
pub use kernels::{Isa, PackFrom, Precision, Tuning};
pub use model::{Limits, Model, ModelOptions, Presumed, SessionBytes};
pub use residency::{Placement, Traffic};
pub use session::{MemoryPlan, PlanFigures, Session, SessionOptions, SnapshotError, StateFigures};
#[doc(inline)]
pub use state::KvType;

/// The example of the README, which must run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[doc(hidden)]
pub mod internals;
