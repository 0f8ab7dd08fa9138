//! Tiles: those of software, whose packing and scaling are the instructions' own, against AVX-512; the
//! instructions against those of software; and that nobody has them without the CPU.

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
        let is_legacy = Activation::of(dtype) == Some(Activation::Q8_0);
        assert!(!is_legacy || a == b, "{dtype:?}");
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
