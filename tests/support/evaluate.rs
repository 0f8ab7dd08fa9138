//! Runs a case as transformers' `forward` would and collects its outputs.

use std::collections::BTreeMap;
use std::path::Path;

use rillm::internals::eval::{Cut, EvalInput};
use rillm::{LoadError, Model, ModelOptions, RunError};

use super::fixture::{Case, Fixture};
use super::tensors::Tensor;

/// Outputs by name; zeros at masked positions.
pub type Outputs = BTreeMap<String, Tensor>;

/// One worker: what tests of loading need.
pub fn options() -> ModelOptions {
    ModelOptions::default()
        .isa(rillm::internals::knobs::isa().expect("RILLM_ISA names an instruction set"))
        .threads(1)
}

/// Opens a path.
pub fn open(path: &Path) -> Result<Model, LoadError> {
    Model::open(path, options())
}

/// Opens a GGUF file in memory.
pub fn open_bytes(bytes: Vec<u8>) -> Result<Model, LoadError> {
    Model::from_bytes(bytes, options())
}

/// Runs an input.
pub fn evaluate(model: &Model, input: &serde_json::Value, cut: Cut) -> Result<Outputs, RunError> {
    let input = EvalInput::parse(input.to_string().as_bytes())?;
    let shapes = input.outputs(model);
    let mut tensors: Vec<Tensor> = shapes
        .iter()
        .map(|output| Tensor {
            shape: output.shape.iter().map(|&extent| extent as usize).collect(),
            values: vec![0.0; output.shape.iter().product::<u64>() as usize],
        })
        .collect();
    input.run(model, cut, &mut |row| {
        let end = row.start + row.values.len();
        tensors[row.output].values[row.start..end].copy_from_slice(row.values);
    })?;
    let names = shapes.iter().map(|output| output.name.to_owned());
    Ok(names.zip(tensors).collect())
}

/// Panics unless every case of a fixture comes out as the reference says.
pub fn check_all(fixture: &Fixture, model: &Model) {
    for case in &fixture.cases {
        let outputs = evaluate(model, &case.input, Cut::Whole)
            .unwrap_or_else(|error| panic!("{}: {}: {error}", fixture.name, case.name));
        for name in &case.outputs {
            let found = outputs.get(name);
            let Tensor { shape, values } =
                found.unwrap_or_else(|| panic!("{}: no {name}", fixture.name));
            fixture.check(case, name, shape, values);
        }
    }
}

/// All outputs of all cases.
pub fn all_outputs(fixture: &Fixture, model: &Model) -> Vec<Outputs> {
    let run = |case: &Case| evaluate(model, &case.input, Cut::Whole).expect("a case that runs");
    fixture.cases.iter().map(run).collect()
}

/// Every fixture.
pub fn runnable() -> Vec<Fixture> {
    let all = Fixture::all().into_iter();
    all.map(|name| Fixture::load(&name)).collect()
}
