//! A model before its weights are there: wired from what its files' headers say, or from a
//! configuration alone, to know what memory it takes. The arithmetic is that of [`Session`](crate::Session): the same
//! wiring, the same plans, the same layout of state.

mod fit;
mod weights;
mod work;

pub use fit::{FittedMix, Fitting};
pub use weights::{LayerWeights, TypeWeights, WeightFigures};
pub use work::RowWork;

use crate::convert::Draft;
use crate::error::{LoadError, LoadErrorKind, RunError};
use crate::graph::{Matrix, Role, Wiring};
use crate::kernels::{Kernels, Precision};
use crate::model::{
    Cost, Limits, ModelOptions, Parameters, Presumed, behead, completed, limits, used, wired,
};
use crate::models::{Architecture, Family};
use crate::quantize::{Mix, QuantizeError, QuantizeOptions, QuantizePlan};
use crate::residency::{Placement, placement};
use crate::session::{MemoryPlan, SessionOptions, memory_plan, over_budget};
use crate::synthetic::RandomModel;
use crate::weights::{
    Files, MatrixForm, ModelHeaders, ModuleFiles, StoredMatrix, TokenizerFiles, Views,
    expert_stacks, headers, headers_of_config, published_as,
};
use rillm_formats::manifest::{Container, Manifest, Shape, TensorInfo};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A model that is planned and not loaded: what it is made of, and what memory it will take.
///
/// ```
/// use rillm::{Blueprint, Model, ModelOptions, Session, SessionOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let options = SessionOptions::default().context(2048);
/// let blueprint = Blueprint::open("assets/demo.gguf", ModelOptions::default())?;
/// let planned = blueprint.memory_plan(options)?;
/// println!("{} of weights", blueprint.weights().mapped);
///
/// let model = Model::open("assets/demo.gguf", ModelOptions::default())?;
/// assert_eq!(planned, Session::memory_plan(&model, options)?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Blueprint {
    architecture: &'static Architecture,
    manifest: Manifest,
    wiring: Wiring,
    views: Views,
    matrices: Vec<StoredMatrix>,
    kernels: &'static Kernels,
    precision: Precision,
    presumed: Presumed,
    /// What it is made of, if nothing computes with that as it is published.
    published: Option<Box<PublishedWeights>>,
    notes: Vec<String>,
}

/// Weights in a form that is converted before it runs.
#[derive(Clone, Debug)]
struct PublishedWeights {
    manifest: Manifest,
    /// What that form is called.
    form: String,
    /// What conversion makes of it.
    mix: Mix,
}

impl PublishedWeights {
    /// Those of a model one of whose tensors is read and not computed with, or whose configuration
    /// says so where no file shows its tensors.
    fn of(
        manifest: &Manifest,
        (views, wiring): (&Views, &Wiring),
        presumed: &Presumed,
    ) -> Option<PublishedWeights> {
        let (form, mix) = match presumed.is_nothing() {
            true => views.converted(&used(wiring))?,
            false => published_as(&manifest.metadata)?,
        };
        Some(PublishedWeights {
            manifest: manifest.clone(),
            form: form.to_string(),
            mix: mix.parse().ok()?,
        })
    }
}

impl Blueprint {
    /// Plans the model of a GGUF file, of which the header is enough (of a split one, that of its first
    /// part), or of a Hugging Face folder, of which `config.json` is. What they do not say is presumed,
    /// and [`Blueprint::presumed`] tells what was. Of weights that are converted before they run, in FP8 or
    /// MXFP4, what they become is planned, and [`Blueprint::published_as`] tells.
    ///
    /// # Errors
    /// As [`Model::open`](crate::Model::open), but for weights that are missing.
    pub fn open(path: impl AsRef<Path>, options: ModelOptions) -> Result<Blueprint, LoadError> {
        let path = path.as_ref();
        Blueprint::from_headers(headers(path)?, options).map_err(|error| error.at(path))
    }

    /// Plans the model that a `config.json` describes.
    ///
    /// # Errors
    /// As [`Blueprint::open`].
    pub fn from_config(config: &[u8], options: ModelOptions) -> Result<Blueprint, LoadError> {
        Blueprint::from_headers(headers_of_config(config)?, options)
    }

    /// Plans a model of a known shape.
    ///
    /// # Errors
    /// An instruction set that this CPU lacks.
    pub(crate) fn from_shape(
        shape: &RandomModel,
        mix: Mix,
        options: ModelOptions,
    ) -> Result<Blueprint, QuantizeError> {
        let manifest = quantized(&shape.draft(0)?, mix)?;
        Ok(Blueprint::new(manifest, Presumed::default(), options)?)
    }

    fn from_headers(headers: ModelHeaders, options: ModelOptions) -> Result<Blueprint, LoadError> {
        let notes = headers.notes.clone();
        let (mut manifest, presumed) = completed(headers)?;
        if options.headless {
            behead(&mut manifest);
        }
        let blueprint = Blueprint::new(manifest, presumed, options)?;
        Ok(Blueprint { notes, ..blueprint })
    }

    fn new(
        manifest: Manifest,
        presumed: Presumed,
        options: ModelOptions,
    ) -> Result<Blueprint, LoadError> {
        let kernels = Kernels::select(options.isa)
            .map_err(|error| LoadError::new(LoadErrorKind::Isa, error.to_string()))?;
        let (architecture, views, wiring) = wired(&manifest)?;
        if let Some(published) = PublishedWeights::of(&manifest, (&views, &wiring), &presumed) {
            let converted = converted(manifest, published.mix).map_err(|error| match error {
                QuantizeError::Load(error) => error,
                other => LoadError::new(LoadErrorKind::Unsupported, other.to_string()),
            })?;
            let blueprint = Blueprint::new(converted, presumed, options)?;
            return Ok(Blueprint {
                published: Some(Box::new(published)),
                ..blueprint
            });
        }
        let stacks = expert_stacks(&wiring);
        let matrices = (0..).zip(&wiring.matrices).map(|(id, spec)| {
            let stack = stacks.get(&id).copied();
            StoredMatrix::of(
                spec,
                views.find(&spec.name)?,
                stack,
                (kernels, options.precision),
            )
        });
        let matrices = matrices.collect::<Result<_, LoadError>>()?;
        Ok(Blueprint {
            architecture,
            manifest,
            wiring,
            views,
            matrices,
            kernels,
            precision: options.precision,
            presumed,
            published: None,
            notes: Vec::new(),
        })
    }

    /// The same model as `quantize` would write it.
    ///
    /// # Errors
    /// What cannot become such a file.
    pub fn quantized(&self, mix: Mix) -> Result<Blueprint, QuantizeError> {
        let published = self.published.as_deref();
        let manifest = published.map_or(&self.manifest, |published| &published.manifest);
        let manifest = converted(manifest.clone(), mix)?;
        let options = ModelOptions::default()
            .isa(self.kernels.isa)
            .precision(self.precision);
        let blueprint = Blueprint::new(manifest, self.presumed.clone(), options)?;
        Ok(Blueprint {
            notes: self.notes.clone(),
            ..blueprint
        })
    }

    /// Where weights are published in a form that is converted before it runs: what that is called, and
    /// the mix that conversion makes of it, which is what is planned.
    pub fn published_as(&self) -> Option<(&str, Mix)> {
        let published = self.published.as_deref()?;
        Some((&published.form, published.mix))
    }

    /// What a session of these options will reserve.
    ///
    /// # Errors
    /// As [`Session::memory_plan`](crate::Session::memory_plan).
    pub fn memory_plan(&self, options: SessionOptions) -> Result<MemoryPlan, RunError> {
        memory_plan(&self.wiring, &|matrix| self.form(matrix), None, options)
    }

    /// Where its weights will be kept, and how much of them is read anew, within what a session of these
    /// options leaves of its [`memory`](SessionOptions::memory); `None` if that has no bound and weights
    /// are mapped.
    ///
    /// # Errors
    /// As [`Blueprint::memory_plan`]; a bound that is too low names the least that works.
    pub fn placement(&self, options: SessionOptions) -> Result<Option<Placement>, RunError> {
        let Some(budget) = options.memory else {
            return Ok(None);
        };
        let plan = self.memory_plan(options)?;
        let own = (plan.arena as u64).saturating_add(plan.state as u64);
        let parts: Vec<_> = self
            .matrices
            .iter()
            .map(|one| one.parts().collect())
            .collect();
        let vectors = self.wiring.vectors.iter();
        let vectors = vectors
            .map(|spec| size_of::<f32>() as u64 * spec.len as u64)
            .sum();
        let left = budget.saturating_sub(own);
        let found = placement(&self.wiring, &parts, vectors, left);
        found
            .map(Some)
            .map_err(|error| over_budget(error, own, budget))
    }

    /// What was presumed of it, where files do not say.
    pub fn presumed(&self) -> &Presumed {
        &self.presumed
    }

    /// What of the files could not be read and is done without, and what that means: a line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The architecture's name, for people: `LLaMA 1–3`.
    pub fn title(&self) -> &'static str {
        self.architecture.title
    }

    /// What kind of model it is.
    pub(crate) fn family(&self) -> Family {
        self.architecture.family
    }

    /// The architecture.
    pub(crate) fn architecture(&self) -> &'static Architecture {
        self.architecture
    }

    /// Whether it predicts tokens.
    pub fn decodes(&self) -> bool {
        self.wiring.graph(Role::Decode).is_some()
    }

    /// Whether it encodes whole texts.
    pub fn encodes(&self) -> bool {
        self.wiring.graph(Role::Encode).is_some()
    }

    /// What rows it accepts.
    pub fn limits(&self) -> Limits {
        limits(&self.wiring)
    }

    /// Positions that the model was trained for, if it says.
    pub fn context(&self) -> Option<usize> {
        self.wiring.context
    }

    /// What its files say, and what is presumed of them.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its graphs and states.
    pub(crate) fn wiring(&self) -> &Wiring {
        &self.wiring
    }

    fn form(&self, matrix: Matrix) -> MatrixForm {
        self.matrices[matrix.id as usize].form
    }

    /// How many numbers it is made of.
    pub(crate) fn parameters(&self) -> Parameters {
        Parameters::of(&self.manifest, &self.wiring)
    }

    /// What a row of a graph costs, its state left out.
    pub(crate) fn cost(&self, role: Role) -> Cost {
        let graph = self.wiring.graph(role);
        graph.map_or(Cost::default(), |graph| {
            Cost::of(graph, &|matrix| self.form(matrix))
        })
    }
}

/// The manifest of the GGUF file that tensors of this manifest become.
fn converted(manifest: Manifest, mix: Mix) -> Result<Manifest, QuantizeError> {
    let files = Files {
        manifest,
        sources: Vec::new(),
        tokenizer: TokenizerFiles::default(),
        modules: ModuleFiles::default(),
        path: PathBuf::new(),
        notes: Vec::new(),
    };
    quantized(&Draft::of_files(files)?, mix)
}

/// The manifest of the GGUF file that a draft becomes.
fn quantized(draft: &Draft, mix: Mix) -> Result<Manifest, QuantizeError> {
    let plan = QuantizePlan::new(draft, &QuantizeOptions::new(mix).requantize(true))?;
    let metadata = plan.metadata().clone();
    let tensors = plan.tensors.iter().enumerate().map(|(index, tensor)| {
        let info = TensorInfo {
            dtype: tensor.to,
            shape: Shape(tensor.shape.clone()),
            file: 0,
            range: plan.range(index),
        };
        (tensor.name.clone(), info)
    });
    let architecture = metadata.str("general.architecture").unwrap_or_default();
    Ok(Manifest {
        architecture: architecture.to_string(),
        container: Container::Gguf,
        tensors: tensors.collect(),
        metadata,
        blanks: BTreeMap::new(),
        unsupported: BTreeMap::new(),
        lacking: BTreeMap::new(),
    })
}
