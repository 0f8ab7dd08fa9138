//! Blocks: decoding, encoding, and activations rounded to int8.

use half::f16;
use rillm::internals::quant::{ActivationQ8_0, ActivationQ8K, decode, encode};
use rillm_formats::manifest::DType;

use super::{Random, scalar, tables};

/// Random blocks and what the `gguf` package decodes them to, by `tools/quant/make.py`.
const DECODED: &[u8] = include_bytes!("../data/dequantize.bin");

#[test]
fn decoding_gives_the_bits_of_the_gguf_package() {
    let mut rest = DECODED;
    let mut seen = Vec::new();
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(8);
        let id = u32::from_le_bytes(head[..4].try_into().expect("four bytes"));
        let len = u32::from_le_bytes(head[4..].try_into().expect("four bytes")) as usize;
        let dtype = DType::from_id(id).expect("known type");
        let elements = len as u64 / dtype.block_len() * dtype.block_elements();
        let (blocks, tail) = tail.split_at(len);
        let (expected, tail) = tail.split_at(4 * elements as usize);
        rest = tail;
        let (expected, _) = expected.as_chunks::<4>();
        let mut found = vec![f32::NAN; expected.len()];
        decode(dtype).expect("complete")(blocks, &mut found);
        for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
            let expected = f32::from_le_bytes(*expected);
            assert_eq!(
                found.to_bits(),
                expected.to_bits(),
                "{dtype:?}, element {index}: {found} is not {expected}",
            );
        }
        seen.push(dtype);
    }
    for dtype in DType::ALL {
        // F32 is no more than a copy.
        let expected = decode(*dtype).is_some() && *dtype != DType::F32;
        assert_eq!(seen.contains(dtype), expected, "{dtype:?}");
    }
}

#[test]
fn encoding_loses_no_more_than_its_bits_imply() {
    let mut random = Random(3);
    // A sum of uniforms: near normal, deviation one.
    let values: Vec<f32> = (0..256 * 40)
        .map(|_| (0..12).map(|_| random.float()).sum::<f32>() / 2.0)
        .collect();
    let power = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
    // A grid of n steps over the ±2.2 (of 32 normal numbers the largest on average) or ±1.8 (of
    // 16) deviations of a group has an error of step/√12: encoders that look for the best grid
    // stay below it. Halves and bfloat16 round to 11 and 8 bits. A grid of two bits gains from
    // clipping: Lloyd and Max's best four levels for a normal source have an error of 0.343, and
    // a group fits its own grid; their best three have 0.436, and Q2_0 has a fourth; their best two 0.603. Trits of the largest of 256 normal numbers: nearly all zero.
    // Four-bit tables have about the error of a grid; powers of two waste up to half a bit.
    let uniform = |range: f64, steps: f64| range / steps / 12f64.sqrt();
    let cases = [
        (DType::F32, 0.0),
        (DType::F16, 0.000_3),
        (DType::BF16, 0.002_3),
        (DType::Q8_0, uniform(4.4, 254.0) * 1.1), // it looks for no better one
        (DType::Q1_0, 0.603),
        (DType::Q2_0, 0.436),
        (DType::Q4_0, uniform(4.4, 15.0)),
        (DType::Q4_1, uniform(4.4, 15.0)),
        (DType::Q5_0, uniform(4.4, 31.0)),
        (DType::Q5_1, uniform(4.4, 31.0)),
        (DType::Q2_K, 0.343),
        (DType::Q3_K, uniform(3.6, 7.0) * 1.1),
        (DType::Q4_K, uniform(4.4, 15.0)),
        (DType::Q5_K, uniform(4.4, 31.0)),
        (DType::Q6_K, uniform(3.6, 63.0) * 1.1), // eight bits of group scale
        (DType::IQ4_NL, uniform(4.4, 15.0)),
        (DType::IQ4_XS, uniform(4.4, 15.0)),
        (DType::MXFP4, uniform(4.4, 15.0) * 2f64.sqrt()),
        (DType::TQ1_0, 1.0),
        (DType::TQ2_0, 1.0),
    ];
    for (dtype, _) in cases.iter() {
        assert!(encode(*dtype).is_some());
    }
    let encoders = DType::ALL.iter().filter(|dtype| encode(**dtype).is_some());
    assert_eq!(encoders.count(), cases.len());
    for (dtype, bound) in cases {
        let back = again(dtype, &values);
        let errors = values
            .iter()
            .zip(&back)
            .map(|(&a, &b)| f64::from(a - b).powi(2));
        let error = (errors.sum::<f64>() / power).sqrt();
        assert!(error <= bound, "{dtype:?}: {error} > {bound}");
        println!("{dtype:?}: {error:.5} of {bound:.5}");
    }
}

#[test]
fn weights_of_two_values_become_bits_exactly() {
    let mut random = Random(14);
    let values: Vec<f32> = (0..1024)
        .map(|_| [-0.375, 0.375][random.below(2) as usize])
        .collect();
    assert_eq!(again(DType::Q1_0, &values), values);
}

#[test]
fn weights_of_three_values_become_trits_exactly() {
    let mut random = Random(11);
    let values: Vec<f32> = (0..1024)
        .map(|_| [-0.375, 0.0, 0.375][random.below(3) as usize])
        .collect();
    for dtype in [DType::TQ1_0, DType::TQ2_0, DType::Q2_0] {
        assert_eq!(again(dtype, &values), values, "{dtype:?}");
    }
}

/// llama.cpp's encoder takes the largest magnitude as the scale, so that a fourth of a block's values
/// is never used and most weights become zero.
#[test]
fn q2_0_loses_about_half_of_what_the_reference_does() {
    let mut random = Random(13);
    let values: Vec<f32> = (0..64 * 100)
        .map(|_| (0..12).map(|_| random.float()).sum())
        .collect();
    let squares = |back: &[f32]| {
        let errors = values.iter().zip(back).map(|(a, b)| f64::from(a - b));
        errors.map(|error| error * error).sum::<f64>()
    };
    let (blocks, _) = values.as_chunks::<64>();
    let reference = blocks.iter().flat_map(|block| {
        let largest = block.iter().fold(0.0f32, |a, x| a.max(x.abs()));
        let scale = f16::from_f32(largest).to_f32();
        block.map(|x| (x / largest).round().clamp(-1.0, 2.0) * scale)
    });
    let reference: Vec<f32> = reference.collect();
    let ratio = (squares(&again(DType::Q2_0, &values)) / squares(&reference)).sqrt();
    println!("{ratio:.4} of the reference's error");
    assert!(ratio <= 0.55, "{ratio}");
}

#[test]
fn what_lies_on_a_grid_stays_there() {
    let mut random = Random(12);
    let types = DType::ALL.iter().copied();
    // What has no zero is held by `weights_of_two_values_become_bits_exactly`.
    let types = types.filter(|&dtype| encode(dtype).is_some() && dtype != DType::Q1_0);
    for dtype in types {
        // Quants between −1 and 1 lie on every other type's grid.
        let values: Vec<f32> = (0..512)
            .map(|i| match i % 16 {
                0 => [-1.0, 1.0][random.below(2) as usize],
                _ => [-1.0, 0.0, 1.0][random.below(3) as usize],
            })
            .collect();
        let errors = again(dtype, &values);
        let errors = errors.iter().zip(&values).map(|(a, b)| (a - b).abs());
        let worst = errors.fold(0.0, f32::max);
        // Scales of scales are rounded; tables without a zero and a mirror image come near.
        let bound = match dtype {
            DType::IQ4_NL | DType::IQ4_XS => 0.07,
            DType::Q2_K => 0.2,
            DType::Q3_K => 0.04,
            _ => 0.01,
        };
        assert!(worst <= bound, "{dtype:?}: {worst}");
    }
}

fn again(dtype: DType, values: &[f32]) -> Vec<f32> {
    let len = dtype.row_len(values.len() as u64).expect("whole blocks") as usize;
    let mut blocks = vec![0; len];
    encode(dtype).expect("known type")(values, &mut blocks);
    let mut back = vec![f32::NAN; values.len()];
    decode(dtype).expect("known type")(&blocks, &mut back);
    back
}

#[test]
fn encoding_keeps_zeros_and_survives_tiny_and_huge_values() {
    let rows = [0.0, -0.0, 1e-40, 1e-7, 3e4].map(|size| {
        let mut random = Random(4);
        random
            .floats(512)
            .iter()
            .map(|v| v * size)
            .collect::<Vec<_>>()
    });
    for row in rows {
        let largest = row.iter().fold(0.0f32, |a, v| a.max(v.abs()));
        for dtype in [DType::Q8_0, DType::Q4_0, DType::Q4_K, DType::Q6_K] {
            for (found, value) in again(dtype, &row).iter().zip(&row) {
                // Half a step of the coarsest grid, 2/15 of the range, doubled for rounded
                // scales; and the smallest half-precision number times the largest quants.
                let bound = largest * 2.0 / 15.0 + 63.0 * 15.0 * 6e-8;
                assert!(
                    (found - value).abs() <= bound,
                    "{dtype:?}: {found} is not {value}"
                );
            }
        }
    }
}

/// Rows that rounding must get right: ordinary, ties, zeros, outliers, subnormals, faults.
fn rows() -> Vec<Vec<f32>> {
    let mut random = Random(5);
    let mut rows = vec![
        random.floats(768),
        (0..768).map(|i| (i % 255) as f32 - 127.0).collect(),
        // Halves exactly, whose ties go to the even neighbour (the largest is 127).
        (0..768)
            .map(|i| {
                if i % 32 == 0 {
                    127.0
                } else {
                    (i % 31) as f32 - 15.5
                }
            })
            .collect(),
        vec![0.0; 768],
        vec![-0.0; 768],
        vec![1e-42; 768],
        random.floats(768).iter().map(|v| v * 3e38).collect(),
    ];
    for size in [1e-36, 1e-37, 1e-38] {
        rows.push(random.floats(768).iter().map(|v| v * size).collect());
    }
    for fault in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30] {
        let mut row = random.floats(768);
        row[300] = fault;
        rows.push(row);
    }
    rows
}

#[test]
fn rounded_activations_are_the_same_bits_from_every_table() {
    for row in rows() {
        for table in tables() {
            let mut expected = vec![0xaa; 768 / 32 * ActivationQ8_0::LEN];
            let mut found = expected.clone();
            (scalar().quantize_q8_0)(&row, &mut expected);
            (table.quantize_q8_0)(&row, &mut found);
            assert_eq!(found, expected, "{} {:?}", table.isa, &row[..8]);
            let mut expected = vec![0xaa; 3 * ActivationQ8K::LEN];
            let mut found = expected.clone();
            (scalar().quantize_q8_k)(&row, &mut expected);
            (table.quantize_q8_k)(&row, &mut found);
            assert_eq!(found, expected, "{} {:?}", table.isa, &row[..8]);
            for len in [0, 1, 15, 16, 17, 768] {
                let row = &row[768 - len..];
                let rounded = row.iter().map(|&x| half::bf16::from_f32(x).to_le_bytes());
                let expected: Vec<u8> = rounded.flatten().chain([0xaa; 2]).collect();
                let mut found = vec![0xaa; 2 * len + 2];
                (table.quantize_bf16)(row, &mut found);
                assert_eq!(found, expected, "{} {len}", table.isa);
            }
        }
    }
}

#[test]
fn rounded_activations_are_within_half_a_step_and_know_their_sums() {
    for row in rows() {
        let mut bytes = vec![0; 768 / 32 * ActivationQ8_0::LEN];
        (scalar().quantize_q8_0)(&row, &mut bytes);
        let (blocks, _) = bytes.as_chunks::<{ ActivationQ8_0::LEN }>();
        for (block, values) in blocks.iter().zip(row.chunks(32)) {
            let block = ActivationQ8_0::from_bytes(block);
            assert_eq!(
                block.sum(),
                block.quants.iter().map(|&q| i32::from(q)).sum::<i32>()
            );
            check_rounding(block.scale(), HALF_ROUNDING, &block.quants, values);
        }
        let mut bytes = vec![0; 3 * ActivationQ8K::LEN];
        (scalar().quantize_q8_k)(&row, &mut bytes);
        let (blocks, _) = bytes.as_chunks::<{ ActivationQ8K::LEN }>();
        for (block, values) in blocks.iter().zip(row.chunks(256)) {
            let block = ActivationQ8K::from_bytes(block);
            for (sum, group) in block.sums().iter().zip(block.quants.chunks(16)) {
                assert_eq!(*sum, group.iter().map(|&q| i32::from(q)).sum::<i32>());
            }
            check_rounding(block.scale(), 0.0, &block.quants, values);
        }
    }
}

/// Relative error of a scale rounded to half precision's eleven bits.
const HALF_ROUNDING: f64 = 1.0 / 2048.0;

fn check_rounding(scale: f32, scale_error: f64, quants: &[i8], values: &[f32]) {
    assert!(quants.iter().all(|&quant| quant != i8::MIN));
    if values.iter().any(|value| !value.is_finite()) {
        assert!(scale.is_nan());
        return;
    }
    let largest = values.iter().fold(0.0f32, |a, v| a.max(v.abs()));
    assert!(largest < 1e-34 || quants.iter().any(|quant| quant.abs() == 127));
    for (&quant, &value) in quants.iter().zip(values) {
        let error = f64::from(value) - f64::from(scale) * f64::from(quant);
        // Blocks below 1e-36 may become zeros.
        let step = 0.500_1 + scale_error * f64::from(quant.unsigned_abs());
        let bound = f64::from(scale) * step + 1e-36;
        assert!(error.abs() <= bound, "{value}: {quant} × {scale}");
    }
}
