//! Keys and values as each type of the KV cache keeps them.

use rillm::internals::kernels::{Isa, Kernels, KvHalf, KvType, PAGE};

/// What a head is after it was written and read again, by each table.
fn again(kv_type: KvType, values: &[f32]) -> Vec<f32> {
    let mut bytes = vec![0xaa; kv_type.row_len(values.len()).expect("a length")];
    kv_type.write(values, &mut bytes);
    let mut found: Vec<Vec<u32>> = Vec::new();
    for isa in Isa::available() {
        let kernels = Kernels::select(Some(isa)).expect("available");
        let mut out = vec![0.0; values.len()];
        kv_type.read(kernels, &bytes, values.len(), &mut out);
        found.push(out.iter().map(|x| x.to_bits()).collect());
    }
    assert!(found.iter().all(|bits| *bits == found[0]), "{kv_type}");
    found[0].iter().map(|bits| f32::from_bits(*bits)).collect()
}

#[test]
fn what_is_kept_is_near_what_was_computed() {
    for dim in [1, 7, 31, 32, 33, 64, 80, 128] {
        for size in [1e-30, 1e-3, 1.0, 300.0] {
            let values: Vec<f32> = (0..dim).map(|i| size * (i as f32 * 1.7).sin()).collect();
            assert_eq!(again(KvType::F32, &values), values);
            let largest = values.iter().fold(0.0f32, |a, x| a.max(x.abs()));
            // Eleven bits, or half a step of 1/127 of the largest and its scale's rounding;
            // below half precision's range, nothing.
            let bounds = [
                (KvType::F16, largest / 2048.0),
                (KvType::Q8_0, largest / 127.0 * 0.57),
            ];
            for (kv_type, bound) in bounds {
                for (found, value) in again(kv_type, &values).iter().zip(&values) {
                    assert!((found - value).abs() <= bound + 1e-5, "{kv_type} {value}");
                }
            }
        }
    }
}

#[test]
fn parts_lie_where_entries_are_stored() {
    for kv_type in KvType::ALL {
        for half in [KvHalf::Keys, KvHalf::Values] {
            for dim in [1, 7, 32, 33, 80] {
                let row = kv_type.row_len(dim).expect("a length");
                let mut page = vec![0xaa; PAGE * row];
                for place in [0, 5, PAGE - 1] {
                    let wave = |i: usize| ((i + place) as f32 * 1.7).sin();
                    let values: Vec<f32> = (0..dim).map(wave).collect();
                    // SAFETY: a page of this many rows, and nobody else knows it.
                    unsafe { kv_type.store(half, &values, page.as_mut_ptr(), place) };
                    let mut expected = vec![0; row];
                    kv_type.write(&values, &mut expected);
                    for (first, len) in kv_type.parts(half, dim) {
                        let at = PAGE * first + place * len;
                        assert_eq!(page[at..at + len], expected[first..first + len]);
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_no_number_stays_none() {
    let mut values = [1.0; 40];
    values[35] = f32::INFINITY;
    assert_eq!(again(KvType::F16, &values)[35], f32::INFINITY);
    let found = again(KvType::Q8_0, &values);
    assert!(found[35].is_nan() && (found[3] - 1.0).abs() < 1e-2);
}
