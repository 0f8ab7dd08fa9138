//! What the integration tests share: golden fixtures made by the authors' code (see
//! `tools/fixtures/README.md`), folders that last as long as a test, and the comparison of floats.

// Every test file compiles this module for itself and uses a part of it.
#![allow(dead_code)]

pub mod compare;
pub mod damage;
pub mod evaluate;
pub mod evaluated;
pub mod exercise;
pub mod fixture;
pub mod folder;
pub mod generator;
pub mod latent_attention;
pub mod normalized;
pub mod open_folder;
pub mod recent;
pub mod render;
pub mod requantize;
pub mod restore;
pub mod rewrite;
pub mod run_tasks;
pub mod setup;
pub mod survives;
pub mod tensors;
pub mod to_gguf;
pub mod translation;
pub mod turns;
pub mod wide_llama;
