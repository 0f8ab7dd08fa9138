//! What DeBERTa and XLNet record: attention whose distances have a content, and convolutions over
//! columns.

use super::{
    ApartQueries, Attention, BuildError, DistanceBuckets, Keys, Mask, Net, Piece, PositionScheme,
    SessionTable, Value, op,
};

impl Net<'_, '_> {
    /// Attention among a run's rows, where the tables hold a key and a query for each bucket of
    /// distances.
    pub fn disentangled_attention(
        &self,
        qkv: [Value; 3],
        tables: [Option<Piece<SessionTable>>; 2],
        buckets: DistanceBuckets,
        attention: Attention,
    ) -> Value {
        self.attention_to_distances(qkv, None, (tables, buckets), attention)
    }

    /// The same where a table holds a key for each bucket, which other queries meet than keys do, and
    /// where segments count.
    pub fn relative_attention(
        &self,
        qkv: [Value; 3],
        apart: ApartQueries,
        (keys, buckets): (Piece<SessionTable>, DistanceBuckets),
        attention: Attention,
    ) -> Value {
        let tables = [Some(keys), None];
        self.attention_to_distances(qkv, Some(apart), (tables, buckets), attention)
    }

    fn attention_to_distances(
        &self,
        [q, k, v]: [Value; 3],
        apart: Option<ApartQueries>,
        ([keys, queries], buckets): ([Option<Piece<SessionTable>>; 2], DistanceBuckets),
        attention: Attention,
    ) -> Value {
        let width = attention.heads * attention.head_dim;
        let of_table = |table: Piece<SessionTable>| table.kind().width;
        let tables = [keys, queries].into_iter().flatten().map(of_table);
        let others = apart.iter().flat_map(|it| [it.distances, it.segments]);
        let values = [q, k, v].into_iter().chain(others);
        let widths = values.map(|value| self.width(value));
        assert!(
            widths.chain(tables).all(|found| found == width)
                && attention.kv_heads == attention.heads,
            "architecture: queries, keys or tables of another width"
        );
        assert!(
            attention.keys == Keys::Rows
                && attention.mask == Mask::Bidirectional
                && attention.position == PositionScheme::None,
            "architecture: distances by content among some of a run's rows, or with positions"
        );
        let op = op::DisentangledAttention {
            q,
            k,
            v,
            apart,
            keys,
            queries,
            buckets,
            attention,
        };
        self.push(q, width, op)
    }

    /// The convolution over columns of `{name}.weight`, `[out, in, taps]`, and `{name}.bias`; what
    /// stands around a sequence, and where it has padding, is zero.
    pub fn column_conv(
        &self,
        x: Value,
        name: &str,
        (out, taps): (usize, usize),
    ) -> Result<Value, BuildError> {
        let inputs = self.width(x);
        let weight = format!("{name}.weight");
        let weight = self.builder.window_matrix(&weight, out, (inputs, taps))?;
        let bias = self
            .builder
            .optional_vector(&format!("{name}.bias"), &[out])?;
        let windows = self.push(x, inputs * taps, op::ColumnWindow { x, taps });
        Ok(self.matmul(windows, weight, bias))
    }
}
