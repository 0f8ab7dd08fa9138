//! Models of shapes that people know, to be drawn with random weights: their keys and tensors, and
//! what the values are like.

use rillm_formats::manifest::MetadataValue;

/// A model's shape under a name people know.
#[derive(Clone, Copy, Debug)]
pub struct KnownShape {
    /// The name.
    pub name: &'static str,
    /// What it is the shape of.
    pub about: &'static str,
    /// Tokens.
    pub vocabulary: u64,
    /// Elements of a row between layers.
    pub width: u64,
    /// Number of layers.
    pub layers: u64,
    /// Positions.
    pub context: u64,
    /// Whether the output layer has weights of its own.
    pub untied: bool,
    /// Adds what the architecture has beside embedding, last norm and output.
    pub outline: fn(&mut Outline),
}

/// Extents of models to try things out with.
pub(super) const TINY: [u64; 4] = [512, 256, 2, 2048];
/// Positions of models that have no limit.
pub(super) const ENDLESS: u64 = 1 << 20;

/// Known shapes: the name, what it is the shape of, `[vocabulary, width, layers, context]`, whether
/// the output layer is the embedding, and what adds the layers.
macro_rules! shapes {
    (@tied) => { false };
    (@untied) => { true };
    ($($name:literal, $about:literal, $extents:expr => $tied:ident
        $($outline:ident)::+ ($($sizes:expr),*);)*) => {
        &[$(crate::models::KnownShape::new(
            ($name, $about),
            $extents,
            shapes!(@$tied),
            |model| $($outline)::+(model, $($sizes),*),
        ),)*]
    };
}

pub(super) use shapes;

impl KnownShape {
    pub(super) const fn new(
        (name, about): (&'static str, &'static str),
        [vocabulary, width, layers, context]: [u64; 4],
        untied: bool,
        outline: fn(&mut Outline),
    ) -> KnownShape {
        KnownShape {
            name,
            about,
            vocabulary,
            width,
            layers,
            context,
            untied,
            outline,
        }
    }
}

/// Keys and tensors of a model whose values are yet to be drawn.
#[derive(Debug)]
pub struct Outline {
    /// What they are for.
    pub shape: KnownShape,
    /// Keys under their canonical names.
    pub keys: Vec<(&'static str, MetadataValue)>,
    /// Tensors in the order of the file.
    pub tensors: Vec<OutlineTensor>,
    /// What the norm before the output layer is called.
    pub last_norm: &'static str,
}

/// A tensor of an outline.
#[derive(Debug)]
pub struct OutlineTensor {
    /// Its canonical name.
    pub name: String,
    /// Extents, outermost first.
    pub shape: Vec<u64>,
    /// What its values are.
    pub values: OutlineValues,
}

/// The values of an outline's tensor.
#[derive(Debug)]
pub enum OutlineValues {
    /// These.
    Given(Vec<f32>),
    /// A normal distribution, nearly.
    Normal {
        /// Its mean.
        mean: f32,
        /// Its standard deviation.
        deviation: f32,
    },
}

impl Outline {
    /// Sets whole numbers.
    pub(super) fn counts(&mut self, keys: &[(&'static str, u64)]) {
        let keys = keys
            .iter()
            .map(|&(key, count)| (key, MetadataValue::U32(count as u32)));
        self.keys.extend(keys);
    }

    /// Sets a key.
    pub(super) fn put(&mut self, key: &'static str, value: MetadataValue) {
        self.keys.push((key, value));
    }

    fn push(&mut self, name: &str, shape: &[u64], values: OutlineValues) {
        self.tensors.push(OutlineTensor {
            name: name.to_string(),
            shape: shape.to_vec(),
            values,
        });
    }

    /// Adds a tensor of these values.
    pub(super) fn given(&mut self, name: &str, shape: &[u64], values: &[f32]) {
        self.push(name, shape, OutlineValues::Given(values.to_vec()));
    }

    /// Adds a tensor of values around `mean`.
    pub(super) fn normal(&mut self, name: &str, shape: &[u64], mean: f32, deviation: f32) {
        self.push(name, shape, OutlineValues::Normal { mean, deviation });
    }

    /// Adds the weights of a product.
    pub fn matrix(&mut self, name: &str, shape: &[u64]) {
        self.normal(name, shape, 0.0, 0.02);
    }

    /// Adds the weights of a norm.
    pub fn norm(&mut self, name: &str, width: u64) {
        self.normal(name, &[width], 1.0, 0.1);
    }

    /// Adds the gated feed-forward layer.
    pub(super) fn gated_mlp(&mut self, layer: u64, hidden: u64) {
        let width = self.shape.width;
        self.matrix(&format!("blk.{layer}.ffn_gate.weight"), &[hidden, width]);
        self.matrix(&format!("blk.{layer}.ffn_up.weight"), &[hidden, width]);
        self.matrix(&format!("blk.{layer}.ffn_down.weight"), &[width, hidden]);
    }
}
