//! The models compiled in.

use clap::ValueEnum;
use rillm::internals::ModelParts;
use rillm::internals::weights::{Files, Source, open_source};
use rillm::{LoadError, Model, ModelOptions};

/// One of the embedded models: of one size, trained by one script on one corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Demo {
    /// A transformer with grouped heads
    Llama,
    /// A selective state space
    Mamba,
    /// Retention: a linear recurrence with a decay for each head
    Retnet,
}

impl Demo {
    /// Every one.
    pub const ALL: [Demo; 3] = [Demo::Llama, Demo::Mamba, Demo::Retnet];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Demo::Llama => "llama",
            Demo::Mamba => "mamba",
            Demo::Retnet => "retnet",
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
