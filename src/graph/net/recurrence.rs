//! Convolutions, scans, linear attention: what carries a state from row to row.

use super::Net;
use crate::graph::{
    BuildError, ConvState, Decay, DeltaRule, Divisor, LinearAttention, MeansState, Pointwise,
    ScanState, Share, Value, Vector, op,
};

impl Net<'_, '_> {
    /// a + (b − a) ⊙ t.
    pub fn lerp(&self, a: Value, b: Value, t: Share) -> Value {
        self.pair(a, b);
        match t {
            Share::Row(t) => self.pair(a, t),
            Share::Fixed(t) => {
                assert_eq!(self.width(a), t.len, "architecture: unequal operands");
            }
        }
        self.push(a, self.width(a), op::Lerp { a, b, t })
    }

    /// (Σ a ⊙ b ⊙ w) · v for each head.
    pub fn bonus(&self, [a, b, v]: [Value; 3], weight: Vector, head_dim: usize) -> Value {
        self.pair(a, b);
        self.pair(a, v);
        assert_eq!(self.width(a), weight.len, "architecture: unequal operands");
        let op = op::Bonus {
            a,
            b,
            v,
            weight,
            head_dim,
        };
        self.push(v, self.width(v), op)
    }

    /// For each of `mixes`: x + (x of the row before − x) ⊙ mix, zeros being before the first.
    pub fn token_shift<const N: usize>(&self, x: Value, mixes: [Vector; N]) -> [Value; N] {
        let channels = self.width(x);
        assert!(
            mixes.iter().all(|mix| mix.len == channels),
            "architecture: unequal operands"
        );
        let state = self.builder.state(ConvState { channels, width: 2 });
        let op = op::TokenShift {
            x,
            mixes: mixes.to_vec(),
            state,
        };
        let all = self.push(x, N * channels, op);
        std::array::from_fn(|part| self.slice(all, part * channels, channels))
    }

    /// RWKV-4's weighted mean over the past.
    pub fn wkv(&self, [k, v]: [Value; 2], decay: Vector, first: Vector) -> Value {
        self.pair(k, v);
        let channels = self.width(k);
        assert!(
            decay.len == channels && first.len == channels,
            "architecture: unequal operands"
        );
        let state = self.builder.state(MeansState { channels });
        let op = op::WkvMean {
            k,
            v,
            decay,
            first,
            state,
        };
        self.push(v, channels, op)
    }

    /// silu(depthwise causal convolution) with `{name}.weight` and, if there, `{name}.bias`.
    pub fn conv(&self, x: Value, name: &str, width: usize) -> Result<Value, BuildError> {
        let channels = self.width(x);
        let weight = self
            .builder
            .turned(&format!("{name}.weight"), channels, width)?;
        let bias = self
            .builder
            .optional_vector(&format!("{name}.bias"), &[channels])?;
        Ok(self.conv_of(x, weight, bias, Some(Pointwise::Silu)))
    }

    /// f(depthwise causal convolution) with a weight of `[channels, width]`, [`Builder::turned`].
    pub fn conv_of(
        &self,
        x: Value,
        weight: Vector,
        bias: Option<Vector>,
        function: Option<Pointwise>,
    ) -> Value {
        let channels = self.width(x);
        assert!(
            weight.len.is_multiple_of(channels) && bias.is_none_or(|bias| bias.len == channels),
            "architecture: filters of other channels"
        );
        let width = weight.len / channels;
        let state = self.builder.state(ConvState { channels, width });
        let op = op::Conv {
            x,
            weight,
            bias,
            function,
            state,
        };
        self.push(x, channels, op)
    }

    /// clamp(softplus(x + bias)) with `{name}.bias`.
    pub fn step_size(&self, x: Value, name: &str, limits: (f32, f32)) -> Result<Value, BuildError> {
        assert!(limits.0 <= limits.1, "architecture: limits leave nothing");
        let bias = format!("{name}.bias");
        let bias = self.builder.vector(&bias, &[self.width(x)])?;
        Ok(self.push(x, self.width(x), op::StepSize { x, bias, limits }))
    }

    /// Selective scan, each channel by itself, gated by silu(z); `[x, dt, b, c, z]` as in the
    /// paper, Δ before its softplus, A [`Builder::turned`].
    pub fn scan(&self, inputs: [Value; 5], a: Vector, d: Vector) -> Value {
        let [x, dt, b, ..] = inputs;
        let (channels, states) = (self.width(x), self.width(b));
        assert!(
            a.len == channels * states && d.len == channels && self.width(dt) == channels,
            "architecture: scan of unequal widths"
        );
        let state = ScanState {
            channels,
            states,
            heads: None,
        };
        self.push_scan(inputs, true, (a, d), state)
    }

    /// Selective scan of heads, gated by silu(z), each with a step, an A and a D; B and C are of
    /// `groups` groups of heads.
    pub fn head_scan(&self, inputs: [Value; 5], a: Vector, d: Vector, groups: usize) -> Value {
        let [x, dt, b, ..] = inputs;
        let (channels, heads) = (self.width(x), a.len);
        assert!(
            d.len == heads && self.width(dt) == heads && channels.is_multiple_of(heads),
            "architecture: scan of unequal widths"
        );
        assert!(
            heads.is_multiple_of(groups) && self.width(b).is_multiple_of(groups),
            "architecture: scan of broken groups"
        );
        let state = ScanState {
            channels,
            states: self.width(b) / groups,
            heads: Some(heads),
        };
        self.push_scan(inputs, false, (a, d), state)
    }

    pub(super) fn push_scan(
        &self,
        [x, dt, b, c, z]: [Value; 5],
        softplus: bool,
        (a, d): (Vector, Vector),
        kind: ScanState,
    ) -> Value {
        assert!(
            self.width(b) == self.width(c) && self.width(x) == self.width(z),
            "architecture: scan of unequal widths"
        );
        let (channels, state) = (self.width(x), self.builder.state(kind));
        self.push(
            x,
            channels,
            op::SelectiveScan {
                x,
                dt,
                b,
                c,
                z,
                softplus,
                a,
                d,
                state,
            },
        )
    }

    /// Linear attention, whose S is a state of its own.
    pub fn linear_attention(&self, [q, k, v]: [Value; 3], attention: LinearAttention) -> Value {
        let kind = attention.state();
        let of = |value, dim: usize| {
            let heads = self.width(value) / dim;
            heads * dim == self.width(value) && kind.heads.is_multiple_of(heads.max(1))
        };
        assert!(
            of(q, kind.key_dim) && of(k, kind.key_dim) && of(v, kind.value_dim),
            "architecture: linear attention of broken heads"
        );
        assert!(
            !attention.before || attention.divisor == Divisor::None,
            "architecture: divided by what is not read yet"
        );
        let state = self.builder.state(kind);
        let op = op::LinearRecurrence {
            q,
            k,
            v,
            attention,
            state,
        };
        self.push(v, kind.heads * kind.value_dim, op)
    }

    /// The same where each row reads what all rows of its sequence have written, those behind it
    /// too: there is no order, and so neither decay nor a delta rule.
    pub fn bidirectional_linear_attention(
        &self,
        [q, k, v]: [Value; 3],
        attention: LinearAttention,
    ) -> Value {
        assert!(
            attention.decay == Decay::None
                && attention.delta == DeltaRule::None
                && !attention.before,
            "architecture: an order among rows that have none"
        );
        let kind = attention.state();
        let state = self.builder.state(kind);
        self.push_effect(op::LinearWrite {
            k,
            v,
            attention: attention.clone(),
            state,
        });
        let op = op::LinearRead {
            q,
            attention,
            state,
        };
        self.push(q, kind.heads * kind.value_dim, op)
    }
}
