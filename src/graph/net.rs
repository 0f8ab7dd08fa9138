//! The recorder of one graph that architectures talk to. It records behind `&self`, so that
//! calls nest as formulas do.

use super::{
    Activation, Attention, BuildError, Builder, ConvState, CrossCache, Decay, DeltaRule, Divisor,
    ExpertGroups, Graph, HeadSide, Index, Keys, LinearAttention, Mask, Matrix, MeansState,
    NormKind, Op, Pairing, Piece, Pointwise, PositionScheme, Role, Rope, Routing, RowSpace,
    ScanState, Share, Value, ValueInfo, Vector, Wanted, op,
};
use rillm_formats::manifest::Container;
use std::cell::RefCell;

/// Records one graph.
pub struct Net<'b, 'a> {
    /// The model this graph belongs to.
    pub builder: &'b Builder<'a>,
    pub(super) graph: RefCell<Graph>,
}

impl Net<'_, '_> {
    /// Ends the recording: the graph becomes part of the model.
    pub fn finish(self) {
        self.builder
            .wiring
            .borrow_mut()
            .graphs
            .push(self.graph.into_inner());
    }

    /// Elements per row of `x`.
    pub fn width(&self, x: Value) -> usize {
        self.graph.borrow().info(x).width
    }

    /// The row of `table` that each row's `index` picks.
    pub fn embed(&self, table: Matrix, index: Index) -> Value {
        let space = self.graph.borrow().role.rows();
        self.push_in(space, table.columns, op::Embed { table, index })
    }

    /// x Wᵀ + b with `{name}.weight` and, if the files hold one, `{name}.bias`.
    pub fn linear(&self, x: Value, name: &str, out: usize) -> Result<Value, BuildError> {
        self.linear_where(x, name, out, Wanted::All)
    }

    /// The same where not all rows are wanted.
    pub fn linear_where(
        &self,
        x: Value,
        name: &str,
        out: usize,
        wanted: Wanted,
    ) -> Result<Value, BuildError> {
        let weight = self
            .builder
            .matrix(&format!("{name}.weight"), out, self.width(x))?;
        let bias = self
            .builder
            .optional_vector(&format!("{name}.bias"), &[out])?;
        Ok(self.matmul_where(x, weight, bias, wanted))
    }

    /// x, or what layers see of it that were trained on int8.
    fn layer_input(&self, x: Value, weight: Matrix) -> Value {
        if !self.builder.rounds_inputs(weight) {
            return x;
        }
        let op = op::RoundToInt8 { x };
        // Queries, keys and values are made of one.
        let made = self.graph.borrow().find(&op.clone().into());
        made.unwrap_or_else(|| self.push(x, self.width(x), op))
    }

    /// x Wᵀ + b.
    pub fn matmul(&self, x: Value, weight: Matrix, bias: Option<Vector>) -> Value {
        self.matmul_where(x, weight, bias, Wanted::All)
    }

    fn matmul_where(
        &self,
        x: Value,
        weight: Matrix,
        bias: Option<Vector>,
        wanted: Wanted,
    ) -> Value {
        assert_eq!(
            self.width(x),
            weight.columns,
            "architecture: matmul of unequal widths"
        );
        let op = op::DenseMatMul {
            x: self.layer_input(x, weight),
            weight,
            bias,
            wanted,
        };
        self.push(x, weight.rows, op)
    }

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

    fn push_rms_norm(&self, x: Value, weight: Vector, group: usize, eps: f32) -> Value {
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

    fn rms_norm_scaled(&self, x: Value, (group, factor): (usize, f32), eps: f32) -> Value {
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

    /// a + b.
    pub fn add(&self, a: Value, b: Value) -> Value {
        self.pair(a, b);
        self.push(a, self.width(a), op::Add { a, b })
    }

    /// a ⊙ b.
    pub fn mul(&self, a: Value, b: Value) -> Value {
        self.pair(a, b);
        self.push(a, self.width(a), op::Mul { a, b })
    }

    /// factor · x.
    pub fn scale(&self, x: Value, factor: f32) -> Value {
        if factor == 1.0 {
            return x;
        }
        self.push(x, self.width(x), op::Scale { x, factor })
    }

    /// (1 + slope · ln(1 + ⌊(position + first) / length⌋)) · x.
    pub fn scale_by_position(&self, x: Value, slope: f32, (first, length): (u32, u32)) -> Value {
        let op = op::ScaleByPosition {
            x,
            slope,
            first,
            length,
        };
        self.push(x, self.width(x), op)
    }

    /// rms(like) / √(max(mean(x²), least)) · x.
    pub fn match_magnitude(&self, x: Value, like: Value, least: f32) -> Value {
        self.pair(x, like);
        self.push(x, self.width(x), op::MatchMagnitude { x, like, least })
    }

    /// max(0, x − mean − deviations · σ).
    pub fn above_deviations(&self, x: Value, deviations: f32) -> Value {
        self.push(x, self.width(x), op::AboveDeviations { x, deviations })
    }

    /// xIELU, whose a₊, a₋, β and ε are a number each.
    pub fn xielu(&self, x: Value, parameters: [Vector; 4]) -> Value {
        assert!(
            parameters.iter().all(|number| number.len == 1),
            "architecture: parameters of more than a number"
        );
        self.push(x, self.width(x), op::Xielu { x, parameters })
    }

    /// Cosines and sines of every row's position, for [`Net::rotate`].
    pub fn rope_table(&self, rope: &Rope) -> Value {
        let space = self.graph.borrow().role.rows();
        let op = op::RopeTable { rope: rope.clone() };
        self.push_in(space, rope.dims(), op)
    }

    /// Every head of x rotated by a table, where that is not all that becomes of queries and keys
    /// before they meet.
    pub fn rotate(&self, x: Value, (table, pairing): (Value, Pairing), head_dim: usize) -> Value {
        let op = op::Rotate {
            x,
            table,
            head_dim,
            pairing,
        };
        self.push(x, self.width(x), op)
    }

    /// x within ±limit; x itself without one.
    pub fn clamp(&self, x: Value, limit: Option<f32>) -> Value {
        match limit {
            Some(limit) => self.within(x, -limit, limit),
            None => x,
        }
    }

    /// x within bounds.
    pub fn within(&self, x: Value, low: f32, high: f32) -> Value {
        self.push(x, self.width(x), op::Clamp { x, low, high })
    }

    /// f(x).
    pub fn apply(&self, x: Value, function: Pointwise) -> Value {
        self.push(x, self.width(x), op::Apply { x, function })
    }

    /// x ⊙ w.
    pub fn weigh(&self, x: Value, weight: Vector) -> Value {
        assert_eq!(self.width(x), weight.len, "architecture: unequal operands");
        self.push(x, self.width(x), op::Weigh { x, weight })
    }

    /// Each head of x times its element of `by`, which has as many elements as x has heads.
    pub fn scale_heads(&self, x: Value, by: Value) -> Value {
        assert!(
            self.width(x).is_multiple_of(self.width(by)),
            "architecture: broken heads"
        );
        self.push(x, self.width(x), op::ScaleHeads { x, by })
    }

    /// Of each of `heads` heads the elements of a, then those of b.
    pub fn join_heads(&self, a: Value, b: Value, heads: usize) -> Value {
        let (of_a, of_b) = (self.width(a), self.width(b));
        assert!(
            of_a.is_multiple_of(heads) && of_b.is_multiple_of(heads),
            "architecture: broken heads"
        );
        self.push(a, of_a + of_b, op::JoinHeads { a, b, heads })
    }

    /// Each head of x through its own matrix of a stack.
    pub fn head_matmul(&self, x: Value, weights: Matrix, side: HeadSide) -> Value {
        let (from, to) = match side {
            HeadSide::Columns => (weights.columns, weights.rows),
            HeadSide::Rows => (weights.rows, weights.columns),
        };
        assert_eq!(
            self.width(x),
            weights.stack * from,
            "architecture: matmul of unequal widths"
        );
        let op = op::HeadMatMul { x, weights, side };
        self.push(x, weights.stack * to, op)
    }

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

    /// Columns `offset..offset + width` of x.
    pub fn slice(&self, x: Value, offset: usize, width: usize) -> Value {
        assert!(
            offset + width <= self.width(x),
            "architecture: slice past the end"
        );
        let info = self.graph.borrow().info(x);
        let info = ValueInfo {
            width,
            base: Some((x, offset)),
            ..info
        };
        self.graph.borrow_mut().push(op::Slice { x, offset }, info)
    }

    /// Attention; `kv` is absent for cross-attention, whose keys are in state.
    pub fn attention(&self, q: Value, kv: Option<(Value, Value)>, attention: Attention) -> Value {
        let width = attention.heads * attention.head_dim;
        assert_eq!(
            self.width(q),
            width,
            "architecture: queries of another width"
        );
        for value in kv.iter().flat_map(|&(k, v)| [k, v]) {
            let width = attention.kv_heads * attention.head_dim;
            assert_eq!(
                self.width(value),
                width,
                "architecture: keys of another width"
            );
        }
        let sparse = match attention.mask {
            Mask::Causal { .. } | Mask::Chunked { .. } | Mask::Bidirectional => false,
            Mask::Local { .. } | Mask::Blocks(_) => true,
        };
        assert!(
            !sparse || attention.keys == Keys::Rows,
            "architecture: a sparse mask over keys of other runs"
        );
        let op = op::SoftmaxAttention {
            q,
            kv: kv.map(|(k, v)| (k, Some(v))),
            global: None,
            summaries: None,
            attention,
        };
        self.push(q, width, op)
    }

    /// Attention to a KV cache that has values in its keys, of which k are this run's.
    pub fn latent_attention(&self, q: Value, k: Value, attention: Attention) -> Value {
        let Attention {
            heads,
            kv_heads,
            head_dim,
            ..
        } = attention;
        assert!(
            self.width(q) == heads * head_dim && self.width(k) == kv_heads * head_dim,
            "architecture: queries or keys of another width"
        );
        let width = heads * attention.value_dim();
        let op = op::SoftmaxAttention {
            q,
            kv: Some((k, None)),
            global: None,
            summaries: None,
            attention,
        };
        self.push(q, width, op)
    }

    /// Attention where rows that are global have projections of their own.
    pub fn attention_with_global(
        &self,
        [q, k, v]: [Value; 3],
        global: [Value; 3],
        attention: Attention,
    ) -> Value {
        for (a, b) in [q, k, v].into_iter().zip(global) {
            self.pair(a, b);
        }
        assert!(
            attention.keys == Keys::Rows && attention.position == PositionScheme::None,
            "architecture: global rows among keys of other runs, or with positions"
        );
        let width = attention.heads * attention.head_dim;
        assert!(
            self.width(q) == width && self.width(k) == attention.kv_heads * attention.head_dim,
            "architecture: queries or keys of another width"
        );
        let op = op::SoftmaxAttention {
            q,
            kv: Some((k, Some(v))),
            global: Some(global),
            summaries: None,
            attention,
        };
        self.push(q, width, op)
    }

    /// Of each block of so many columns, in its first row, the sum of its rows; zeros in the others.
    pub fn block_sums(&self, x: Value, columns: u32) -> Value {
        assert!(columns > 0, "architecture: blocks without columns");
        self.push(x, self.width(x), op::BlockSums { x, columns })
    }

    /// Attention of rows to those nearby and to the summaries of blocks.
    pub fn attention_with_summaries(
        &self,
        [q, k, v]: [Value; 3],
        summaries: op::Summaries,
        attention: Attention,
    ) -> Value {
        self.pair(k, summaries.k);
        self.pair(v, summaries.v);
        assert!(
            matches!(attention.mask, Mask::Local { .. })
                && attention.keys == Keys::Rows
                && attention.heads == attention.kv_heads,
            "architecture: summaries beside other keys than those nearby, head by head"
        );
        let width = attention.heads * attention.head_dim;
        let op = op::SoftmaxAttention {
            q,
            kv: Some((k, Some(v))),
            global: None,
            summaries: Some(summaries),
            attention,
        };
        self.push(q, width, op)
    }

    /// Keeps projected keys and values for a decoder.
    pub fn store_cross(&self, k: Value, v: Value, state: Piece<CrossCache>) {
        self.push_effect(op::StoreCross { k, v, state });
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

    fn push_scan(
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

    /// softmax(x) of each row.
    pub fn softmax(&self, x: Value) -> Value {
        self.push(x, self.width(x), op::Softmax { x })
    }

    /// x in the best groups of experts, −∞ in all others.
    pub fn limit_groups(&self, x: Value, groups: ExpertGroups) -> Value {
        assert!(
            self.width(x).is_multiple_of(groups.groups) && groups.used <= groups.groups,
            "architecture: broken groups of experts"
        );
        self.push(x, self.width(x), op::LimitGroups { x, groups })
    }

    /// Chooses each row's experts by `choice` and weighs them by their scores, and by what each
    /// expert weighs by itself.
    pub fn route(
        &self,
        [scores, choice]: [Value; 2],
        routing: Routing,
        expert_scales: Option<Vector>,
    ) -> Value {
        self.pair(scores, choice);
        let experts = self.width(scores);
        assert!(
            routing.top_k <= experts && expert_scales.is_none_or(|scales| scales.len == experts),
            "architecture: more experts chosen than there are"
        );
        let op = op::Route {
            scores,
            choice,
            routing,
            expert_scales,
        };
        self.push(scores, 2 * routing.top_k, op)
    }

    /// A route in which an expert takes but so many rows of a sequence.
    pub fn limit_capacity(&self, route: Value, capacity: op::ExpertCapacity, share: bool) -> Value {
        let op = op::LimitCapacity {
            route,
            capacity,
            share,
        };
        self.push(route, self.width(route), op)
    }

    /// x times the weight of each chosen expert, one after the other.
    pub fn expert_inputs(&self, x: Value, route: Value) -> Value {
        let slots = self.width(route) / 2;
        self.push(x, slots * self.width(x), op::ExpertInputs { x, route })
    }

    /// x through each chosen expert's matrix, plus its bias: `[experts, rows]`, if there is one.
    pub fn expert_matmul(
        &self,
        x: Value,
        route: Value,
        (experts, bias): (Matrix, Option<Vector>),
    ) -> Value {
        let slots = self.width(route) / 2;
        assert!(
            bias.is_none_or(|bias| bias.len == experts.stack * experts.rows),
            "architecture: biases of other experts"
        );
        let op = op::ExpertMatMul {
            x,
            route,
            experts,
            bias,
        };
        self.push(x, slots * experts.rows, op)
    }

    /// The chosen experts' outputs, weighted and summed.
    pub fn expert_sum(&self, x: Value, route: Value) -> Value {
        let slots = self.width(route) / 2;
        let route = Some(route);
        self.push(x, self.width(x) / slots, op::ExpertSum { x, route })
    }

    /// The same where their inputs were weighted.
    pub fn plain_expert_sum(&self, x: Value, slots: usize) -> Value {
        self.push(x, self.width(x) / slots, op::ExpertSum { x, route: None })
    }

    /// Only the rows whose outputs are asked for: of an encoder's all.
    pub fn selected(&self, x: Value) -> Value {
        if self.role() == Role::Encode {
            return x;
        }
        self.push_in(RowSpace::Selected, self.width(x), op::Select { x })
    }

    /// The first row of each sequence.
    pub fn first_rows(&self, x: Value) -> Value {
        self.push_in(RowSpace::Sequence, self.width(x), op::Select { x })
    }

    /// The mean of the rows of each sequence.
    pub fn mean_rows(&self, x: Value) -> Value {
        self.push_in(RowSpace::Sequence, self.width(x), op::MeanRows { x })
    }

    /// Hands x to the caller.
    pub fn emit(&self, x: Value, name: &'static str) {
        let squeezed = false;
        self.push_effect(op::Emit { x, name, squeezed });
    }

    /// Hands the one number of each row of x to the caller.
    pub fn emit_numbers(&self, x: Value, name: &'static str) {
        assert_eq!(self.width(x), 1, "architecture: rows of more than a number");
        let squeezed = true;
        self.push_effect(op::Emit { x, name, squeezed });
    }

    fn pair(&self, a: Value, b: Value) {
        let graph = self.graph.borrow();
        let (a, b) = (graph.info(a), graph.info(b));
        assert_eq!(
            (a.space, a.width),
            (b.space, b.width),
            "architecture: unequal operands"
        );
    }

    pub(super) fn push(&self, like: Value, width: usize, op: impl Into<Op>) -> Value {
        let space = self.graph.borrow().info(like).space;
        self.push_in(space, width, op)
    }

    pub(super) fn push_in(&self, space: RowSpace, width: usize, op: impl Into<Op>) -> Value {
        let info = ValueInfo {
            space,
            width,
            form: Activation::F32,
            base: None,
        };
        self.graph.borrow_mut().push(op, info)
    }
}
