//! Models of well-known shapes with random weights: as fast and as large as the real ones.

mod vocabulary;

pub use vocabulary::word;

use crate::convert::{Draft, DraftTensor, TensorSource, ValueSource};
use crate::error::{LoadError, LoadErrorKind};
use crate::model::completed;
use crate::models::{
    ARCHITECTURES, Architecture, KnownShape, Outline, OutlineValues, PUBLISHED, Published,
};
use crate::weights::headers_of_config;
use rillm_formats::manifest::{DType, Metadata, MetadataValue};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A model to be drawn, under a name people know.
#[derive(Clone, Copy, Debug)]
pub struct RandomModel {
    /// The name.
    pub name: &'static str,
    /// What it is the shape of.
    pub about: &'static str,
    shape: ShapeSource,
    /// Positions that it reaches at least.
    least: u64,
}

/// How a shape is known.
#[derive(Clone, Copy, Debug)]
enum ShapeSource {
    /// By its architecture's outline.
    Outlined(&'static Architecture, KnownShape),
    /// By what its authors have published.
    Published(Published),
}

/// Every shape that has a name, those to try things out with last.
pub fn shapes() -> impl Iterator<Item = RandomModel> {
    let tiny = |shape: &KnownShape| shape.name.starts_with("tiny-");
    let all = |only: bool| {
        ARCHITECTURES.iter().flat_map(move |architecture| {
            let shapes = architecture.shapes.iter();
            let shapes = shapes.filter(move |shape| tiny(shape) == only);
            shapes.map(move |&shape| RandomModel {
                name: shape.name,
                about: shape.about,
                shape: ShapeSource::Outlined(architecture, shape),
                least: 0,
            })
        })
    };
    let published = PUBLISHED.iter().map(|&published| RandomModel {
        name: published.name,
        about: published.about,
        shape: ShapeSource::Published(published),
        least: 0,
    });
    all(false).chain(published).chain(all(true))
}

/// No shape has that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownShape;

impl fmt::Display for UnknownShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no such shape; known are ")?;
        let names: Vec<&str> = shapes().map(|shape| shape.name).collect();
        f.write_str(&names.join(", "))
    }
}

impl std::error::Error for UnknownShape {}

impl FromStr for RandomModel {
    type Err = UnknownShape;

    fn from_str(name: &str) -> Result<RandomModel, UnknownShape> {
        let found = shapes().find(|shape| shape.name.eq_ignore_ascii_case(name));
        found.ok_or(UnknownShape)
    }
}

impl RandomModel {
    /// The same with positions for texts so long, if it has fewer.
    pub fn reaching(self, positions: u64) -> RandomModel {
        RandomModel {
            least: positions,
            ..self
        }
    }

    /// A model of this shape, the same one for the same seed.
    ///
    /// # Errors
    /// A shape of which no model can be made.
    pub fn draft(&self, seed: u64) -> Result<Draft, LoadError> {
        match self.shape {
            ShapeSource::Outlined(architecture, mut shape) => {
                shape.context = shape.context.max(self.least);
                Ok(self.outlined(architecture, shape, seed))
            }
            ShapeSource::Published(published) => self.published(published, seed),
        }
    }

    fn published(&self, published: Published, seed: u64) -> Result<Draft, LoadError> {
        let config = stretched(published.config, self.least)?;
        let headers = headers_of_config(config.as_bytes())?;
        let (manifest, _) = completed(headers)?;
        let mut draft = Draft::drawn(manifest, |number, name, columns| {
            let values = match name {
                norm if norm.ends_with("norm.weight") => OutlineValues::Normal {
                    mean: 1.0,
                    deviation: 0.1,
                },
                // Decays.
                decay if decay.ends_with(".ssm_a") => OutlineValues::Normal {
                    mean: -2.0,
                    deviation: 0.3,
                },
                _ => OutlineValues::Normal {
                    mean: 0.0,
                    deviation: 0.02,
                },
            };
            self::values(values, columns * ROWS, mixed(seed ^ mixed(number)))
        })?;
        let tokens = draft.rows_of("token_embd.weight").unwrap_or(0);
        let metadata = draft.metadata_mut();
        vocabulary::fill(metadata, tokens);
        let name = MetadataValue::String(self.named());
        metadata.0.insert("general.name".into(), name);
        Ok(draft)
    }

    /// What a file of it is called.
    fn named(&self) -> String {
        format!("{} (random weights)", self.about)
    }

    fn outlined(&self, architecture: &Architecture, shape: KnownShape, seed: u64) -> Draft {
        let mut outline = Outline {
            shape,
            keys: Vec::new(),
            tensors: Vec::new(),
            last_norm: "output_norm.weight",
        };
        let table = [shape.vocabulary, shape.width];
        outline.matrix("token_embd.weight", &table);
        (shape.outline)(&mut outline);
        outline.norm(outline.last_norm, shape.width);
        if shape.untied {
            outline.matrix("output.weight", &table);
        }
        let mut metadata = self.keys(architecture, shape, outline.keys);
        vocabulary::fill(&mut metadata, shape.vocabulary);
        let tensors = outline.tensors.into_iter().enumerate();
        let tensors = tensors.map(|(index, tensor)| {
            let columns = tensor.shape.last().copied().unwrap_or(1) as usize;
            let seed = mixed(seed ^ mixed(index as u64));
            DraftTensor {
                name: tensor.name,
                shape: tensor.shape,
                dtype: DType::F32,
                from: TensorSource::Made(values(tensor.values, columns * ROWS, seed)),
            }
        });
        Draft::made(metadata, tensors.collect())
    }

    fn keys(
        &self,
        architecture: &Architecture,
        shape: KnownShape,
        own: Vec<(&'static str, MetadataValue)>,
    ) -> Metadata {
        let architecture = architecture.written_as();
        let mut metadata = Metadata::default();
        let mut put = |key: String, value: MetadataValue| metadata.0.insert(key, value);
        let text = |text: &str| MetadataValue::String(text.to_string());
        put("general.architecture".into(), text(architecture));
        put("general.name".into(), text(&self.named()));
        let count = |count: u64| MetadataValue::U32(count as u32);
        let usual = [
            ("block_count", count(shape.layers)),
            ("context_length", count(shape.context)),
            ("embedding_length", count(shape.width)),
            ("vocab_size", count(shape.vocabulary)),
            ("attention.layer_norm_rms_epsilon", MetadataValue::F32(1e-5)),
        ];
        for (key, value) in usual.into_iter().chain(own) {
            put(format!("{architecture}.{key}"), value);
        }
        metadata
    }
}

/// A configuration with so many positions at least.
fn stretched(config: &str, least: u64) -> Result<String, LoadError> {
    let unread =
        |error: serde_json::Error| LoadError::new(LoadErrorKind::Format, error.to_string());
    let mut config: Value = serde_json::from_str(config).map_err(unread)?;
    for key in ["max_position_embeddings", "max_encoder_position_embeddings"] {
        let Some(table) = config.get(key).and_then(Value::as_u64) else {
            continue;
        };
        // RoBERTa and its kin have rows that are no text's: all tables are whole sixteens but for those.
        let beside = table % 16;
        config[key] = table.max(least + beside).into();
    }
    Ok(config.to_string())
}

/// Rows after which a drawn tensor begins anew: to look for the scales of all of a large model's blocks
/// takes minutes, and what runs takes as long whatever the weights are. A prime, so that no two experts
/// are alike.
const ROWS: usize = 4093;

/// A tensor's values, drawn with this seed.
fn values(values: OutlineValues, period: usize, seed: u64) -> Arc<dyn ValueSource> {
    match values {
        OutlineValues::Given(values) => Arc::new(values),
        OutlineValues::Normal { mean, deviation } => Arc::new(Draw {
            seed,
            mean,
            deviation,
            period,
        }),
    }
}

/// The values of one tensor: a normal distribution, nearly, each value from its place in a period alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// Of the tensor.
    pub seed: u64,
    /// Of all values.
    pub mean: f32,
    /// Standard deviation.
    pub deviation: f32,
    /// After how many values they begin anew.
    pub period: usize,
}

impl ValueSource for Draw {
    fn fill(&self, first: usize, out: &mut [f32]) {
        // A sum of four uniform 16-bit numbers has a deviation of √(4/12) · 2¹⁶.
        let unit = self.deviation / (65536.0 * (4.0f32 / 12.0).sqrt());
        for (index, out) in out.iter_mut().enumerate() {
            let place = (first + index) % self.period.max(1);
            let bits = mixed(self.seed ^ mixed(place as u64));
            let sum: u32 = (0..4)
                .map(|part| (bits >> (16 * part)) as u32 & 0xffff)
                .sum();
            *out = self.mean + unit * (sum as f32 - 2.0 * 65535.0);
        }
    }

    fn period(&self) -> Option<usize> {
        Some(self.period)
    }
}

/// The finaliser of SplitMix64 (Steele et al. 2014).
fn mixed(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
