//! Nothing guarantees where a file's bytes lie: every address gives the same bits.

use rillm::Model;
use rillm_formats::gguf;
use rillm_formats::manifest::DType;

use crate::support::evaluate::{all_outputs, open_bytes, options, runnable};
use crate::support::fixture::Fixture;
use crate::support::to_gguf::Gguf;
use crate::support::wide_llama::{self, logits};

/// A copy of `file` whose tensors' data begin `shift` bytes past a multiple of 64.
fn shifted(file: &[u8], shift: usize) -> &'static [u8] {
    let data = gguf::parse(file, 0).unwrap().data_offset as usize;
    let buffer: &'static mut [u8] = vec![0; file.len() + 128].leak();
    let start = buffer.as_ptr() as usize + data;
    let skip = (64 + shift - start % 64) % 64;
    let copy = &mut buffer[skip..skip + file.len()];
    copy.copy_from_slice(file);
    assert_eq!((copy.as_ptr() as usize + data) % 64, shift);
    copy
}

fn open_shifted(file: &[u8], shift: usize) -> Model {
    Model::from_bytes(shifted(file, shift), options()).unwrap()
}

#[test]
fn floats_at_odd_addresses_give_the_same_bits() {
    for fixture in runnable() {
        let file = Gguf::of(&fixture).bytes();
        let aligned = all_outputs(&fixture, &open_shifted(&file, 0));
        for shift in [1, 2, 3, 7] {
            let outputs = all_outputs(&fixture, &open_shifted(&file, shift));
            assert_eq!(outputs, aligned, "{} shifted by {shift}", fixture.name);
        }
    }
}

#[test]
fn halves_at_odd_addresses_give_the_same_bits() {
    for name in ["gpt2", "llama", "mamba", "mixtral"] {
        let fixture = Fixture::load(name);
        for dtype in [DType::F16, DType::BF16] {
            let file = Gguf::of(&fixture).bytes_as(dtype);
            let aligned = all_outputs(&fixture, &open_shifted(&file, 0));
            for shift in [1, 2, 5] {
                let outputs = all_outputs(&fixture, &open_shifted(&file, shift));
                assert_eq!(outputs, aligned, "{name} as {} by {shift}", dtype.name());
            }
        }
    }
}

#[test]
fn blocks_at_odd_addresses_give_the_same_bits() {
    let wide = wide_llama::gguf();
    for dtype in [DType::Q8_0, DType::Q4_0, DType::Q4_K, DType::Q6_K] {
        let file = wide.bytes_as(dtype);
        let aligned = logits(&open_shifted(&file, 0));
        assert_eq!(aligned, logits(&open_bytes(file.clone()).unwrap()));
        for shift in 1..8 {
            let outputs = logits(&open_shifted(&file, shift));
            assert_eq!(outputs, aligned, "{} shifted by {shift}", dtype.name());
        }
    }
}
