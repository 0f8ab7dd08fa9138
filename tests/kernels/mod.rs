//! Every table of kernels this CPU can run, every operation, every type: against the scalar
//! table and against sums in double precision.

mod amx;
mod attend;
mod bench;
mod blocks;
mod guarded;
mod kv_cache;
mod linear_attention;
mod matmul;
mod ops;
mod quant;
mod scan;
mod tuning;

use rillm::internals::kernels::{Isa, IsaError, Kernels};

/// Every table this CPU can run, and the one whose tiles need no CPU that has them.
fn tables() -> impl Iterator<Item = &'static Kernels> {
    let tables = Isa::available().map(|isa| Kernels::select(Some(isa)).expect("available"));
    tables.chain(Kernels::software_tiles())
}

fn scalar() -> &'static Kernels {
    Kernels::select(Some(Isa::Scalar)).expect("always there")
}

/// A small deterministic generator (splitmix64).
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn byte(&mut self) -> u8 {
        (self.bits() >> 56) as u8
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.bits() % limit
    }

    /// Uniform in −1..1.
    fn float(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.float()).collect()
    }
}

#[test]
fn forced_table_is_the_one_in_use() {
    for isa in Isa::available() {
        let table = Kernels::select(Some(isa)).expect("available");
        assert_eq!(table.isa, isa);
        if isa != Isa::Scalar {
            // Not merely labelled: its products are other functions.
            for dtype in matmul::types() {
                let (own, scalar) = ((table.matmul)(dtype), (scalar().matmul)(dtype));
                let (own, scalar) = (own.expect("complete"), scalar.expect("complete"));
                assert_ne!(own as usize, scalar as usize, "{isa} {dtype:?}");
            }
        }
    }
}

#[test]
fn no_preference_is_the_best_there_is() {
    let best = Isa::available().last().expect("scalar at least");
    assert_eq!(Kernels::select(None).expect("some table").isa, best);
}

#[test]
fn unknown_or_unavailable_is_an_error_that_names_what_there_is() {
    let error = "avx3".parse::<Isa>().expect_err("no such thing");
    let text = error.to_string();
    assert!(
        text.starts_with("unknown instruction set \"avx3\": this CPU has scalar"),
        "{text}"
    );
    for isa in Isa::ALL {
        assert_eq!(isa.name().parse::<Isa>(), Ok(*isa));
        let selected = Kernels::select(Some(*isa));
        if isa.is_available() {
            assert!(selected.is_ok());
            assert!(text.contains(isa.name()), "{text}");
        } else {
            let error = selected.expect_err("unavailable");
            assert_eq!(error, IsaError::Unavailable { isa: *isa });
            assert!(error.to_string().contains("this CPU has scalar"));
        }
    }
}
