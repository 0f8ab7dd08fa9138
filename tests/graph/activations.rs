//! Activation functions by the names that configurations have for them.

use std::fs;

use rillm::internals::graph::blocks::function_named;
use rillm::internals::kernels::{Isa, Kernels};
use serde_json::Value;

/// Of the value, or of the argument up to 1, where that is exponentiated.
const TOLERANCE: f64 = 4e-7;

/// Every name of transformers' list, with what its functions make of some numbers.
#[test]
fn functions_are_those_of_the_reference() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/activations.json");
    let data: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let numbers = |list: &Value| -> Vec<f64> {
        let list = list.as_array().unwrap().iter();
        list.map(|number| number.as_f64().unwrap()).collect()
    };
    let inputs = numbers(&data["inputs"]);
    let mut refused = Vec::new();
    for (name, values) in data["values"].as_object().unwrap() {
        let Some(function) = function_named(name) else {
            refused.push(name.as_str());
            continue;
        };
        let expected = numbers(values);
        for isa in Isa::available() {
            let mut found: Vec<f32> = inputs.iter().map(|&x| x as f32).collect();
            (Kernels::select(Some(isa)).unwrap().pointwise)(function, &mut found);
            for ((x, expected), found) in inputs.iter().zip(&expected).zip(found) {
                let bound = TOLERANCE * (expected.abs() + x.abs().min(1.0));
                let error = (f64::from(found) - expected).abs();
                assert!(
                    error <= bound,
                    "{isa} {name}({x}) = {found}, not {expected}"
                );
            }
        }
    }
    // Those that have parameters.
    assert_eq!(refused, ["prelu", "xielu"]);
}
