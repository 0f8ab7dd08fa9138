//! Attention, and what turns its queries and keys.

use super::Net;
use crate::graph::{
    Attention, CrossCache, HeadSide, Keys, Mask, Matrix, Pairing, Piece, PositionScheme, Rope,
    Value, op,
};

impl Net<'_, '_> {
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
            biases: None,
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
            biases: None,
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
            biases: None,
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
            biases: None,
            attention,
        };
        self.push(q, width, op)
    }

    /// Attention to a KV cache with biases of each row's own, into which `kv` go before, if there are any.
    pub fn attention_with_biases(
        &self,
        q: Value,
        kv: Option<(Value, Value)>,
        biases: op::RowBiases,
        attention: Attention,
    ) -> Value {
        let width = attention.heads * attention.head_dim;
        let alike = kv.into_iter().chain(biases.own);
        let mut alike = alike.flat_map(|(k, v)| [k, v]).chain([q]);
        assert!(
            alike.all(|value| self.width(value) == width)
                && attention.kv_heads == attention.heads
                && self.width(biases.table).is_multiple_of(attention.heads),
            "architecture: queries, keys or biases of another width"
        );
        assert!(
            matches!(attention.keys, Keys::Cache(_))
                && attention.position == PositionScheme::None
                && attention.sinks.is_none(),
            "architecture: biases of rows beside other positions, or beside sinks"
        );
        let op = op::SoftmaxAttention {
            q,
            kv: kv.map(|(k, v)| (k, Some(v))),
            global: None,
            summaries: None,
            biases: Some(biases),
            attention,
        };
        self.push(q, width, op)
    }

    /// Keeps projected keys and values for a decoder.
    pub fn store_cross(&self, k: Value, v: Value, state: Piece<CrossCache>) {
        self.push_effect(op::StoreCross { k, v, state });
    }
}
