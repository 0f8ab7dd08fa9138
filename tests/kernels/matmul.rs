//! Matrix products: any shape, any address, any cut of the work.

use std::ops::Deref;

use half::bf16;
use rillm::internals::kernels::{
    Activation, Isa, Kernels, Layout, MatMul, MatMulKernel, PackFrom, Pick, Tuning,
};
use rillm::internals::quant::types::{Float, Visitor, visit};
use rillm::internals::quant::{
    ActivationQ8_0, ActivationQ8K, Block32, Block256, Integers256, decode,
};
use rillm_formats::manifest::DType;

use super::blocks::{PATTERNS, Pattern, input_row, weight_row};
use super::guarded::guarded;
use super::{Random, tables};

/// Every type that can be multiplied.
pub(super) fn types() -> impl Iterator<Item = DType> {
    let all = DType::ALL.iter().copied();
    all.filter(|&dtype| Activation::of(dtype).is_some())
}

/// Every product with rows of weights that a table has: of each type that of the reference, and what
/// the CPU does in 16 bits.
fn products(table: &Kernels) -> impl Iterator<Item = (DType, MatMulKernel)> {
    types().flat_map(|dtype| {
        let reference = table.matmul(dtype, Layout::Rows).expect("complete");
        let native = table.native(dtype, Layout::Rows);
        let both = [Some(reference), native].into_iter().flatten();
        both.map(move |kernel| (dtype, kernel))
    })
}

/// A weight row as double-precision values, and for each the magnitude its rounding errors
/// are relative to (a difference may be far smaller than its two terms).
fn weight_values(dtype: DType, form: Activation, row: &[u8], columns: usize) -> Vec<(f64, f64)> {
    let mut values = vec![0.0; columns];
    decode(dtype).expect("known type")(row, &mut values);
    if form == Activation::BF16 {
        values
            .iter_mut()
            .for_each(|value| *value = bf16::from_f32(*value).to_f32());
    }
    let terms = visit(dtype, Terms { row, columns }).expect("known type");
    let values = values.iter().map(|&value| f64::from(value)).zip(terms);
    let values = values.map(|(value, term)| (value, value.abs() + 2.0 * term.abs()));
    values.collect()
}

/// What is added to each weight of a row, or taken off.
struct Terms<'a> {
    row: &'a [u8],
    columns: usize,
}

impl Visitor for Terms<'_> {
    type Output = Vec<f64>;

    fn floats(self, _: Float) -> Vec<f64> {
        vec![0.0; self.columns]
    }

    fn block32<B: Block32>(self) -> Vec<f64> {
        let blocks = self.row.chunks(B::LEN).map(B::read);
        let groups =
            blocks.flat_map(|block| (0..B::GROUPS).map(move |group| block.integers(group)));
        groups
            .flat_map(|group| [f64::from(group.offset); 32])
            .collect()
    }

    fn block256<B: Block256>(self) -> Vec<f64> {
        let mut integers = Integers256::ZERO;
        let mut mins = Vec::new();
        for block in self.row.chunks(B::LEN) {
            B::read(block).integers(&mut integers);
            for min in integers.mins {
                mins.extend([f64::from(integers.min_scale) * f64::from(min); 16]);
            }
        }
        mins
    }

    fn nvfp4(self) -> Vec<f64> {
        vec![0.0; self.columns]
    }
}

fn input_values(form: Activation, row: &[u8]) -> Vec<f64> {
    let quants = |scale: f32, quants: &[i8]| -> Vec<f64> {
        let scale = f64::from(scale);
        quants.iter().map(|&q| scale * f64::from(q)).collect()
    };
    match form {
        Activation::F32 => {
            let (floats, _) = row.as_chunks::<4>();
            floats
                .iter()
                .map(|&x| f64::from(f32::from_le_bytes(x)))
                .collect()
        }
        Activation::BF16 => {
            let (numbers, _) = row.as_chunks();
            let numbers = numbers.iter().map(|&x| bf16::from_le_bytes(x));
            numbers.map(f64::from).collect()
        }
        Activation::Q8_0 => {
            let (blocks, _) = row.as_chunks::<{ ActivationQ8_0::LEN }>();
            let blocks = blocks.iter().map(ActivationQ8_0::from_bytes);
            blocks.flat_map(|b| quants(b.scale(), &b.quants)).collect()
        }
        Activation::Q8_K => {
            let (blocks, _) = row.as_chunks::<{ ActivationQ8K::LEN }>();
            let blocks = blocks.iter().map(ActivationQ8K::from_bytes);
            blocks.flat_map(|b| quants(b.scale(), &b.quants)).collect()
        }
        _ => unreachable!(),
    }
}

/// Rounding errors of a sum of k products, relative to Σ|aᵢbᵢ|. Each of eight lanes or more
/// adds k/8 products one by one; decoding, scales and the sum of the lanes add a few roundings.
fn tolerance(columns: usize) -> f64 {
    (columns as f64 / 8.0 + 8.0) * f64::from(f32::EPSILON)
}

/// Rows laid out with gaps between them, `offset` bytes into what is handed back; with as many
/// behind them, or all would end at a page's end.
fn lay_out(rows: &[Vec<u8>], offset: usize) -> (impl Deref<Target = [u8]>, usize) {
    const GAP: usize = 5;
    let stride = rows[0].len() + GAP;
    // No gap after the last row: reading beyond it is reading what nobody may.
    let mut bytes = vec![0xa5; 2 * offset + stride * rows.len() - GAP];
    for (index, row) in rows.iter().enumerate() {
        let start = offset + index * stride;
        bytes[start..start + row.len()].copy_from_slice(row);
    }
    (guarded(&bytes), stride)
}

/// One product through a kernel, everything `offset` bytes off: `[inputs][rows]`.
pub(super) fn product(
    kernel: MatMulKernel,
    weights: &[Vec<u8>],
    inputs: &[Vec<u8>],
    columns: usize,
    offset: usize,
) -> Vec<f32> {
    let (weight_bytes, weight_stride) = lay_out(weights, offset);
    let (input_bytes, input_stride) = lay_out(inputs, offset);
    run(
        kernel,
        columns,
        offset,
        weights.len(),
        inputs.len(),
        |out, out_stride| MatMul {
            weights: weight_bytes[offset..].as_ptr(),
            weight_stride,
            weight_rows: weights.len(),
            columns,
            inputs: input_bytes[offset..].as_ptr(),
            input_stride,
            inputs_len: inputs.len(),
            out,
            out_stride,
            picks: std::ptr::null(),
            tuning: kernel.tuning,
        },
    )
}

fn run(
    kernel: MatMulKernel,
    columns: usize,
    offset: usize,
    rows: usize,
    inputs: usize,
    call: impl Fn(*mut f32, usize) -> MatMul,
) -> Vec<f32> {
    const SENTINEL: [u8; 4] = [0x5a; 4];
    let out_stride = rows + 3;
    // No gap after the last results either.
    let len = (4 * out_stride * inputs).saturating_sub(4 * (out_stride - rows));
    let mut out = guarded(&vec![SENTINEL[0]; 2 * offset + len]);
    let call = call(out[offset..].as_mut_ptr().cast(), out_stride);
    assert_eq!(call.columns, columns);
    // SAFETY: rows and results lie in the vectors that the strides were made for, and whoever
    // made the call kept those it reads.
    unsafe { (kernel.run)(&call) };
    let (floats, _) = out[offset..].as_chunks::<4>();
    let mut results = Vec::new();
    for line in floats.chunks(out_stride) {
        results.extend(line[..rows].iter().map(|&x| f32::from_le_bytes(x)));
        assert!(
            line[rows..].iter().all(|gap| *gap == SENTINEL),
            "wrote between results"
        );
    }
    results
}

fn columns_of(dtype: DType) -> Vec<usize> {
    match dtype.block_elements() {
        1 => vec![1, 3, 7, 8, 9, 15, 16, 17, 24, 31, 33, 64, 100, 257],
        // Also a few blocks more than are summed together.
        32 => vec![32, 64, 96, 160, 288, 672],
        64 => vec![64, 128, 192, 320, 704],
        128 => vec![128, 256, 384, 640, 1408],
        _ => vec![256, 512, 768, 1280],
    }
}

struct Case {
    dtype: DType,
    pattern: Pattern,
    columns: usize,
    form: Activation,
    weights: Vec<Vec<u8>>,
    inputs: Vec<Vec<u8>>,
}

fn case(kernel: MatMulKernel, dtype: DType, pattern: Pattern, columns: usize) -> Case {
    let mut random = Random(columns as u64 * 1000 + u64::from(dtype.id()));
    let form = kernel.activation;
    let weights = (0..19).map(|_| weight_row(dtype, columns, pattern, &mut random));
    let weights = weights.collect();
    let inputs = (0..9).map(|_| input_row(form, columns, pattern, &mut random));
    let inputs = inputs.collect();
    Case {
        dtype,
        pattern,
        columns,
        form,
        weights,
        inputs,
    }
}

impl Case {
    fn check(&self, name: &str, out: &[f32]) {
        for (n, input) in self.inputs.iter().enumerate() {
            let input = input_values(self.form, input);
            for (r, weights) in self.weights.iter().enumerate() {
                let weights = weight_values(self.dtype, self.form, weights, self.columns);
                let (mut sum, mut magnitude) = (0.0, 0.0);
                for ((weight, size), x) in weights.iter().zip(&input) {
                    sum += weight * x;
                    magnitude += size * x.abs();
                }
                let found = f64::from(out[n * self.weights.len() + r]);
                // Whole numbers that every partial sum holds exactly leave no room for error.
                let whole = matches!(self.pattern, Pattern::Extremes | Pattern::Aligned)
                    && magnitude < f64::from(1 << 24);
                let bound = if whole {
                    0.0
                } else {
                    tolerance(self.columns) * magnitude
                };
                assert!(
                    (found - sum).abs() <= bound,
                    "{name} {:?} {:?}, {} columns, row {r}, input {n}: {found} is not {sum} ± {bound}",
                    self.dtype,
                    self.pattern,
                    self.columns,
                );
            }
        }
    }
}

#[test]
fn products_match_double_precision() {
    for table in tables() {
        for (dtype, kernel) in products(table) {
            for pattern in PATTERNS {
                for columns in columns_of(dtype) {
                    let case = case(kernel, dtype, pattern, columns);
                    for offset in [0, 1, 3] {
                        let out = product(kernel, &case.weights, &case.inputs, columns, offset);
                        case.check(table.isa.name(), &out);
                    }
                }
            }
        }
    }
}

#[test]
fn a_pair_of_rows_has_one_result_however_work_is_cut() {
    // The oracle takes each pair by itself.
    for table in tables().filter(|table| table.isa != Isa::Scalar) {
        for (dtype, kernel) in products(table) {
            for columns in columns_of(dtype) {
                let case = case(kernel, dtype, Pattern::Random, columns);
                let (weights, inputs) = (&case.weights, &case.inputs);
                let whole = product(kernel, weights, inputs, columns, 0);
                for rows in 1..=9 {
                    for count in 1..=inputs.len() {
                        let offset = rows % 4;
                        let part = product(
                            kernel,
                            &weights[19 - rows..],
                            &inputs[9 - count..],
                            columns,
                            offset,
                        );
                        for n in 0..count {
                            for r in 0..rows {
                                let expected = whole[(9 - count + n) * 19 + 19 - rows + r];
                                assert_eq!(
                                    part[n * rows + r].to_bits(),
                                    expected.to_bits(),
                                    "{} {dtype:?}, {columns} columns, {rows} × {count}",
                                    table.isa
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

/// More rows than any table works on at a time, and inputs for every step of it.
#[test]
fn many_rows_and_inputs_have_the_results_of_few() {
    const ROWS: usize = 37;
    for table in tables().filter(|table| table.isa != Isa::Scalar) {
        for (dtype, kernel) in products(table) {
            let lengths = columns_of(dtype);
            for &columns in &lengths {
                // Of the longest rows, more inputs than any table works on at a time.
                let most = if Some(&columns) == lengths.last() {
                    527
                } else {
                    22
                };
                let mut random = Random(columns as u64);
                let mut row = || weight_row(dtype, columns, Pattern::Random, &mut random);
                let weights: Vec<_> = (0..ROWS).map(|_| row()).collect();
                let mut random = Random(dtype.id().into());
                let form = kernel.activation;
                let mut input = || input_row(form, columns, Pattern::Random, &mut random);
                let inputs: Vec<_> = (0..most).map(|_| input()).collect();
                let alone: Vec<_> = inputs
                    .iter()
                    .map(|x| product(kernel, &weights, std::slice::from_ref(x), columns, 0))
                    .collect();
                for count in (2..=22).chain([most]) {
                    let together = product(kernel, &weights, &inputs[..count], columns, 1);
                    for (n, (together, alone)) in together.chunks(ROWS).zip(&alone).enumerate() {
                        for (r, (together, alone)) in together.iter().zip(alone).enumerate() {
                            assert_eq!(
                                together.to_bits(),
                                alone.to_bits(),
                                "{} {dtype:?}, {columns} columns, row {r}, input {n} of {count}",
                                table.isa
                            );
                        }
                    }
                }
            }
        }
    }
}

/// Rows longer than what any table keeps of them on its way.
#[test]
fn long_rows_have_one_result_however_many_inputs() {
    for table in tables() {
        for (dtype, kernel) in products(table) {
            let columns = match dtype.block_elements() {
                1 => 2 * 8192 + 265,
                elements => 2 * 8192 + elements as usize,
            };
            let case = case(kernel, dtype, Pattern::Random, columns);
            let inputs = &case.inputs;
            let one = |x| product(kernel, &case.weights, std::slice::from_ref(x), columns, 0);
            let alone: Vec<f32> = inputs.iter().flat_map(one).collect();
            case.check(table.isa.name(), &alone);
            for count in [2, 5, inputs.len()] {
                let together = product(kernel, &case.weights, &inputs[..count], columns, 1);
                for (alone, together) in alone.iter().zip(&together) {
                    assert_eq!(
                        alone.to_bits(),
                        together.to_bits(),
                        "{} {dtype:?}, {count} inputs",
                        table.isa
                    );
                }
            }
        }
    }
}

/// What a CPU likes changes no bit: rows near and far, packed or as they lie, whole strips and ends,
/// both layouts.
#[test]
fn results_do_not_depend_on_tuning() {
    for table in tables() {
        let tuned = |kernel: MatMulKernel| {
            let tunings = Tuning::candidates(table.isa).iter();
            let forms = tunings.flat_map(|&tuning| {
                [None, Some(0), Some(usize::MAX)].map(|from| Tuning {
                    pack_from: from.map_or(tuning.pack_from, |inputs| PackFrom {
                        floats: inputs,
                        bytes: inputs,
                        parts: inputs,
                    }),
                    ..tuning
                })
            });
            forms.map(move |tuning| MatMulKernel { tuning, ..kernel })
        };
        for (dtype, kernel) in products(table) {
            for columns in columns_of(dtype) {
                let case = case(kernel, dtype, Pattern::Random, columns);
                for count in 1..=3 {
                    let inputs = &case.inputs[..count];
                    let out = |kernel| bits(&product(kernel, &case.weights, inputs, columns, 1));
                    let expected = out(kernel);
                    for kernel in tuned(kernel) {
                        let tuning = kernel.tuning;
                        assert_eq!(out(kernel), expected, "{} {dtype:?} {tuning:?}", table.isa);
                    }
                }
            }
            let Some(kernel) = table.matmul(dtype, Layout::Transposed) else {
                continue;
            };
            let mut random = Random(dtype.id().into());
            let mut row = |rows| weight_row(dtype, rows, Pattern::Random, &mut random);
            let stored: Vec<_> = (0..150).map(|_| row(200)).collect();
            let input = input_row(Activation::F32, 150, Pattern::Random, &mut Random(1));
            let out = |kernel| {
                let input = std::slice::from_ref(&input);
                bits(&transposed(kernel, dtype, &stored, input, 0..200, 1))
            };
            let expected = out(kernel);
            for kernel in tuned(kernel) {
                assert_eq!(out(kernel), expected, "{} {dtype:?}", table.isa);
            }
        }
    }
}

pub(super) fn bits(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|x| x.to_bits()).collect()
}

/// Bytes multiplied in fours come to the same integers as in pairs.
#[test]
fn avx_vnni_has_the_results_of_avx2() {
    let tables = [Isa::Avx2, Isa::AvxVnni].map(|isa| Kernels::select(Some(isa)));
    let [Ok(avx2), Ok(vnni)] = tables else {
        return;
    };
    for dtype in types() {
        for pattern in PATTERNS {
            for columns in columns_of(dtype) {
                let kernel = avx2.matmul(dtype, Layout::Rows).expect("complete");
                let case = case(kernel, dtype, pattern, columns);
                let [a, b] = [avx2, vnni].map(|table| {
                    let kernel = table.matmul(dtype, Layout::Rows).expect("complete");
                    let out = product(kernel, &case.weights, &case.inputs, columns, 1);
                    out.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
                });
                assert_eq!(a, b, "{dtype:?} {pattern:?}, {columns} columns");
            }
        }
    }
}

/// Products of matrices come to the same integers as the dot product, and that to those of NEON.
#[test]
fn the_tables_of_aarch64_have_the_same_results() {
    let [Ok(neon), Ok(dot)] = [Isa::Neon, Isa::DotProd].map(|isa| Kernels::select(Some(isa)))
    else {
        return;
    };
    let matrix = Kernels::select(Some(Isa::I8mm)).ok();
    for dtype in types() {
        for pattern in PATTERNS {
            for columns in columns_of(dtype) {
                let results = |table: &Kernels| {
                    let kernel = table.matmul(dtype, Layout::Rows).expect("complete");
                    let case = case(kernel, dtype, pattern, columns);
                    // Nine inputs: twice those of a tile, and one.
                    bits(&product(kernel, &case.weights, &case.inputs, columns, 1))
                };
                let expected = results(neon);
                for table in [Some(dot), matrix].into_iter().flatten() {
                    let label = format!("{} {dtype:?} {pattern:?}, {columns} columns", table.isa);
                    assert_eq!(results(table), expected, "{label}");
                }
            }
        }
    }
}

/// Inputs in another order, one of them twice, with gaps between them and their results.
#[test]
fn picked_inputs_have_the_results_of_inputs_in_order() {
    const ROWS: usize = 37;
    for table in tables() {
        for (dtype, kernel) in products(table) {
            let columns = columns_of(dtype)[columns_of(dtype).len() - 1];
            let mut random = Random(columns as u64);
            let mut row = || weight_row(dtype, columns, Pattern::Random, &mut random);
            let weights: Vec<_> = (0..ROWS).map(|_| row()).collect();
            let mut random = Random(dtype.id().into());
            let mut input = || input_row(kernel.activation, columns, Pattern::Random, &mut random);
            let inputs: Vec<_> = (0..23).map(|_| input()).collect();
            let ordered = product(kernel, &weights, &inputs, columns, 0);
            let (weight_bytes, weight_stride) = lay_out(&weights, 1);
            let (input_bytes, input_stride) = lay_out(&inputs, 1);
            for count in [1, 2, 3, 5, 6, 7, 23] {
                let order = (0..count).map(|at| at * 7 % 22);
                let order: Vec<usize> = order.collect();
                let out_stride = ROWS + 3;
                let place = |at: usize| (count - 1 - at) * out_stride;
                let picks: Vec<Pick> = (order.iter().enumerate())
                    .map(|(at, &input)| Pick {
                        input: input * input_stride,
                        out: place(at),
                    })
                    .collect();
                let mut out = vec![f32::MAX; count * out_stride];
                // SAFETY: `picks` name rows of the inputs and of `out`, which has room for them.
                unsafe {
                    (kernel.run)(&MatMul {
                        weights: weight_bytes[1..].as_ptr(),
                        weight_stride,
                        weight_rows: ROWS,
                        columns,
                        inputs: input_bytes[1..].as_ptr(),
                        input_stride: 0,
                        inputs_len: count,
                        out: out.as_mut_ptr(),
                        out_stride: 0,
                        picks: picks.as_ptr(),
                        tuning: kernel.tuning,
                    });
                }
                for (at, input) in order.into_iter().enumerate() {
                    let (results, gap) = out[place(at)..][..out_stride].split_at(ROWS);
                    let expected = &ordered[input * ROWS..][..ROWS];
                    let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
                    assert!(
                        results.iter().zip(expected).all(same),
                        "{} {dtype:?}, input {input} of {count}",
                        table.isa
                    );
                    assert_eq!(gap, [f32::MAX; 3], "wrote between results");
                }
            }
        }
    }
}

#[test]
fn no_rows_and_no_inputs_write_nothing() {
    for table in tables() {
        for (dtype, kernel) in products(table) {
            let columns = dtype.block_elements() as usize;
            let case = case(kernel, dtype, Pattern::Random, columns);
            let (weights, inputs) = (case.weights[0].as_ptr(), case.inputs[0].as_ptr());
            for (weight_rows, inputs_len) in [(0, 3), (3, 0)] {
                let out = run(kernel, columns, 0, 0, 3, |out, out_stride| MatMul {
                    weights,
                    weight_stride: 0,
                    weight_rows,
                    columns,
                    inputs,
                    input_stride: 0,
                    inputs_len,
                    out,
                    out_stride,
                    picks: std::ptr::null(),
                    tuning: kernel.tuning,
                });
                assert!(out.is_empty());
            }
        }
    }
}

#[test]
fn an_infinite_or_nan_activation_is_not_hidden() {
    for table in tables() {
        for dtype in types().filter(|&dtype| Activation::of(dtype) != Some(Activation::F32)) {
            let kernel = table.matmul(dtype, Layout::Rows).expect("complete");
            let quantize = table.quantize(kernel.activation).expect("int8");
            for fault in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut random = Random(9);
                let mut input = random.floats(256);
                input[77] = fault;
                let mut row = vec![0; kernel.activation.row_len(256).expect("whole blocks")];
                quantize(&input, &mut row);
                let weights = weight_row(dtype, 256, Pattern::Random, &mut random);
                let out = product(kernel, &[weights], &[row], 256, 1);
                assert!(out[0].is_nan(), "{} {dtype:?} {fault}", table.isa);
            }
        }
    }
}

/// Where the CPU has instructions for it, and of no other types.
#[test]
fn native_products_are_of_floats_of_sixteen_bits() {
    #[cfg(target_arch = "x86_64")]
    let multiplies_bf16 = std::is_x86_feature_detected!("avx512bf16");
    #[cfg(target_arch = "aarch64")]
    let multiplies_bf16 = std::arch::is_aarch64_feature_detected!("bf16");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let multiplies_bf16 = false;
    for table in tables() {
        for dtype in types() {
            let halves = [DType::F16, DType::BF16].contains(&dtype);
            let has_them = [Isa::Avx512, Isa::I8mm].contains(&table.isa);
            let expected = halves && multiplies_bf16 && has_them;
            let kernel = table.native(dtype, Layout::Rows);
            assert_eq!(kernel.is_some(), expected, "{} {dtype:?}", table.isa);
            assert!(table.native(dtype, Layout::Transposed).is_none());
        }
    }
}

#[test]
fn transposed_products_match_double_precision() {
    for table in tables() {
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let kernel = table.matmul(dtype, Layout::Transposed).expect("complete");
            for (rows, columns) in [
                (1, 1),
                (3, 5),
                (8, 7),
                (17, 16),
                (65, 9),
                (147, 33),
                (201, 300),
            ] {
                let mut random = Random(rows as u64);
                // Stored [columns][rows]: a stored row is one column of the product.
                let stored: Vec<_> = (0..columns)
                    .map(|_| weight_row(dtype, rows, Pattern::Random, &mut random))
                    .collect();
                let inputs: Vec<_> = (0..9)
                    .map(|_| input_row(Activation::F32, columns, Pattern::Random, &mut random))
                    .collect();
                for offset in [0, 1, 3] {
                    let whole = transposed(kernel, dtype, &stored, &inputs, 0..rows, offset);
                    check_transposed(table, dtype, &stored, &inputs, rows, &whole);
                    // The last columns alone, fewer inputs: the same bits.
                    let first = rows / 3;
                    for from in [5, 6, 7, 8] {
                        let inputs = &inputs[from..];
                        let part = transposed(kernel, dtype, &stored, inputs, first..rows, 0);
                        for (n, line) in part.chunks(rows - first).enumerate() {
                            let expected = &whole[(from + n) * rows + first..][..rows - first];
                            assert!(
                                line.iter()
                                    .zip(expected)
                                    .all(|(a, b)| a.to_bits() == b.to_bits())
                            );
                        }
                    }
                }
            }
        }
    }
}

fn transposed(
    kernel: MatMulKernel,
    dtype: DType,
    stored: &[Vec<u8>],
    inputs: &[Vec<u8>],
    rows: std::ops::Range<usize>,
    offset: usize,
) -> Vec<f32> {
    let (weight_bytes, weight_stride) = lay_out(stored, offset);
    let (input_bytes, input_stride) = lay_out(inputs, offset);
    let first = offset + rows.start * dtype.block_len() as usize;
    run(
        kernel,
        stored.len(),
        offset,
        rows.len(),
        inputs.len(),
        |out, out_stride| MatMul {
            weights: weight_bytes[first..].as_ptr(),
            weight_stride,
            weight_rows: rows.len(),
            columns: stored.len(),
            inputs: input_bytes[offset..].as_ptr(),
            input_stride,
            inputs_len: inputs.len(),
            out,
            out_stride,
            picks: std::ptr::null(),
            tuning: kernel.tuning,
        },
    )
}

fn check_transposed(
    table: &Kernels,
    dtype: DType,
    stored: &[Vec<u8>],
    inputs: &[Vec<u8>],
    rows: usize,
    out: &[f32],
) {
    let weights: Vec<_> = stored
        .iter()
        .map(|row| weight_values(dtype, Activation::F32, row, rows))
        .collect();
    for (n, input) in inputs.iter().enumerate() {
        let input = input_values(Activation::F32, input);
        for r in 0..rows {
            let products = weights.iter().zip(&input).map(|(row, x)| row[r].0 * x);
            let (sum, magnitude) =
                products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs()));
            // One chain of additions.
            let bound = (stored.len() as f64 + 2.0) * f64::from(f32::EPSILON) * magnitude;
            let found = f64::from(out[n * rows + r]);
            assert!(
                (found - sum).abs() <= bound,
                "{} {dtype:?}: {found}, {sum}",
                table.isa
            );
        }
    }
}
