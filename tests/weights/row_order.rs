//! Views over stored rows: parts in order, blocks of rows, addresses across their borders.

use std::cell::RefCell;
use std::slice;

use rillm::Precision;
use rillm::internals::graph::{Bounds, BuildError, Builder, Config, Matrix, Name, RowOrder};
use rillm::internals::kernels::Kernels;
use rillm::internals::weights::{Files, Source, TokenizerFiles, Views, Weights};
use rillm_formats::hf_config;
use rillm_formats::manifest::{DType, Shape};
use rillm_formats::safetensors::{self, write};

const NAMES: &[Name] = &[
    Name::plain("experts.{e}.w", "stack.weight"),
    Name::plain("w", "plain.weight"),
    Name::plain("a.w", "plain.weight"),
];

/// One tensor of a checkpoint: name, type, shape.
type Stored<'a> = (&'a str, DType, &'a [u64]);

/// Element i of the n-th tensor is 1000 n + i, so every row can be told from every other.
fn files(tensors: &[Stored<'_>]) -> Files {
    let specs: Vec<write::TensorSpec> = tensors
        .iter()
        .map(|&(name, dtype, shape)| write::TensorSpec {
            name: name.to_owned(),
            dtype,
            shape: Shape(shape.to_vec()),
        })
        .collect();
    let mut bytes = write::header(&specs).unwrap();
    for (n, spec) in specs.iter().enumerate() {
        for i in 0..spec.shape.elements().unwrap() {
            let value = 1000.0 * n as f32 + i as f32;
            match spec.dtype {
                DType::F32 => bytes.extend(value.to_le_bytes()),
                _ => bytes.extend(half::f16::from_f32(value).to_le_bytes()),
            }
        }
    }
    let parsed = safetensors::parse(&bytes, 0).unwrap();
    let config = hf_config::parse(br#"{"model_type": "test"}"#).unwrap();
    Files {
        manifest: safetensors::merge(config, vec![parsed], None).unwrap(),
        sources: vec![Source::Owned(bytes)],
        tokenizer: TokenizerFiles::default(),
        modules: Default::default(),
        path: "".into(),
        notes: Vec::new(),
    }
}

/// What `wire` makes of the tensors.
fn resolve(
    tensors: &[Stored<'_>],
    wire: impl Fn(&Builder<'_>) -> Result<Matrix, BuildError>,
) -> Result<(Weights, Matrix), String> {
    let files = files(tensors);
    let views = Views::new(&files.manifest, &[NAMES]).map_err(|error| error.to_string())?;
    let bounds = Bounds {
        elements: u64::MAX,
        layers: u64::MAX,
    };
    let config = Config::new(&files.manifest, &[], bounds);
    let builder = Builder::new(config, &views);
    let matrix = wire(&builder).map_err(|error| error.to_string())?;
    let kernels = Kernels::select(None).unwrap();
    let wiring = builder.finish();
    let weights = Weights::resolve(
        &wiring,
        &views,
        files.sources,
        (kernels, Precision::Reference),
    )
    .map_err(|error| error.to_string())?;
    Ok((weights, matrix))
}

/// Rows of a matrix as `runs` hands them out, and the lengths of the runs.
fn rows(
    weights: &Weights,
    matrix: Matrix,
    range: std::ops::Range<usize>,
) -> (Vec<Vec<f32>>, Vec<usize>) {
    let weight = weights.matrix(matrix);
    let lengths = RefCell::new(Vec::new());
    let mut next = range.start;
    let mut rows = Vec::new();
    for (run, address) in weights.runs(weight, range.clone()) {
        assert_eq!(run.start, next, "runs follow each other");
        next = run.end;
        lengths.borrow_mut().push(run.len());
        for row in 0..run.len() {
            // SAFETY: `runs` promises the address of the run's first stored row, and the rest
            // behind it `stride` bytes apart, inside the file that `weights` holds.
            let bytes =
                unsafe { slice::from_raw_parts(address.add(row * weight.stride), weight.stride) };
            rows.push(
                bytes
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                    .collect(),
            );
        }
    }
    assert_eq!(next, range.end, "all rows come");
    (rows, lengths.into_inner())
}

/// Row `row` of tensor `n`, three columns wide.
fn row(n: usize, row: usize) -> Vec<f32> {
    (0..3).map(|i| (1000 * n + 3 * row + i) as f32).collect()
}

#[test]
fn parts_come_in_their_numbers_order() {
    // In the order of names, ten comes before two.
    let names: Vec<String> = (0..11).rev().map(|e| format!("experts.{e}.w")).collect();
    let tensors: Vec<Stored<'_>> = names
        .iter()
        .map(|n| (n.as_str(), DType::F32, &[2u64, 3][..]))
        .collect();
    let (weights, matrix) = resolve(&tensors, |builder| {
        builder.experts("stack.weight", 11, 2, 3)
    })
    .unwrap();
    assert_eq!((matrix.rows, matrix.columns, matrix.stack), (2, 3, 11));
    // Expert e is tensor 10 − e.
    let expected: Vec<Vec<f32>> = (0..22).map(|r| row(10 - r / 2, r % 2)).collect();
    let (found, lengths) = rows(&weights, matrix, 0..22);
    assert_eq!(found, expected);
    assert_eq!(lengths, [2; 11]);
    // A range that begins and ends inside parts.
    let (found, lengths) = rows(&weights, matrix, 3..8);
    assert_eq!(found, expected[3..8]);
    assert_eq!(lengths, [1, 2, 2]);
}

#[test]
fn blocks_of_rows_are_an_explicit_permutation() {
    for (block, stride, offset, count) in [
        (2, 6, 0, 6),
        (2, 6, 2, 6),
        (3, 6, 3, 9),
        (1, 3, 2, 6),
        (4, 4, 0, 17),
        (5, 9, 4, 10),
    ] {
        let order = RowOrder::Blocks {
            block,
            stride,
            offset,
        };
        let (weights, matrix) = resolve(&[("w", DType::F32, &[18, 3])], |builder| {
            builder.matrix_rows("plain.weight", (18, 3), count, order)
        })
        .unwrap();
        let explicit: Vec<usize> = (0..18usize)
            .filter(|&r| r >= offset && (r - offset) % stride < block)
            .take(count)
            .collect();
        let expected: Vec<Vec<f32>> = explicit.iter().map(|&r| row(0, r)).collect();
        assert_eq!(expected.len(), count);
        let label = format!("{order:?}");
        let (found, _) = rows(&weights, matrix, 0..count);
        assert_eq!(found, expected, "{label}");
        for start in 0..count {
            for end in start..=count {
                let (found, lengths) = rows(&weights, matrix, start..end);
                assert_eq!(found, expected[start..end], "{label} {start}..{end}");
                assert!(lengths.iter().all(|&len| len <= block), "{label}");
            }
        }
        for (r, expected) in expected.iter().enumerate() {
            let mut out = vec![0.0; 3];
            weights.decode_row(matrix, r, &mut out);
            assert_eq!(&out, expected, "{label} row {r}");
        }
    }
}

#[test]
fn blocks_past_the_end_are_refused() {
    for (order, count) in [
        (
            RowOrder::Blocks {
                block: 2,
                stride: 6,
                offset: 5,
            },
            6,
        ),
        (
            RowOrder::Blocks {
                block: 0,
                stride: 1,
                offset: 0,
            },
            1,
        ),
        (
            RowOrder::Blocks {
                block: 1,
                stride: usize::MAX,
                offset: 0,
            },
            3,
        ),
        (
            RowOrder::Blocks {
                block: 1,
                stride: 1,
                offset: usize::MAX,
            },
            1,
        ),
        (RowOrder::All, 19),
        (RowOrder::All, 0),
    ] {
        let error = resolve(&[("w", DType::F32, &[18, 3])], |builder| {
            builder.matrix_rows("plain.weight", (18, 3), count, order)
        })
        .unwrap_err();
        assert!(error.contains("plain.weight"), "{error}");
    }
}

#[test]
fn damaged_stacks_are_refused_by_name() {
    let f32x = |name| (name, DType::F32, &[2u64, 3][..]);
    let stack = |tensors: &[Stored<'_>], experts| {
        resolve(tensors, |builder| {
            builder.experts("stack.weight", experts, 2, 3)
        })
        .map(|_| ())
    };
    assert_eq!(
        stack(&[f32x("experts.0.w"), f32x("experts.1.w")], 2),
        Ok(())
    );
    for (tensors, experts, says) in [
        (
            vec![f32x("experts.0.w"), f32x("experts.2.w")],
            2,
            "numbered",
        ),
        (
            vec![f32x("experts.1.w"), f32x("experts.2.w")],
            2,
            "numbered",
        ),
        (vec![f32x("experts.0.w"), f32x("experts.1.w")], 3, "shape"),
        (
            vec![
                f32x("experts.0.w"),
                ("experts.1.w", DType::F32, &[3, 2][..]),
            ],
            2,
            "expert 1",
        ),
        (
            vec![
                f32x("experts.0.w"),
                ("experts.1.w", DType::F16, &[2, 3][..]),
            ],
            2,
            "differ in type",
        ),
        (vec![f32x("w")], 2, "missing"),
    ] {
        let error = stack(&tensors, experts).unwrap_err();
        assert!(
            error.contains(says) && error.contains("stack.weight"),
            "{error}"
        );
    }
}

#[test]
fn two_spellings_of_one_tensor_are_refused() {
    let tensors = [
        ("w", DType::F32, &[2u64, 3][..]),
        ("a.w", DType::F32, &[2, 3]),
    ];
    let error = resolve(&tensors, |builder| builder.matrix("plain.weight", 2, 3)).unwrap_err();
    assert!(
        error.contains("twice") && error.contains("plain.weight"),
        "{error}"
    );
}
