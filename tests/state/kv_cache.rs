//! Keys and values kept in smaller types.

use rillm::KvType;
use rillm::SessionOptions;
use rillm::internals::ModelParts;
use rillm::internals::graph::{Op, Role, StateKind};

use crate::support::setup::{
    Opened, encode, feed, instruction_sets, open, open_with, runnable, same_bits, small,
};

const SMALLER: [KvType; 2] = [KvType::F16, KvType::Q8_0];

fn keeps_kv(opened: &Opened) -> bool {
    let mut kinds = opened.model.states().iter();
    // The decoder of a classifier reads the source once more and says one thing of all of it.
    let mut cases = opened.fixture.cases.iter();
    let writes =
        !opened.model.encodes() || cases.any(|case| case.rows("decoder_input_ids").is_some());
    opened.decodes() && writes && kinds.any(|kind| matches!(kind, StateKind::KvCache { .. }))
}

/// Whether its rows choose experts.
fn routes(opened: &Opened) -> bool {
    let graph = opened.model.graph(Role::Decode).expect("a decoder");
    graph
        .nodes
        .iter()
        .any(|node| matches!(node.op, Op::Route(_)))
}

fn options(kv_type: KvType) -> SessionOptions {
    small(1, 150).kv_type(kv_type)
}

/// What a session answers to 140 tokens (more than two pages), fed in pieces.
fn answers(opened: &Opened, kv_type: KvType, pieces: &[usize]) -> Vec<Vec<f32>> {
    let mut session = opened.session(options(kv_type));
    if opened.model.encodes() {
        let source = opened.rows(&opened.tokens(0, 9), 0, 0);
        encode(&mut session, &source).expect("a source");
    }
    let rows = opened.rows(&opened.tokens(0, 140), 0, 0);
    let mut out = Vec::new();
    let mut rest = &rows[..];
    for &piece in pieces.iter().cycle() {
        let (now, later) = rest.split_at(piece.min(rest.len()));
        out.extend(feed(&mut session, now).expect("answers"));
        rest = later;
        if rest.is_empty() {
            return out;
        }
    }
    unreachable!("pieces are not empty")
}

/// Rounding keys and values to b bits moves scores and sums by about 2^-b of their scale, each
/// layer again; the bounds leave a factor of ten to the root mean square of that. Where two experts
/// are nearly as good it may choose the other, and then a row is of another model: of those that
/// route, the middle one of all rows' errors is held.
#[test]
fn smaller_types_give_nearly_the_same() {
    let mut seen = 0;
    for name in runnable() {
        let opened = open(&name);
        if !keeps_kv(&opened) {
            continue;
        }
        seen += 1;
        let exact = answers(&opened, KvType::F32, &[140]);
        let routes = routes(&opened);
        let rms = |rows: &[Vec<f32>]| {
            let all = rows.iter().flatten().map(|x| f64::from(*x).powi(2));
            (all.sum::<f64>() / rows.iter().flatten().count() as f64).sqrt()
        };
        let middle = |rows: &[Vec<f32>]| {
            let mut all: Vec<f64> = rows.chunks(1).map(rms).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        for (kv_type, bound) in [(KvType::F16, 5e-3), (KvType::Q8_0, 5e-2)] {
            let found = answers(&opened, kv_type, &[140]);
            let pairs = found.iter().zip(&exact);
            let errors: Vec<Vec<f32>> = pairs
                .map(|(a, b)| a.iter().zip(b).map(|(a, b)| a - b).collect())
                .collect();
            let error = match routes {
                true => middle(&errors) / rms(&exact),
                false => rms(&errors) / rms(&exact),
            };
            assert!(error > 0.0, "{name} {kv_type}: nothing was rounded");
            assert!(error < bound, "{name} {kv_type}: {error}");
        }
    }
    assert!(seen >= 30, "{seen}");
}

#[test]
fn pieces_and_threads_change_no_bit() {
    for name in ["llama", "gemma2", "bloom", "falcon", "t5", "mistral"] {
        for isa in instruction_sets() {
            for kv_type in SMALLER {
                let whole = answers(&open_with(name, Some(isa), 1), kv_type, &[140]);
                let opened = open_with(name, Some(isa), 3);
                for pieces in [&[1][..], &[7, 64, 3], &[65]] {
                    let label = format!("{name} {kv_type} on {isa}, {pieces:?}");
                    same_bits(&label, &answers(&opened, kv_type, pieces), &whole);
                }
            }
        }
    }
}

#[test]
fn kv_caches_of_smaller_types_are_shared_copied_cut_and_brought_back() {
    let opened = open("llama");
    for kv_type in SMALLER {
        let tokens = opened.tokens(0, 100);
        let mut session = opened.session(small(2, 150).kv_type(kv_type));
        let expected = feed(&mut session, &opened.rows(&tokens, 0, 0)).expect("answers");
        session.fork(0, 1).expect("a fork");
        session.rewind(1, 70).expect("a rewind");
        let again = feed(&mut session, &opened.rows(&tokens[70..], 70, 1)).expect("answers");
        same_bits("forked and cut", &again, &expected[70..]);

        let mut bytes = Vec::new();
        session
            .snapshot(0, &tokens, &mut bytes)
            .expect("a snapshot");
        let mut other = opened.session(options(kv_type));
        assert_eq!(other.restore(0, &mut &bytes[..]).expect("its own"), tokens);
        let more = opened.tokens(100, 5);
        let expected = feed(&mut session, &opened.rows(&more, 100, 0)).expect("answers");
        let found = feed(&mut other, &opened.rows(&more, 100, 0)).expect("answers");
        same_bits("brought back", &found, &expected);
        let mut floats = opened.session(options(KvType::F32));
        let error = floats
            .restore(0, &mut &bytes[..])
            .expect_err("another type");
        assert!(error.to_string().contains("another type"), "{error}");
    }
}

#[test]
fn smaller_types_take_less_memory() {
    let opened = open("llama");
    let of = |kv_type| {
        let plan = rillm::Session::memory_plan(&opened.model, options(kv_type));
        plan.expect("a plan").state_per_1k as f64
    };
    let positions = 8.0 * 1024.0;
    let whole = of(KvType::F32) - positions;
    assert_eq!((of(KvType::F16) - positions) / whole, 0.5);
    // A scale for a head of eight elements costs a quarter of them.
    assert!((of(KvType::Q8_0) - positions) / whole < 0.35);
}
