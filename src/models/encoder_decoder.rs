//! The two halves of the Transformer that encodes one text and writes another (Vaswani et al. 2017),
//! as BART (Lewis et al. 2020) and what descends from it arrange them.

use super::beginnings::begins_and_ends;
use super::longformer::global_projections;
use crate::graph::blocks::{Heads, activation, head_like, mlp};
use crate::graph::{
    Attention, BuildError, Builder, Config, Counting, CrossCache, Index, Keys, KvCache, Mask, Net,
    Piece, Pointwise, PositionScheme, Role, RowOrder, SinusoidFrequencies, Value,
};

/// How one model of the family differs from another.
pub(super) struct Arrangement {
    /// Where a layer's norms stand.
    pub norms: NormPlace,
    /// What its positions are.
    pub positions: Positions,
    /// Which sum is normalised before the first layer.
    pub embedding_norm: EmbeddingNorm,
    /// What the rows of an encoder's layer see, of so many layers.
    pub encoder_mask: fn(&Config<'_>, usize, usize) -> Result<Mask, BuildError>,
    /// What its class takes for granted.
    pub usual: ClassDefaults,
}

/// Rows of the encoder see all.
pub(super) const SEES_ALL: fn(&Config<'_>, usize, usize) -> Result<Mask, BuildError> =
    |_, _, _| Ok(Mask::Bidirectional);

/// Where a layer's norms stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NormPlace {
    /// x ← x + f(LN(x)), and LN(x) after the last layer.
    First,
    /// x ← LN(x + f(x)).
    Last,
}

/// What positions are.
#[derive(Clone, Copy)]
pub(super) enum Positions {
    /// Rows of a table, of which so many stand before the first position's.
    Learned(usize),
    /// The same where the configuration counts those before it among all.
    LearnedOf(usize),
    /// Sines, then cosines of them times 10000^(−2i / width) (Vaswani et al. 2017, section 3.5),
    /// unless the files hold a table.
    Sinusoids,
    /// Of them times 10000^(−i / (width / 2 − 1)), counted over what is no padding and from behind
    /// its number.
    CountedSinusoids,
}

/// Which sum is normalised before the first layer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum EmbeddingNorm {
    /// Tokens with positions.
    WithPositions,
    /// Tokens alone, of a decoder; of an encoder, tokens with positions.
    WithPositionsOrBefore,
    /// Neither.
    None,
}

/// What a class takes for granted where `config.json` does not say it.
#[derive(Clone, Copy)]
pub(super) struct ClassDefaults {
    /// The function between the matrices of the feed-forward layer.
    pub activation: &'static str,
    /// Whether the embedding is multiplied by √width.
    pub scales_embedding: bool,
    /// The token that fills short texts of a batch.
    pub padding: u32,
    /// The token that decoding starts from where nothing is said of a text's beginning.
    pub start: Option<u32>,
    /// The token that ends a text.
    pub end: u32,
}

/// One half's hyperparameters.
pub(super) struct Half {
    name: &'static str,
    /// Positions of its table.
    context: Option<usize>,
    pub layers: usize,
    pub heads: Heads,
    hidden: usize,
}

/// Both halves, and what they share.
pub(super) struct Halves<'m> {
    arrangement: &'m Arrangement,
    pub encoder: Half,
    pub decoder: Half,
    pub width: usize,
    function: Pointwise,
    scale: f32,
    padding: u32,
    mixture: Mixture<'m>,
}

/// What stands in place of a half's feed-forward layer `i`, of so many elements inside and with this
/// function, if anything does.
pub(super) type Mixture<'m> = &'m dyn Fn(
    &Net<'_, '_>,
    Value,
    (&str, usize),
    (usize, Pointwise),
) -> Result<Option<Value>, BuildError>;

/// No configuration says it.
pub(super) const EPS: f32 = 1e-5;

/// Records both halves; `ends` emits what is made of the decoder's rows.
pub(super) fn build(
    model: &Builder<'_>,
    arrangement: &Arrangement,
    ends: impl Fn(&Net<'_, '_>, Value) -> Result<(), BuildError>,
) -> Result<(), BuildError> {
    build_with(model, arrangement, &|_, _, _, _| Ok(None), &ends)
}

/// The same with mixtures of experts in some layers.
pub(super) fn build_with(
    model: &Builder<'_>,
    arrangement: &Arrangement,
    mixture: Mixture<'_>,
    ends: &dyn Fn(&Net<'_, '_>, Value) -> Result<(), BuildError>,
) -> Result<(), BuildError> {
    let halves = Halves::read(model, arrangement, mixture)?;
    let cross = halves.encode(model)?;
    let net = model.graph(Role::Decode);
    let decoder = &halves.decoder;
    let mut x = halves.embed(&net, decoder)?;
    for (i, &cross) in cross.iter().enumerate() {
        let layer = format!("dec.blk.{i}");
        let past = past(model, decoder.heads);
        x = halves.part(&net, x, &format!("{layer}.attn_norm"), |h| {
            self_attention(&net, h, &layer, past)
        })?;
        x = halves.behind_past(&net, x, (&layer, i), cross)?;
    }
    ends(&net, halves.last_norm(&net, net.selected(x), decoder)?)?;
    net.finish();
    halves.begin_and_end(model)
}

impl<'m> Halves<'m> {
    pub(super) fn read(
        model: &Builder<'_>,
        arrangement: &'m Arrangement,
        mixture: Mixture<'m>,
    ) -> Result<Halves<'m>, BuildError> {
        let config = model.config();
        if config.flag("is_decoder", false)? {
            return Err(config.invalid("is_decoder", "false: both halves run"));
        }
        let width = config.count("embedding_length")?;
        let context = config.optional_count("context_length")?;
        if let Some(context) = context {
            model.context(context);
        }
        let heads = |key: &str| {
            let heads = config.count(key)?;
            match width.is_multiple_of(heads) {
                true => Ok(Heads {
                    heads,
                    kv_heads: heads,
                    head_dim: width / heads,
                }),
                false => Err(config.invalid(key, "a divisor of the width")),
            }
        };
        let encoder = Half {
            name: "enc",
            context,
            layers: config.count("block_count")?,
            heads: heads("attention.head_count")?,
            hidden: config.count("feed_forward_length")?,
        };
        let decoder = Half {
            name: "dec",
            context: config.optional_count("decoder_context_length")?.or(context),
            layers: config.count("decoder_block_count")?,
            heads: heads("decoder_attention.head_count")?,
            hidden: config.count("decoder_feed_forward_length")?,
        };
        let usual = arrangement.usual;
        let scaled = config.flag("scale_embedding", usual.scales_embedding)?;
        let halves = Halves {
            arrangement,
            encoder,
            decoder,
            width,
            function: activation(config, "hidden_act", usual.activation)?,
            scale: if scaled { (width as f32).sqrt() } else { 1.0 },
            padding: config.token("padding_token_id")?.unwrap_or(usual.padding),
            mixture,
        };
        if matches!(arrangement.positions, Positions::CountedSinusoids) {
            if halves.padding == u32::MAX {
                return Err(config.invalid("padding_token_id", "a token of the vocabulary"));
            }
            model.counts_positions(Counting::Unpadded(halves.padding));
        }
        Ok(halves)
    }

    /// Records the encoder; for each layer of the decoder, where its keys and values of the source are.
    pub(super) fn encode(&self, model: &Builder<'_>) -> Result<Vec<Piece<CrossCache>>, BuildError> {
        let config = model.config();
        let net = model.graph(Role::Encode);
        let mut x = self.embed(&net, &self.encoder)?;
        for i in 0..self.encoder.layers {
            let layer = format!("enc.blk.{i}");
            let mask = (self.arrangement.encoder_mask)(config, i, self.encoder.layers)?;
            let attention = attention(self.encoder.heads, mask, Keys::Rows);
            x = self.part(&net, x, &format!("{layer}.attn_norm"), |h| match mask {
                Mask::Local { .. } => local_attention(&net, h, &layer, attention),
                _ => self_attention(&net, h, &layer, attention),
            })?;
            x = self.feed_forward(&net, x, (&layer, i), &self.encoder)?;
        }
        let encoded = self.last_norm(&net, x, &self.encoder)?;
        net.emit(encoded, "encoder_last_hidden_state");
        // Every decoder layer's keys and values of the source are projected once, here.
        let mut cross = Vec::new();
        for i in 0..self.decoder.layers {
            cross.push(project_source(
                &net,
                encoded,
                &format!("dec.blk.{i}"),
                self.decoder.heads,
            )?);
        }
        net.finish();
        Ok(cross)
    }

    /// What of a decoder's layer follows its attention to its own past.
    pub(super) fn behind_past(
        &self,
        net: &Net<'_, '_>,
        x: Value,
        (layer, i): (&str, usize),
        cross: Piece<CrossCache>,
    ) -> Result<Value, BuildError> {
        let source = attention(self.decoder.heads, Mask::Bidirectional, Keys::Cross(cross));
        let x = self.part(net, x, &format!("{layer}.cross_attn_norm"), |h| {
            attend_source(net, h, layer, source)
        })?;
        self.feed_forward(net, x, (layer, i), &self.decoder)
    }

    /// Says what tokens the decoder's texts begin and end with.
    pub(super) fn begin_and_end(&self, model: &Builder<'_>) -> Result<(), BuildError> {
        let vocabulary = model.rows(token_table(model.config(), self.decoder.name)?)?;
        let start = self.arrangement.usual.start.unwrap_or(0);
        begins_and_ends(model, vocabulary, start).map(|_| ())
    }

    /// Tokens, as large as the model wants them, and where they stand.
    pub(super) fn embed(&self, net: &Net<'_, '_>, half: &Half) -> Result<Value, BuildError> {
        let model = net.builder;
        let table = token_table(model.config(), half.name)?;
        let table = model.matrix(table, model.rows(table)?, self.width)?;
        let x = net.embed(table, Index::Token);
        let norm = |x| net.layer_norm(x, &format!("{}.token_embd_norm", half.name), EPS);
        let positions = self.positions(net, half)?;
        let scaled = net.scale(x, self.scale);
        match self.arrangement.embedding_norm {
            EmbeddingNorm::None => Ok(net.add(scaled, positions)),
            // As the reference has it, a decoder's tokens are not scaled before they are normalised.
            EmbeddingNorm::WithPositionsOrBefore if half.name == "dec" => {
                Ok(net.add(norm(x)?, positions))
            }
            EmbeddingNorm::WithPositions | EmbeddingNorm::WithPositionsOrBefore => {
                norm(net.add(scaled, positions))
            }
        }
    }

    fn positions(&self, net: &Net<'_, '_>, half: &Half) -> Result<Value, BuildError> {
        let (model, name) = (net.builder, format!("{}.position_embd.weight", half.name));
        let before = match self.arrangement.positions {
            Positions::Learned(before) | Positions::LearnedOf(before) => before,
            Positions::Sinusoids if model.has(&name) => 0,
            Positions::Sinusoids => {
                let pairs = pairs(model, self.width)?;
                let frequency =
                    |pair: usize| 10000f64.powf((2 * pair) as f64 / -(self.width as f64));
                let floats = (0..pairs).map(|pair| frequency(pair) as f32);
                let rest = |pair| frequency(pair) - f64::from(frequency(pair) as f32);
                let rests = (0..pairs).map(|pair| rest(pair) as f32);
                let frequencies = SinusoidFrequencies::Exact(model.constant(floats.chain(rests)));
                return Ok(net.sinusoids(frequencies));
            }
            Positions::CountedSinusoids => {
                let pairs = pairs(model, self.width)?;
                // In floats, as the reference works them out.
                let step = -(10000f64.ln() / (pairs.max(2) - 1) as f64) as f32;
                let floats = (0..pairs).map(|pair| (pair as f32 * step).exp());
                let frequencies = SinusoidFrequencies::Stored(model.constant(floats));
                let padding = self.padding;
                return Ok(net.sinusoids_past(frequencies, padding + 1, Some(padding)));
            }
        };
        self.position_rows(net, half, before)
    }

    /// Rows of a half's table from this one on.
    pub(super) fn position_rows(
        &self,
        net: &Net<'_, '_>,
        half: &Half,
        before: usize,
    ) -> Result<Value, BuildError> {
        let (model, name) = (net.builder, format!("{}.position_embd.weight", half.name));
        let stored = match (half.context, self.arrangement.positions) {
            (Some(context), Positions::LearnedOf(_)) => context,
            (Some(context), _) => context.saturating_add(before),
            (None, _) => model.rows(&name)?,
        };
        let rows = stored.saturating_sub(before);
        let order = RowOrder::Blocks {
            block: rows,
            stride: rows,
            offset: before,
        };
        let table = model.matrix_rows(&name, (stored, self.width), rows, order)?;
        Ok(net.embed(table, Index::Position))
    }

    /// One part of a layer around its norm.
    pub(super) fn part(
        &self,
        net: &Net<'_, '_>,
        x: Value,
        norm: &str,
        part: impl FnOnce(Value) -> Result<Value, BuildError>,
    ) -> Result<Value, BuildError> {
        match self.arrangement.norms {
            NormPlace::First => Ok(net.add(x, part(net.layer_norm(x, norm, EPS)?)?)),
            NormPlace::Last => net.layer_norm(net.add(x, part(x)?), norm, EPS),
        }
    }

    pub(super) fn feed_forward(
        &self,
        net: &Net<'_, '_>,
        x: Value,
        (layer, i): (&str, usize),
        half: &Half,
    ) -> Result<Value, BuildError> {
        self.part(net, x, &format!("{layer}.ffn_norm"), |h| {
            let sizes = (half.hidden, self.function);
            match (self.mixture)(net, h, (layer, i), sizes)? {
                Some(mixture) => Ok(mixture),
                None => mlp(net, h, layer, half.hidden, self.function),
            }
        })
    }

    fn last_norm(&self, net: &Net<'_, '_>, x: Value, half: &Half) -> Result<Value, BuildError> {
        match self.arrangement.norms {
            NormPlace::First => net.layer_norm(x, &format!("{}.output_norm", half.name), EPS),
            NormPlace::Last => Ok(x),
        }
    }
}

/// Pairs of sine and cosine.
fn pairs(model: &Builder<'_>, width: usize) -> Result<usize, BuildError> {
    match width.is_multiple_of(2) {
        true => Ok(width / 2),
        false => {
            let expected = "an even number, for half of its positions are sines";
            Err(model.config().invalid("embedding_length", expected))
        }
    }
}

/// Attention of a decoder to its own past.
pub(super) fn past(model: &Builder<'_>, heads: Heads) -> Attention {
    let cache = KvCache::new(heads.kv_heads, heads.head_dim);
    let keys = Keys::Cache(model.state(cache));
    attention(heads, Mask::Causal { window: None }, keys)
}

fn attention(heads: Heads, mask: Mask, keys: Keys) -> Attention {
    Attention {
        mask,
        keys,
        ..heads.causal(PositionScheme::None)
    }
}

/// The logits of a class that writes texts, or the rows of the bare model.
pub(super) fn written_logits(net: &Net<'_, '_>, x: Value, begin: &str) -> Result<(), BuildError> {
    let config = net.builder.config();
    let task = match config.class() {
        None => Some("ForConditionalGeneration"),
        Some(class) => class.strip_prefix(begin),
    };
    match task {
        Some("ForConditionalGeneration" | "MTModel") => {
            let table = token_table(config, "dec")?;
            net.emit(head_like(net, x, table)?, "logits");
        }
        Some("Model") => net.emit(x, "last_hidden_state"),
        _ => {
            let known = format!("{begin}ForConditionalGeneration, {begin}MTModel or {begin}Model");
            return Err(config.invalid_class(&known));
        }
    }
    Ok(())
}

/// The table of a half's tokens, which is that of both unless the configuration has one for each.
fn token_table(config: &Config<'_>, half: &str) -> Result<&'static str, BuildError> {
    Ok(
        match config.flag("share_encoder_decoder_embeddings", true)? {
            true => "token_embd.weight",
            false if half == "dec" => "dec.token_embd.weight",
            false => "enc.token_embd.weight",
        },
    )
}

/// Projects an encoder's output to the keys and values that a decoder's layer sees, and keeps them.
pub(super) fn project_source(
    net: &Net<'_, '_>,
    encoded: Value,
    layer: &str,
    heads: Heads,
) -> Result<Piece<CrossCache>, BuildError> {
    let width = heads.kv_heads * heads.head_dim;
    let k = net.linear(encoded, &format!("{layer}.cross_attn_k"), width)?;
    let v = net.linear(encoded, &format!("{layer}.cross_attn_v"), width)?;
    // Only now: a hostile count of layers ends at the first one without tensors.
    let state = net.builder.state(CrossCache {
        kv_heads: heads.kv_heads,
        head_dim: heads.head_dim,
    });
    net.store_cross(k, v, state);
    Ok(state)
}

/// Attention of a half to its own rows.
pub(super) fn self_attention(
    net: &Net<'_, '_>,
    h: Value,
    layer: &str,
    attention: Attention,
) -> Result<Value, BuildError> {
    let inner = attention.heads * attention.head_dim;
    let shared = attention.kv_heads * attention.head_dim;
    let q = net.linear(h, &format!("{layer}.attn_q"), inner)?;
    let k = net.linear(h, &format!("{layer}.attn_k"), shared)?;
    let v = net.linear(h, &format!("{layer}.attn_v"), shared)?;
    let a = net.attention(q, Some((k, v)), attention);
    net.linear(a, &format!("{layer}.attn_o"), net.width(h))
}

/// Attention of an encoder to the rows nearby, and of and to global ones.
fn local_attention(
    net: &Net<'_, '_>,
    h: Value,
    layer: &str,
    attention: Attention,
) -> Result<Value, BuildError> {
    let inner = attention.heads * attention.head_dim;
    let part = |name: &str| net.linear(h, &format!("{layer}.{name}"), inner);
    let local = [part("attn_q")?, part("attn_k")?, part("attn_v")?];
    let a = net.attention_with_global(local, global_projections(net, h, layer)?, attention);
    net.linear(a, &format!("{layer}.attn_o"), net.width(h))
}

/// Attention of the decoder to what the encoder made of the source.
pub(super) fn attend_source(
    net: &Net<'_, '_>,
    h: Value,
    layer: &str,
    attention: Attention,
) -> Result<Value, BuildError> {
    let inner = attention.heads * attention.head_dim;
    let q = net.linear(h, &format!("{layer}.cross_attn_q"), inner)?;
    let a = net.attention(q, None, attention);
    net.linear(a, &format!("{layer}.cross_attn_o"), net.width(h))
}
