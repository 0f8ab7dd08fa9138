//! Random blocks are those that NumPy draws for the reference (`tools/fixtures/big_bird_plans.py`).

use rillm::internals::exec::RandomBlocks;
use rillm::internals::graph::BlockSparse;
use serde_json::Value as Json;

fn plans() -> Vec<Json> {
    let text = include_str!("../data/big_bird_plans.json");
    serde_json::from_str(text).unwrap()
}

#[test]
fn blocks_are_drawn_as_the_reference_draws_them() {
    let plans = plans();
    assert!(plans.len() >= 9);
    for plan in &plans {
        let number = |key: &str| u32::try_from(plan[key].as_u64().unwrap()).unwrap();
        let sparse = BlockSparse {
            columns: number("block"),
            random: number("random"),
            layer: number("seed"),
        };
        let (heads, width) = (number("heads") as usize, number("width"));
        let layers = [(sparse, heads)].into_iter();
        let drawn = RandomBlocks::draw(layers, number("positions").into());
        let drawn = drawn.unwrap().unwrap();
        assert!(drawn.serve(width));
        let expected: Vec<Vec<Vec<u32>>> = serde_json::from_value(plan["blocks"].clone()).unwrap();
        assert_eq!(expected.len(), heads);
        for (head, rows) in expected.iter().enumerate() {
            assert_eq!(Some(rows.len() as u32 + 2), sparse.blocks(width));
            for (row, blocks) in (1..).zip(rows) {
                let found = drawn.of(sparse, width, head, row);
                assert_eq!(
                    found,
                    Some(&blocks[..]),
                    "head {head}, block {row} of {sparse:?}"
                );
            }
        }
    }
}

/// The reference fails there: 1024 columns leave too few blocks of 384 to draw from, and there are no
/// blocks behind the last position.
#[test]
fn what_cannot_be_drawn_is_not_served() {
    let sparse = BlockSparse {
        columns: 384,
        random: 1,
        layer: 0,
    };
    let draw = |positions| RandomBlocks::draw([(sparse, 1)].into_iter(), positions).unwrap();
    let drawn = draw(3840).unwrap();
    assert!(drawn.serve(3840) && drawn.serve(384) && !drawn.serve(3072));
    assert!(drawn.serve(3841) && !drawn.serve(4225) && !drawn.serve(u32::MAX));
    assert!(draw(u64::MAX).is_none() && draw(1 << 31).is_none());
}
