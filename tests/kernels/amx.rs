//! Tiles: those of software, whose packing and scaling are the instructions' own, against AVX-512; the
//! instructions against those of software; and that nobody has them without the CPU.

use half::{bf16, f16};
use rillm::internals::kernels::{Activation, Isa, IsaError, Kernels, Layout};
use rillm_formats::manifest::DType;

use super::Random;
use super::blocks::{PATTERNS, input_row, weight_row};
use super::matmul::{bits, product, types};

/// AVX-512's table and that of tiles in software, where this CPU has the former.
fn avx512_and_software() -> Option<[&'static Kernels; 2]> {
    let software = Kernels::software_tiles()?;
    let avx512 = Kernels::select(Some(Isa::Avx512)).expect("software has its instructions");
    Some([avx512, software])
}

/// Products of both tables, of more rows than a panel has and of so many inputs, bit for bit.
fn same_bits(tables: [&Kernels; 2], dtype: DType, counts: &[usize]) {
    let kernels = tables.map(|table| table.matmul(dtype, Layout::Rows).expect("complete"));
    let most = *counts.iter().max().expect("some");
    for pattern in PATTERNS {
        for columns in [256, 768] {
            let mut random = Random(columns as u64 + u64::from(dtype.id()));
            let weights = (0..37).map(|_| weight_row(dtype, columns, pattern, &mut random));
            let weights: Vec<_> = weights.collect();
            let form = kernels[0].activation;
            let inputs = (0..most).map(|_| input_row(form, columns, pattern, &mut random));
            let inputs: Vec<_> = inputs.collect();
            for &count in counts {
                let [a, b] = kernels
                    .map(|kernel| bits(&product(kernel, &weights, &inputs[..count], columns, 1)));
                assert_eq!(
                    a, b,
                    "{dtype:?} {pattern:?}, {columns} columns, {count} inputs"
                );
            }
        }
    }
}

/// Of blocks of 256 weights, whose sums are whole numbers until their factors meet them.
#[test]
fn planes_have_the_bits_of_avx512() {
    let Some(tables) = avx512_and_software() else {
        return;
    };
    let mut others = 0;
    for dtype in types().filter(|&dtype| Activation::of(dtype) == Some(Activation::Q8_K)) {
        same_bits(tables, dtype, &[1, 3, 7, 8, 9, 15, 16, 17, 31, 33]);
        let [a, b] = tables.map(|table| (table.matmul)(dtype).expect("complete") as usize);
        others += usize::from(a != b);
    }
    // Not merely the same functions.
    assert!(others >= 8, "{others} types have tiles");
}

/// As many inputs as share a panel, and some more.
#[test]
fn planes_of_a_long_prompt_have_the_bits_of_avx512() {
    let Some(tables) = avx512_and_software() else {
        return;
    };
    for dtype in [DType::Q2_K, DType::Q4_K, DType::Q6_K] {
        same_bits(tables, dtype, &[512, 531]);
    }
}

/// What has scales of its own for each 32 weights is AVX-512's, and so is whatever is stored by
/// columns.
#[test]
fn what_tiles_do_not_do_better_is_avx512s() {
    let Some(tables) = avx512_and_software() else {
        return;
    };
    for dtype in types() {
        let [a, b] = tables.map(|table| (table.matmul)(dtype).map(|run| run as usize));
        let is_float = matches!(dtype, DType::F32 | DType::F16 | DType::BF16);
        let is_whole = Activation::of(dtype) == Some(Activation::Q8_K);
        assert!(is_whole || is_float == (a != b), "{dtype:?}");
        let [a, b] = tables.map(|table| (table.matmul_transposed)(dtype).map(|run| run as usize));
        assert_eq!(a, b, "{dtype:?}");
    }
}

#[test]
fn the_instructions_have_the_bits_of_software() {
    let (Ok(amx), Some(software)) = (Kernels::select(Some(Isa::Amx)), Kernels::software_tiles())
    else {
        return;
    };
    for dtype in types() {
        same_bits([amx, software], dtype, &[1, 2, 3, 4, 8, 15, 16, 17, 33]);
    }
}

/// A CPU without tiles, or a system that does not let this process have them.
#[test]
fn without_tiles_nobody_is_given_them() {
    let of_amx = |table: &Kernels| table.isa == Isa::Amx;
    let best = Kernels::select(None).expect("some table");
    assert_eq!(of_amx(best), Isa::Amx.is_available());
    if !Isa::Amx.is_available() {
        let error = Kernels::select(Some(Isa::Amx)).expect_err("not there");
        assert_eq!(error, IsaError::Unavailable { isa: Isa::Amx });
        let text = error.to_string();
        assert!(
            text.starts_with("this CPU cannot run instruction set amx: this CPU has scalar"),
            "{text}"
        );
    }
    // Nor has any other table a product of theirs.
    let Some([avx512, software]) = avx512_and_software() else {
        return;
    };
    for dtype in types() {
        let run = |table: &Kernels| (table.matmul)(dtype).map(|run| run as usize);
        if run(software) == run(avx512) {
            continue;
        }
        for isa in Isa::available().filter(|&isa| isa != Isa::Amx) {
            let table = Kernels::select(Some(isa)).expect("available");
            assert!(run(table) != run(software), "{isa} {dtype:?}");
            assert!(
                !Kernels::select(Some(Isa::Amx)).is_ok_and(|amx| run(amx) == run(table)),
                "{isa} {dtype:?}"
            );
        }
    }
}

/// Products of rows of one weight with inputs of one activation: `[inputs][rows]`. Together or one by
/// one, which takes other ways.
fn single(dtype: DType, weights: &[Vec<u8>], inputs: &[f32], together: bool) -> Option<Vec<f32>> {
    let table = Kernels::software_tiles()?;
    let kernel = table.matmul(dtype, Layout::Rows).expect("complete");
    let inputs: Vec<_> = inputs.iter().map(|x| x.to_le_bytes().to_vec()).collect();
    let inputs: Vec<&[_]> = match together {
        true => vec![&inputs],
        false => inputs.chunks(1).collect(),
    };
    let products = inputs.into_iter();
    let products = products.map(|inputs| product(kernel, weights, inputs, 1, 1));
    Some(products.flatten().collect())
}

/// A weight is the sum of its bf16, and small numbers of half precision are normal ones of bf16.
#[test]
fn parts_of_weights_lose_nothing() {
    let halves: Vec<_> = (0..=u16::MAX).map(|bits| bits.to_le_bytes()).collect();
    for (dtype, value) in [
        (
            DType::F16,
            (|bits| f16::from_le_bytes(bits).to_f32()) as fn(_) -> _,
        ),
        (DType::BF16, |bits| bf16::from_le_bytes(bits).to_f32()),
    ] {
        let values: Vec<f32> = halves.iter().map(|&bits| value(bits)).collect();
        let weights: Vec<_> = halves.iter().map(|bits| bits.to_vec()).collect();
        for (inputs, together) in [(&[1.0; 1][..], false), (&[1.0; 4], true)] {
            let Some(found) = single(dtype, &weights, inputs, together) else {
                return;
            };
            for (found, value) in found.iter().zip(values.iter().cycle()) {
                let expected = match value.is_subnormal() {
                    true => 0.0,
                    false => *value,
                };
                let fault = !value.is_finite() && !found.is_finite();
                assert!(fault || *found == expected, "{dtype:?}: {found}, {value}");
            }
        }
    }
}

/// So is an activation, all of whose parts are normal if it is not extremely small.
#[test]
fn parts_of_activations_lose_nothing() {
    const SMALLEST: f32 = 1.0 / (1u128 << 100) as f32;
    let mut random = Random(7);
    let mut inputs = vec![f32::MAX, f32::MIN, SMALLEST, 1.0 + f32::EPSILON];
    while inputs.len() < 1000 {
        let x = f32::from_bits((random.bits() >> 32) as u32);
        if x.is_finite() && x.abs() >= SMALLEST {
            inputs.push(x);
        }
    }
    for (dtype, one) in [
        (DType::F32, 1f32.to_le_bytes().to_vec()),
        (DType::F16, f16::ONE.to_le_bytes().to_vec()),
        (DType::BF16, bf16::ONE.to_le_bytes().to_vec()),
    ] {
        for together in [false, true] {
            let Some(found) = single(dtype, std::slice::from_ref(&one), &inputs, together) else {
                return;
            };
            assert_eq!(found, inputs, "{dtype:?}");
        }
    }
}

#[test]
fn an_infinity_is_not_hidden_by_parts() {
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        for fault in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let weights = [weight_row(dtype, 1, PATTERNS[0], &mut Random(3))];
            for together in [false, true] {
                let Some(found) = single(dtype, &weights, &[fault; 5], together) else {
                    return;
                };
                assert!(found.iter().all(|x| !x.is_finite()), "{dtype:?} {fault}");
            }
        }
    }
}
