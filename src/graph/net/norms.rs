//! Norms.

use super::Net;
use crate::graph::{BuildError, NormKind, Value, Vector, op};
use rillm_formats::manifest::Container;

impl Net<'_, '_> {
    /// Root-mean-square normalisation with `{name}.weight`.
    pub fn rms_norm(&self, x: Value, name: &str, eps: f32) -> Result<Value, BuildError> {
        self.rms_norm_by(x, name, self.width(x), eps)
    }

    /// The same for each of `groups` parts of a row by itself, with a weight for every element.
    /// Converters to GGUF cut the weight into rows, a group in each.
    pub fn rms_norm_parts(
        &self,
        x: Value,
        name: &str,
        groups: usize,
        eps: f32,
    ) -> Result<Value, BuildError> {
        let width = self.width(x);
        assert!(
            width.is_multiple_of(groups),
            "architecture: norm of broken groups"
        );
        let name = format!("{name}.weight");
        let weight = match self.builder.config().container {
            Container::Gguf => self.builder.vector(&name, &[groups, width / groups])?,
            Container::HuggingFace => self.builder.vector(&name, &[width])?,
        };
        Ok(self.push_rms_norm(x, weight, width / groups, eps))
    }

    /// The same with a weight that is called otherwise.
    pub fn rms_norm_of(&self, x: Value, weight: Vector, eps: f32) -> Value {
        assert_eq!(self.width(x), weight.len, "architecture: unequal operands");
        self.push_rms_norm(x, weight, weight.len, eps)
    }

    /// Root-mean-square normalisation and no weight.
    pub fn bare_rms_norm(&self, x: Value, eps: f32) -> Value {
        self.rms_norm_plain(x, self.width(x), eps)
    }

    /// The same for each `group` of neighbouring elements by itself: every head of queries or
    /// keys, with one weight for all.
    pub fn rms_norm_by(
        &self,
        x: Value,
        name: &str,
        group: usize,
        eps: f32,
    ) -> Result<Value, BuildError> {
        assert!(
            self.width(x).is_multiple_of(group),
            "architecture: norm of broken groups"
        );
        let weight = self.builder.vector(&format!("{name}.weight"), &[group])?;
        Ok(self.push_rms_norm(x, weight, group, eps))
    }

    pub(super) fn push_rms_norm(&self, x: Value, weight: Vector, group: usize, eps: f32) -> Value {
        let op = op::Norm {
            x,
            kind: NormKind::Rms,
            weight,
            bias: None,
            eps,
            group,
        };
        self.push(x, self.width(x), op)
    }

    /// The same for each group by itself, without a weight.
    pub fn rms_norm_plain(&self, x: Value, group: usize, eps: f32) -> Value {
        self.rms_norm_scaled(x, (group, 1.0), eps)
    }

    /// x / √(Σx² + eps) for each group by itself.
    pub fn l2_norm(&self, x: Value, group: usize, eps: f32) -> Value {
        let count = group as f32;
        self.rms_norm_scaled(x, (group, 1.0 / count.sqrt()), eps / count)
    }

    pub(super) fn rms_norm_scaled(
        &self,
        x: Value,
        (group, factor): (usize, f32),
        eps: f32,
    ) -> Value {
        assert!(
            self.width(x).is_multiple_of(group),
            "architecture: norm of broken groups"
        );
        let weight = self.builder.constant((0..group).map(|_| factor));
        self.push_rms_norm(x, weight, group, eps)
    }

    /// Layer normalisation with `{name}.weight` and, if there is one, `{name}.bias`.
    pub fn layer_norm(&self, x: Value, name: &str, eps: f32) -> Result<Value, BuildError> {
        self.layer_norm_by(x, name, &[self.width(x)], eps)
    }

    /// The same for each group of neighbouring elements by itself. `shape` is that of the
    /// weight: its innermost extent is the group's; a weight may be the same for all groups or
    /// have a row for each.
    pub fn layer_norm_by(
        &self,
        x: Value,
        name: &str,
        shape: &[usize],
        eps: f32,
    ) -> Result<Value, BuildError> {
        let (width, group) = (self.width(x), shape.last().copied().unwrap_or(1));
        let weights: usize = shape.iter().product();
        assert!(
            width.is_multiple_of(group) && (weights == group || weights == width),
            "architecture: norm of broken groups"
        );
        let weight = self.builder.vector(&format!("{name}.weight"), shape)?;
        let bias = self
            .builder
            .optional_vector(&format!("{name}.bias"), shape)?;
        let op = op::Norm {
            x,
            kind: NormKind::Layer,
            weight,
            bias,
            eps,
            group,
        };
        Ok(self.push(x, width, op))
    }

    /// Layer normalisation of each group by itself, with a weight (and a bias, if there is one)
    /// as wide as x.
    pub fn group_norm(
        &self,
        x: Value,
        name: &str,
        group: usize,
        eps: f32,
    ) -> Result<Value, BuildError> {
        let width = self.width(x);
        assert!(
            width.is_multiple_of(group),
            "architecture: norm of broken groups"
        );
        let weight = self.builder.vector(&format!("{name}.weight"), &[width])?;
        let bias = self
            .builder
            .optional_vector(&format!("{name}.bias"), &[width])?;
        let op = op::Norm {
            x,
            kind: NormKind::Layer,
            weight,
            bias,
            eps,
            group,
        };
        Ok(self.push(x, width, op))
    }
}
