//! What fits into so much memory: the longest context, or the best type of weights.

use super::Blueprint;
use crate::error::RunError;
use crate::kernels::PAGE;
use crate::quantize::{MIXES, Mix, QuantizeError};
use crate::session::SessionOptions;
use rillm_formats::manifest::DType;

/// Of what matrices take, what vectors take at most.
const VECTORS: u64 = 64;

/// The longest context that is looked for where a model names none.
const LONGEST: usize = 1 << 24;

/// The longest context that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fitting {
    /// So many positions.
    Positions(usize),
    /// All that the model was trained for.
    Trained(usize),
    /// What its sequences take does not grow with their length.
    AnyLength,
    /// Not even a page of positions.
    Nothing,
}

/// A mix that fits, and what it makes of the model.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FittedMix {
    /// The mix.
    pub mix: Mix,
    /// The model as `quantize` would write it.
    pub blueprint: Blueprint,
    /// Bytes of weights, state and arena.
    pub total: u64,
}

impl Blueprint {
    /// Bytes of weights, vectors, state and arena of a session of these options.
    ///
    /// # Errors
    /// As [`Blueprint::memory_plan`].
    pub fn total(&self, options: SessionOptions) -> Result<u64, RunError> {
        let plan = self.memory_plan(options)?;
        let weights = self.weights();
        Ok(weights.mapped + weights.vectors + (plan.arena + plan.state) as u64)
    }

    /// The longest context with which all of it fits into `memory` bytes. An encoder's is the length
    /// of its texts.
    ///
    /// # Errors
    /// As [`Blueprint::memory_plan`].
    pub fn longest_context(
        &self,
        options: SessionOptions,
        memory: u64,
    ) -> Result<Fitting, RunError> {
        let with = |pages: usize| match self.decodes() {
            true => options.context(pages * PAGE),
            false => options.source(pages * PAGE),
        };
        let fits = |pages: usize| Ok::<bool, RunError>(self.total(with(pages))? <= memory);
        let grows = |pages: usize| {
            let [short, long] = [1, pages].map(|pages| self.memory_plan(with(pages)));
            let (short, long) = (short?, long?);
            Ok::<bool, RunError>((short.state, short.arena) != (long.state, long.arena))
        };
        if !fits(1)? {
            return Ok(Fitting::Nothing);
        }
        let most = match self.decodes() {
            true => LONGEST,
            false => SessionOptions::MOST,
        };
        let most = self.context().unwrap_or(most).clamp(PAGE, most) / PAGE;
        if self.context().is_none() && !grows(most)? {
            return Ok(Fitting::AnyLength);
        }
        if fits(most)? {
            return Ok(match self.context() {
                Some(_) if !grows(most)? => Fitting::AnyLength,
                Some(trained) => Fitting::Trained(trained),
                None => Fitting::Positions(most * PAGE),
            });
        }
        let (mut least, mut most) = (1, most);
        while most - least > 1 {
            let middle = least.midpoint(most);
            match fits(middle)? {
                true => least = middle,
                false => most = middle,
            }
        }
        Ok(Fitting::Positions(least * PAGE))
    }

    /// The mix of `quantize` that keeps most of the weights' precision and fits into `memory` bytes,
    /// if any does. Models that are quantized are not taken for more precise than they are.
    ///
    /// # Errors
    /// What cannot be quantized, sizes that overflow.
    pub fn best_mix(
        &self,
        options: SessionOptions,
        memory: u64,
    ) -> Result<Option<FittedMix>, QuantizeError> {
        let weights = self.weights();
        // Norms and biases are written as floats, whatever they were.
        let most = weights.mapped + weights.mapped / VECTORS;
        let main = weights.types.first().map(|main| main.dtype);
        let mut best: Option<FittedMix> = None;
        for &mix in MIXES.iter().filter(|mix| is_general(mix)) {
            let blueprint = self.quantized(mix)?;
            let total = blueprint
                .total(options)
                .map_err(|error| QuantizeError::Tensor("of all".to_string(), error.to_string()))?;
            // Of two that are as large, what weights are stored in loses nothing.
            let better = best
                .as_ref()
                .is_none_or(|best| best.total < total || best.total == total && mix.base == main);
            if total <= memory && better && blueprint.weights().mapped <= most {
                best = Some(FittedMix {
                    mix,
                    blueprint,
                    total,
                });
            }
        }
        Ok(best)
    }
}

/// Whether a mix is for any model's weights, rather than for those that were trained for it.
fn is_general(mix: &Mix) -> bool {
    mix.base.is_some_and(|base| base != DType::MXFP4) && !mix.is_of_trained_values()
}
