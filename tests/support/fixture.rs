//! Golden fixtures: `tests/data/fixtures/<name>/` with config.json, weights.json, cases.json and
//! expected.safetensors, made by `tools/fixtures/make.py`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use rillm_formats::manifest::{DType, Shape};
use rillm_formats::safetensors::write::{self, TensorSpec};
use serde_json::Value;

use super::compare::{REFERENCE_TOLERANCE, compare};
use super::folder::TempFolder;
use super::generator;
use super::tensors::{self, Tensor};

/// One tiny model, its inputs, and what the authors' code answers.
pub struct Fixture {
    /// The folder's name.
    pub name: String,
    /// Every input, in file order.
    pub cases: Vec<Case>,
    /// FNV-1a of all weights: their little-endian bytes in the order of the weights list.
    pub checksum: u64,
    source: PathBuf,
    seed: u64,
    recipes: Vec<Recipe>,
    expected: BTreeMap<String, Tensor>,
}

/// One input and the names of the outputs to compare.
pub struct Case {
    /// Unique within the fixture.
    pub name: String,
    /// As `rillm eval` reads it: `input_ids`, `attention_mask` … as lists of lists.
    pub input: Value,
    /// `logits`, `last_hidden_state` …
    pub outputs: Vec<String>,
    /// Output → the input that masks its positions.
    masks: BTreeMap<String, String>,
}

/// A tensor of the checkpoint: where its generated values lie.
struct Recipe {
    name: String,
    shape: Vec<u64>,
    scale: f32,
    shift: f32,
}

/// A tensor of the checkpoint with its values.
pub struct Weight {
    /// In the checkpoint's own terms.
    pub name: String,
    /// Extents, outermost first.
    pub shape: Vec<u64>,
    /// Row-major values.
    pub values: Vec<f32>,
}

impl Fixture {
    /// The names of all fixtures, sorted.
    pub fn all() -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(root())
            .expect("tests/data/fixtures can be listed")
            .map(|entry| entry.expect("an entry of tests/data/fixtures").path())
            .filter(|path| path.is_dir())
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect();
        names.sort();
        names
    }

    /// The fixture of this name; panics with the file and the reason if it cannot be read.
    pub fn load(name: &str) -> Self {
        let source = root().join(name);
        let weights = read_json(&source.join("weights.json"));
        let cases = read_json(&source.join("cases.json"));
        Self {
            name: name.to_owned(),
            seed: weights["seed"].as_u64().expect("a seed"),
            checksum: weights["checksum"].as_u64().expect("a checksum"),
            recipes: list(&weights["tensors"]).iter().map(Recipe::read).collect(),
            cases: list(&cases).iter().map(Case::read).collect(),
            expected: tensors::read(&source.join("expected.safetensors")),
            source,
        }
    }

    /// `config.json` as the folder holds it.
    pub fn config(&self) -> Value {
        read_json(&self.source.join("config.json"))
    }

    /// What converters to GGUF make of it, as far as its configuration does not say it:
    /// `architecture`, if it is not the `model_type`, and `rows`, if they are not as stored.
    pub fn gguf(&self) -> Value {
        let path = self.source.join("gguf.json");
        match path.is_file() {
            true => read_json(&path),
            false => Value::Null,
        }
    }

    /// The case of this name.
    pub fn case(&self, name: &str) -> &Case {
        let found = self.cases.iter().find(|case| case.name == name);
        found.unwrap_or_else(|| panic!("fixture {} has no case {name}", self.name))
    }

    /// What the reference answers: the shape, outermost extent first, and row-major values.
    /// Where the case's mask is zero they are unspecified.
    pub fn expected(&self, case: &str, output: &str) -> (&[usize], &[f32]) {
        let tensor = self.expected.get(&format!("{case}/{output}"));
        let tensor =
            tensor.unwrap_or_else(|| panic!("fixture {} has no {output} for {case}", self.name));
        (&tensor.shape, &tensor.values)
    }

    /// Keys of everything expected: `case/output`.
    pub fn expected_keys(&self) -> impl Iterator<Item = &str> {
        self.expected.keys().map(String::as_str)
    }

    /// Largest error of one output over the reference's RMS, at unmasked positions.
    pub fn error(&self, case: &Case, output: &str, actual: &[f32]) -> f64 {
        let (_, expected) = self.expected(&case.name, output);
        compare(actual, expected, case.mask(output).as_deref())
    }

    /// Panics unless an output has the reference's shape and is within [`REFERENCE_TOLERANCE`].
    pub fn check(&self, case: &Case, output: &str, shape: &[usize], actual: &[f32]) {
        let label = format!("{}: {}/{output}", self.name, case.name);
        assert_eq!(shape, self.expected(&case.name, output).0, "{label}: shape");
        let error = self.error(case, output, actual);
        assert!(
            error <= REFERENCE_TOLERANCE,
            "{label}: off by {error:.2e} of the reference's RMS, {REFERENCE_TOLERANCE:.0e} allowed"
        );
    }

    /// The checkpoint's tensors, generated.
    pub fn weights(&self) -> Vec<Weight> {
        let generate = |recipe: &Recipe| {
            let count = recipe.shape.iter().product::<u64>() as usize;
            Weight {
                name: recipe.name.clone(),
                shape: recipe.shape.clone(),
                values: generator::tensor(
                    self.seed,
                    &recipe.name,
                    count,
                    recipe.scale,
                    recipe.shift,
                ),
            }
        };
        self.recipes.iter().map(generate).collect()
    }

    /// Leaves out the tensors of all layers but the first.
    pub fn keep_one_layer(&mut self) {
        let later = |part: &str| part.parse::<u32>().is_ok_and(|layer| layer > 0);
        self.recipes
            .retain(|recipe| !recipe.name.split('.').any(later));
    }

    /// A Hugging Face folder of this model in float32, removed on drop.
    pub fn folder(&self) -> TempFolder {
        let folder = TempFolder::new(&self.name);
        self.write_folder(&folder);
        folder
    }

    /// The same with another configuration and more tensors.
    pub fn folder_with(&self, config: &Value, more: Vec<Weight>) -> TempFolder {
        let folder = TempFolder::new(&self.name);
        let mut weights = self.weights();
        weights.extend(more);
        let encode = |value: f32| value.to_le_bytes().to_vec();
        write_weights(&folder, config, &weights, DType::F32, encode);
        folder
    }

    /// A folder of this model with this configuration and these tensors.
    pub fn folder_of(&self, config: &Value, weights: &[Weight]) -> TempFolder {
        let folder = TempFolder::new(&self.name);
        let encode = |value: f32| value.to_le_bytes().to_vec();
        write_weights(&folder, config, weights, DType::F32, encode);
        folder
    }

    /// `config.json` as transformers 5 saves it, and the tensors as it calls them, if it can open
    /// this model: `tools/fixtures/transformers5.py` holds that its answers stay.
    pub fn saved_by_transformers_5(&self) -> Option<(Value, Vec<Weight>)> {
        self.saved_as(&self.name)
    }

    /// Models that read images as well and have a fixture for their text part, as transformers 5
    /// saves them, with one tensor that is no part of it.
    pub fn wrapped_by_transformers_5() -> Vec<(String, Fixture, Value, Vec<Weight>)> {
        let names = read_json(&saved_by_transformers_5().join("names.json"));
        let labels = names.as_object().expect("names").keys();
        let wrapped = labels.filter_map(|label| {
            let (_, name) = label.split_once('-')?;
            let fixture = Fixture::load(name);
            let (config, weights) = fixture.saved_as(label)?;
            Some((label.clone(), fixture, config, weights))
        });
        wrapped.collect()
    }

    fn saved_as(&self, label: &str) -> Option<(Value, Vec<Weight>)> {
        let saved = saved_by_transformers_5();
        let config = saved.join(format!("{label}.json"));
        let config = config.is_file().then(|| read_json(&config))?;
        let names = read_json(&saved.join("names.json"));
        let mut weights = self.weights();
        for (new, old) in names[label].as_object().into_iter().flatten() {
            let mut known = weights.iter_mut();
            match known.find(|weight| *old == weight.name.as_str()) {
                Some(weight) => weight.name = new.clone(),
                None => weights.push(Weight {
                    name: new.clone(),
                    shape: vec![2],
                    values: vec![0.0; 2],
                }),
            }
        }
        Some((config, weights))
    }

    /// Writes `config.json` and `model.safetensors` (float32) into an existing folder.
    pub fn write_folder(&self, folder: &Path) {
        self.write_folder_as(folder, DType::F32);
    }

    /// [`Fixture::write_folder`] with the weights rounded to F16 or BF16. The expected values
    /// are not those of the rounded weights: compare with [`Fixture::write_folder_rounded`].
    pub fn write_folder_as(&self, folder: &Path, dtype: DType) {
        let encode = |value: f32| match dtype {
            DType::F32 => value.to_le_bytes().to_vec(),
            DType::F16 => f16::from_f32(value).to_le_bytes().to_vec(),
            DType::BF16 => bf16::from_f32(value).to_le_bytes().to_vec(),
            other => panic!("fixtures are not written as {}", other.name()),
        };
        let mut config = self.config();
        if config.get("dtype").is_some() {
            config["dtype"] = Value::from(match dtype {
                DType::F16 => "float16",
                DType::BF16 => "bfloat16",
                _ => "float32",
            });
        }
        self.write(folder, &config, dtype, encode);
    }

    /// A float32 folder whose values went through F16 or BF16: another storage of the very
    /// weights that [`Fixture::write_folder_as`] writes.
    pub fn write_folder_rounded(&self, folder: &Path, through: DType) {
        let encode = |value: f32| {
            let value = match through {
                DType::F16 => f16::from_f32(value).to_f32(),
                DType::BF16 => bf16::from_f32(value).to_f32(),
                other => panic!("fixtures are not rounded through {}", other.name()),
            };
            value.to_le_bytes().to_vec()
        };
        self.write(folder, &self.config(), DType::F32, encode);
    }

    fn write(&self, folder: &Path, config: &Value, dtype: DType, encode: impl Fn(f32) -> Vec<u8>) {
        write_weights(folder, config, &self.weights(), dtype, encode);
    }
}

fn write_weights(
    folder: &Path,
    config: &Value,
    weights: &[Weight],
    dtype: DType,
    encode: impl Fn(f32) -> Vec<u8>,
) {
    let spec = |weight: &Weight| TensorSpec {
        name: weight.name.clone(),
        dtype,
        shape: Shape(weight.shape.clone()),
    };
    let specs: Vec<TensorSpec> = weights.iter().map(spec).collect();
    let mut file = write::header(&specs).expect("a header of the fixture's tensors");
    for weight in weights {
        file.extend(weight.values.iter().flat_map(|&value| encode(value)));
    }
    write_file(&folder.join("model.safetensors"), &file);
    write_file(&folder.join("config.json"), config.to_string().as_bytes());
}

impl Case {
    /// Which positions of an output count, row-major over the mask's extents; `None`: all do.
    pub fn mask(&self, output: &str) -> Option<Vec<bool>> {
        let rows = list(&self.input[self.masks.get(output)?]);
        let bits = rows.iter().flat_map(list);
        Some(bits.map(|bit| bit.as_u64() == Some(1)).collect())
    }

    /// Writes the input as a file for `rillm eval --input`.
    pub fn write_input(&self, path: &Path) {
        write_file(path, self.input.to_string().as_bytes());
    }

    /// How many sequences there are, or lists of sequences of which one is to be chosen.
    pub fn batch(&self) -> usize {
        list(&self.input["input_ids"]).len()
    }

    /// An input of token ids or mask bits, row by row, those of each choice apart; `None` if the case
    /// does not give it.
    pub fn rows(&self, key: &str) -> Option<Vec<Vec<u32>>> {
        let rows = list(self.input.get(key)?).iter();
        let rows = rows.flat_map(|row| match row.get(0) {
            Some(Value::Array(_)) => list(row).iter().collect(),
            _ => vec![row],
        });
        let number = |value: &Value| {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            number.unwrap_or_else(|| panic!("{key} of {}: {value} is no id", self.name))
        };
        Some(
            rows.map(|row| list(row).iter().map(number).collect())
                .collect(),
        )
    }

    fn read(json: &Value) -> Self {
        let outputs = list(&json["outputs"]).iter().map(text).collect();
        let masks = json["masks"].as_object().expect("masks by output");
        Self {
            name: text(&json["name"]),
            input: json["input"].clone(),
            outputs,
            masks: masks
                .iter()
                .map(|(key, mask)| (key.clone(), text(mask)))
                .collect(),
        }
    }
}

impl Recipe {
    fn read(json: &Value) -> Self {
        let extent = |value: &Value| value.as_u64().expect("an extent");
        // A decimal becomes the nearest f64, then the nearest f32, in Python as here.
        let float = |value: &Value| value.as_f64().expect("a number") as f32;
        Self {
            name: text(&json["name"]),
            shape: list(&json["shape"]).iter().map(extent).collect(),
            scale: float(&json["scale"]),
            shift: float(&json["shift"]),
        }
    }
}

fn root() -> PathBuf {
    // The command line's tests use them as well, from their crate's folder.
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut folders = folders.map(|folder| folder.join("tests/data/fixtures"));
    folders
        .find(|folder| folder.is_dir())
        .expect("tests/data/fixtures")
}

fn saved_by_transformers_5() -> PathBuf {
    root().join("../transformers5")
}

fn read_json(path: &Path) -> Value {
    let bytes =
        fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn write_file(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes)
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("expected a list, found {value}"))
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("expected a string, found {value}"))
        .to_owned()
}
