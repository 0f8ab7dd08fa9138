//! The one door by which the command line, tests, benches and fuzz targets reach what the library
//! does not promise: its rooms, and what of a model, a plan, a session and a sampler is no part of their
//! own interface. Free to change.

use crate::blueprint::{Blueprint, RowWork};
use crate::convert::Draft;
use crate::error::{LoadError, RunError};
use crate::exec::{Columns, Row, Sink};
use crate::graph::{Graph, Op, Role, Segments, StateKind, Wiring};
use crate::kernels::Kernels as Table;
use crate::model::{Cost, Model, ModelOptions, Parameters};
use crate::models::{Architecture, Family};
use crate::pool::Pool;
use crate::quantize::{Mix, QuantizeError};
use crate::residency::ExpertTrace;
use crate::sample::Sampler;
use crate::session::{Report, Session};
use crate::state::KvType;
use crate::synthetic::RandomModel;
use crate::weights::{Files, Weights};

macro_rules! open {
    ($($room:ident)*) => {$(
        #[allow(missing_docs)]
        pub mod $room {
            pub use crate::$room::*;
        }
    )*};
}

open! {
    arena blueprint checksum convert eval exec graph kernels knobs model models plan platform pool quant replace residency session state synthetic weights
}

pub use crate::sample::dry::Dry;

/// What these files hold, to be written as a GGUF file.
///
/// # Errors
/// As [`Draft::open`], but for files that cannot be read.
pub fn draft(files: Files) -> Result<Draft, LoadError> {
    Draft::of_files(files)
}

/// What a model is made of.
#[allow(missing_docs)]
pub trait ModelParts: Sized {
    fn from_files(files: Files, options: ModelOptions) -> Result<Self, LoadError>;
    fn architecture(&self) -> &'static Architecture;
    fn cost(&self) -> Cost;
    fn decoder_start(&self) -> Option<u32>;
    fn graph(&self, role: Role) -> Option<&Graph>;
    fn kernels(&self) -> &'static Table;
    fn parameters(&self) -> Parameters;
    fn pool(&self) -> &Pool;
    fn reading_cost(&self) -> Cost;
    fn segments(&self) -> Option<Segments>;
    fn states(&self) -> &[StateKind];
    fn tensor_of(&self, op: &Op) -> Option<&str>;
    fn weights(&self) -> &Weights;
}

impl ModelParts for Model {
    fn from_files(files: Files, options: ModelOptions) -> Result<Model, LoadError> {
        Model::from_files(files, options)
    }

    fn architecture(&self) -> &'static Architecture {
        self.architecture()
    }

    fn cost(&self) -> Cost {
        self.cost()
    }

    fn decoder_start(&self) -> Option<u32> {
        self.decoder_start()
    }

    fn graph(&self, role: Role) -> Option<&Graph> {
        self.graph(role)
    }

    fn kernels(&self) -> &'static Table {
        self.kernels()
    }

    fn parameters(&self) -> Parameters {
        self.parameters()
    }

    fn pool(&self) -> &Pool {
        self.pool()
    }

    fn reading_cost(&self) -> Cost {
        self.reading_cost()
    }

    fn segments(&self) -> Option<Segments> {
        self.segments()
    }

    fn states(&self) -> &[StateKind] {
        self.states()
    }

    fn tensor_of(&self, op: &Op) -> Option<&str> {
        self.tensor_of(op)
    }

    fn weights(&self) -> &Weights {
        self.weights()
    }
}

/// What a plan is made of.
#[allow(missing_docs)]
pub trait BlueprintParts: Sized {
    fn architecture(&self) -> &'static Architecture;
    fn cost(&self, role: Role) -> Cost;
    fn family(&self) -> Family;
    fn from_shape(
        shape: &RandomModel,
        mix: Mix,
        options: ModelOptions,
    ) -> Result<Self, QuantizeError>;
    fn parameters(&self) -> Parameters;
    fn row_work(&self, role: Role, position: u64, kv_type: KvType) -> RowWork;
    fn wiring(&self) -> &Wiring;
}

impl BlueprintParts for Blueprint {
    fn architecture(&self) -> &'static Architecture {
        self.architecture()
    }

    fn cost(&self, role: Role) -> Cost {
        self.cost(role)
    }

    fn family(&self) -> Family {
        self.family()
    }

    fn from_shape(
        shape: &RandomModel,
        mix: Mix,
        options: ModelOptions,
    ) -> Result<Blueprint, QuantizeError> {
        Blueprint::from_shape(shape, mix, options)
    }

    fn parameters(&self) -> Parameters {
        self.parameters()
    }

    fn row_work(&self, role: Role, position: u64, kv_type: KvType) -> RowWork {
        self.row_work(role, position, kv_type)
    }

    fn wiring(&self) -> &Wiring {
        self.wiring()
    }
}

/// What is asked of a session besides.
#[allow(missing_docs)]
pub trait SessionParts {
    fn begin_profile(&mut self, events: usize);
    fn begin_trace(&mut self);
    fn encode_padded(
        &mut self,
        rows: &[Row],
        columns: Option<Columns<'_>>,
        sink: &mut Sink<'_>,
    ) -> Result<(), RunError>;
    fn end_profile(&mut self) -> Option<Report>;
    fn end_trace(&mut self) -> Option<ExpertTrace>;
    fn reserved(&self) -> (usize, usize);
}

impl SessionParts for Session {
    fn begin_profile(&mut self, events: usize) {
        self.begin_profile(events);
    }

    fn begin_trace(&mut self) {
        self.begin_trace();
    }

    fn encode_padded(
        &mut self,
        rows: &[Row],
        columns: Option<Columns<'_>>,
        sink: &mut Sink<'_>,
    ) -> Result<(), RunError> {
        self.encode_padded(rows, columns, sink)
    }

    fn end_profile(&mut self) -> Option<Report> {
        self.end_profile()
    }

    fn end_trace(&mut self) -> Option<ExpertTrace> {
        self.end_trace()
    }

    fn reserved(&self) -> (usize, usize) {
        self.reserved()
    }
}

/// What of a sampler is shown to tests.
#[allow(missing_docs)]
pub trait SamplerParts {
    fn mirostat_bound(&self) -> f32;
}

impl SamplerParts for Sampler {
    fn mirostat_bound(&self) -> f32 {
        self.mirostat_bound()
    }
}
