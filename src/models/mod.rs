//! The architectures: one value in one file each, wiring and nothing else.
//!
//! An architecture names its hyperparameters and tensors, and records its graphs on a
//! [`Builder`]. It sees no bytes, no threads and no instruction sets.

mod albert;
mod apertus;
mod arcee;
mod baichuan;
mod bart;
mod bart_tables;
mod beginnings;
mod bert;
mod big_bird;
mod bigbird_pegasus;
mod bitnet;
mod blenderbot;
mod bloom;
mod codegen;
mod cohere;
mod compressive_transformer;
mod conversion;
mod dbrx;
mod deberta;
mod deepseek;
mod deepseek2;
mod distilbert;
mod electra;
mod encoder_decoder;
mod ernie;
mod ernie4_5;
mod ernie4_5_moe;
mod eurobert;
mod exaone4;
mod falcon;
mod falcon_h1;
mod fla;
mod gemma;
mod gemma1;
mod gemma3n;
mod gemma3n_shape;
mod gemma4;
mod gla;
mod glam;
mod glm4;
mod glm4_moe;
mod gpt2;
mod gpt_neox;
mod gpt_oss;
mod gptj;
mod granite;
mod granite_hybrid;
mod granite_moe;
mod helium;
mod hunyuan;
mod internlm;
mod jamba;
mod jina_bert;
mod kimi_linear;
mod known_keys;
mod known_shape;
mod led;
mod lfm2;
mod linear_transformer;
mod llama;
mod llama4;
mod longformer;
mod longt5;
mod m2m_100;
mod mamba;
mod mamba2;
mod marian;
mod megatron_bert;
mod minicpm;
mod minimax;
mod minimax_m2;
mod ministral3;
mod mistral;
mod mixtral;
mod modernbert;
mod mpnet;
mod mpt;
mod nemotron_h;
mod nllb_moe;
mod nomic_bert;
mod olmo2;
mod olmoe;
mod opt;
mod pegasus;
mod phi2;
mod phi3;
mod phimoe;
mod prefixes;
mod prophetnet;
mod published;
mod qwen;
mod qwen3_5;
mod qwen3_next;
mod qwen_moe;
mod rembert;
mod retnet;
mod roberta;
mod roformer;
mod rwkv4;
mod rwkv6;
mod rwkv7;
mod seed_oss;
mod smollm3;
mod stablelm;
mod starcoder2;
mod switch;
mod t5;
mod t5_heads;
mod t5gemma;
mod tables;
mod task_heads;
mod text_part;
mod transfo_xl;
mod usual;
mod xglm;
mod xlm_roberta_xl;
mod xlnet;

pub use beginnings::forced_once;
pub use conversion::{Conversion, GgufKeys, Written, WrittenRows};
pub use known_keys::{HARMLESS, Only, Settled};
pub(crate) use known_keys::{check_flags, check_folder, check_gguf};
pub use known_shape::{KnownShape, Outline, OutlineTensor, OutlineValues};
pub use prefixes::{bare, canonical, layer_of};
pub use published::{PUBLISHED, Published};
pub use tables::without_second_rotation;
pub use text_part::unwrap_config;

use crate::graph::{BuildError, Builder, Key, Name};
use rillm_formats::manifest::{Container, Metadata};

/// Families, as users speak of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Predicts the next token.
    Decoder,
    /// Encodes a text.
    Encoder,
    /// Encodes one text and writes another.
    EncoderDecoder,
    /// Predicts the next token from a state of constant size.
    Recurrent,
    /// A decoder with routed experts.
    MixtureOfExperts,
}

impl Family {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Family::Decoder => "decoder",
            Family::Encoder => "encoder",
            Family::EncoderDecoder => "encoder-decoder",
            Family::Recurrent => "recurrent",
            Family::MixtureOfExperts => "mixture of experts",
        }
    }
}

/// How an architecture's weights bear quantization.
#[derive(Clone, Copy, Debug)]
pub struct Quantization {
    /// Whether the mixes make fewer exceptions for it, as those of llama-quantize do for Falcon.
    pub even: bool,
    /// With so many layers, values that many heads share are few, and stay precise.
    pub precise_values_at: Option<u64>,
    /// Parts of names of matrices that stay floats beside those that do everywhere.
    pub kept: &'static [&'static str],
}

impl Quantization {
    /// As most do.
    pub const USUAL: Quantization = Quantization {
        even: false,
        precise_values_at: None,
        kept: &[],
    };
}

/// One architecture: all that is known of it beside its operations. Fields that the files of most
/// leave as they are come from `DECODER`.
#[derive(Clone, Copy, Debug)]
pub struct Architecture {
    /// What it is called in the README's table.
    pub title: &'static str,
    /// GGUF's `general.architecture` values it answers to.
    pub gguf: &'static [&'static str],
    /// `config.json`'s `model_type` values it answers to.
    pub hugging_face: &'static [&'static str],
    /// Whether a `config.json` describes one that names no `model_type`, or that of another.
    pub recognises: fn(&Metadata) -> bool,
    /// What kind of model it is.
    pub family: Family,
    /// Hyperparameters of a Hugging Face folder.
    pub keys: &'static [&'static [Key]],
    /// Other keys of its folders, and their values that change nothing.
    pub settled: &'static [Settled],
    /// Flags of parameters, and all their like, that are off where its `config.json` does not say
    /// them.
    pub off: &'static [&'static str],
    /// Whether its head is its embedding where `config.json` does not say.
    pub ties: bool,
    /// Keys of its GGUF files that change nothing.
    pub harmless_in_gguf: &'static [&'static str],
    /// Modules of its layers that have biases though no key of `config.json` says so.
    pub biased: &'static [&'static str],
    /// Tensors of a Hugging Face checkpoint; the first line that fits counts.
    pub names: &'static [&'static [Name]],
    /// Tensors that GGUF files may carry and nobody needs. Any other unknown one is an error:
    /// the file is of a variant whose results would be wrong.
    pub unused: &'static [&'static str],
    /// The same of a checkpoint, by its names.
    pub unused_in_checkpoints: &'static [&'static str],
    /// What its folders become as GGUF files.
    pub conversion: Conversion,
    /// How its weights bear quantization.
    pub quantization: Quantization,
    /// Models of it whose shapes people know.
    pub shapes: &'static [KnownShape],
    /// Records the graphs.
    pub build: fn(&Builder<'_>) -> Result<(), BuildError>,
}

/// What most architectures have in common: decoders whose files say everything as it is.
const DECODER: Architecture = Architecture {
    title: "",
    gguf: &[],
    hugging_face: &[],
    recognises: |_| false,
    family: Family::Decoder,
    keys: &[],
    settled: &[],
    off: &[],
    ties: false,
    biased: &[],
    harmless_in_gguf: &[],
    names: &[],
    unused: &[],
    unused_in_checkpoints: &[],
    conversion: Conversion::PLAIN,
    quantization: Quantization::USUAL,
    shapes: &[],
    build: |_| Ok(()),
};

impl Architecture {
    /// The names that it has in files of this kind.
    pub fn names_in(&self, container: Container) -> &'static [&'static str] {
        match container {
            Container::Gguf => self.gguf,
            Container::HuggingFace => self.hugging_face,
        }
    }

    /// `general.architecture` of the GGUF file that a folder becomes.
    pub fn written_as(&self) -> &'static str {
        let first = self.gguf.first().copied().unwrap_or_default();
        self.conversion.architecture.unwrap_or(first)
    }
}

/// The architecture of this name in files of this kind.
pub fn find(container: Container, name: &str) -> Option<&'static Architecture> {
    let mut all = ARCHITECTURES.iter();
    all.find(|architecture| architecture.names_in(container).contains(&name))
}

/// The `model_type` of a configuration that does not say it, or says that of another.
pub fn recognise(config: &Metadata) -> Option<&'static str> {
    let found = ARCHITECTURES
        .iter()
        .find(|found| (found.recognises)(config));
    found?.hugging_face.first().copied()
}

/// Every architecture.
pub const ARCHITECTURES: &[Architecture] = &[
    gpt2::ARCHITECTURE,
    llama::ARCHITECTURE,
    mistral::MISTRAL,
    mistral::MINISTRAL,
    ministral3::ARCHITECTURE,
    mixtral::ARCHITECTURE,
    qwen_moe::QWEN_2_MOE,
    qwen_moe::QWEN_3_MOE,
    olmoe::ARCHITECTURE,
    granite_moe::ARCHITECTURE,
    glm4_moe::ARCHITECTURE,
    ernie4_5_moe::ARCHITECTURE,
    minimax_m2::ARCHITECTURE,
    minimax::ARCHITECTURE,
    phimoe::ARCHITECTURE,
    dbrx::ARCHITECTURE,
    glam::ARCHITECTURE,
    llama4::ARCHITECTURE,
    qwen::QWEN_2,
    qwen::QWEN_3,
    gemma1::ARCHITECTURE,
    gemma::GEMMA_2,
    gemma::GEMMA_3,
    gemma::EMBEDDING_GEMMA,
    gemma3n::ARCHITECTURE,
    gemma4::ARCHITECTURE,
    granite::ARCHITECTURE,
    olmo2::OLMO_2,
    olmo2::OLMO_3,
    smollm3::ARCHITECTURE,
    arcee::ARCHITECTURE,
    ernie4_5::ARCHITECTURE,
    seed_oss::ARCHITECTURE,
    hunyuan::DENSE,
    hunyuan::MIXTURE,
    helium::ARCHITECTURE,
    apertus::ARCHITECTURE,
    baichuan::ARCHITECTURE,
    bitnet::ARCHITECTURE,
    internlm::INTERNLM_2,
    internlm::INTERNLM_3,
    minicpm::ARCHITECTURE,
    exaone4::ARCHITECTURE,
    phi3::ARCHITECTURE,
    starcoder2::ARCHITECTURE,
    glm4::ARCHITECTURE,
    cohere::COMMAND_R,
    cohere::COMMAND_R7B,
    phi2::ARCHITECTURE,
    stablelm::ARCHITECTURE,
    falcon::ARCHITECTURE,
    gpt_neox::ARCHITECTURE,
    gptj::ARCHITECTURE,
    codegen::ARCHITECTURE,
    opt::ARCHITECTURE,
    xglm::ARCHITECTURE,
    bloom::ARCHITECTURE,
    mpt::ARCHITECTURE,
    bert::ARCHITECTURE,
    ernie::ARCHITECTURE,
    megatron_bert::ARCHITECTURE,
    roberta::ARCHITECTURE,
    xlm_roberta_xl::ARCHITECTURE,
    distilbert::ARCHITECTURE,
    electra::ARCHITECTURE,
    rembert::ARCHITECTURE,
    albert::ARCHITECTURE,
    mpnet::ARCHITECTURE,
    deberta::DEBERTA_2,
    deberta::DEBERTA,
    xlnet::ARCHITECTURE,
    longformer::ARCHITECTURE,
    big_bird::ARCHITECTURE,
    modernbert::ARCHITECTURE,
    nomic_bert::ARCHITECTURE,
    jina_bert::ARCHITECTURE,
    roformer::ARCHITECTURE,
    eurobert::ARCHITECTURE,
    t5::T5,
    t5::MT5,
    t5::UMT5,
    longt5::ARCHITECTURE,
    switch::ARCHITECTURE,
    t5gemma::ARCHITECTURE,
    bart::BART,
    bart::MBART,
    marian::ARCHITECTURE,
    m2m_100::ARCHITECTURE,
    nllb_moe::ARCHITECTURE,
    pegasus::ARCHITECTURE,
    prophetnet::ARCHITECTURE,
    blenderbot::ARCHITECTURE,
    blenderbot::SMALL,
    led::ARCHITECTURE,
    bigbird_pegasus::ARCHITECTURE,
    mamba::ARCHITECTURE,
    mamba2::ARCHITECTURE,
    gpt_oss::ARCHITECTURE,
    deepseek::ARCHITECTURE,
    deepseek2::DEEPSEEK_V2,
    deepseek2::DEEPSEEK_V3,
    deepseek2::GLM_4_7_FLASH,
    kimi_linear::ARCHITECTURE,
    qwen3_next::ARCHITECTURE,
    qwen3_5::QWEN_3_5,
    qwen3_5::QWEN_3_5_MOE,
    lfm2::LFM_2,
    lfm2::LFM_2_MOE,
    retnet::ARCHITECTURE,
    gla::ARCHITECTURE,
    rwkv4::ARCHITECTURE,
    rwkv6::ARCHITECTURE,
    rwkv7::ARCHITECTURE,
    jamba::ARCHITECTURE,
    granite_hybrid::GRANITE_4,
    granite_hybrid::BAMBA,
    falcon_h1::ARCHITECTURE,
    nemotron_h::ARCHITECTURE,
    linear_transformer::ARCHITECTURE,
    transfo_xl::ARCHITECTURE,
    compressive_transformer::ARCHITECTURE,
];
