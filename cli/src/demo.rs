//! The models compiled in.

use clap::ValueEnum;
use rillm::internals::ModelParts;
use rillm::internals::weights::{Files, Source, open_source};
use rillm::{LoadError, Model, ModelOptions};

/// One of the embedded models: of one size at work, trained by one script on one corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Demo {
    /// A transformer with grouped heads
    Llama,
    /// A selective state space
    Mamba,
    /// Retention: a linear recurrence with a decay for each head
    Retnet,
    /// A mixture of experts: the transformer, with twice the weights and as many of them at work
    Moe,
}

impl Demo {
    /// Every one.
    pub const ALL: [Demo; 4] = [Demo::Llama, Demo::Mamba, Demo::Retnet, Demo::Moe];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Demo::Llama => "llama",
            Demo::Mamba => "mamba",
            Demo::Retnet => "retnet",
            Demo::Moe => "moe",
        }
    }

    /// The file's bytes.
    fn file(self) -> &'static [u8] {
        macro_rules! asset {
            ($name:literal) => {
                include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/", $name))
            };
        }
        match self {
            Demo::Llama => asset!("demo.gguf"),
            Demo::Mamba => asset!("demo-mamba.gguf"),
            Demo::Retnet => asset!("demo-retnet.gguf"),
            Demo::Moe => asset!("demo-moe.gguf"),
        }
    }

    /// What it says.
    pub fn files(self) -> Result<Files, LoadError> {
        open_source(Source::Static(self.file())).map_err(|error| error.at(self.name().as_ref()))
    }

    /// Opens it.
    pub fn open(self, options: ModelOptions) -> Result<Model, LoadError> {
        Model::from_files(self.files()?, options).map_err(|error| error.at(self.name().as_ref()))
    }
}
