//! Scores of merges as orders: the lower, the sooner.

/// Orders such that the highest score comes first; `None` for a score that is no number.
pub(super) fn order_of(score: f32) -> Option<u32> {
    if score.is_nan() {
        return None;
    }
    // Adding zero makes -0.0 equal to 0.0.
    let bits = (score + 0.0).to_bits();
    // Floats sort as integers once the sign is folded in.
    let ascending = match bits >> 31 {
        0 => bits | 1 << 31,
        _ => !bits,
    };
    Some(!ascending)
}

/// The score that has this order: the inverse of [`order_of`].
pub(super) fn score_of(order: u32) -> f32 {
    let ascending = !order;
    f32::from_bits(match ascending >> 31 {
        1 => ascending & !(1 << 31),
        _ => !ascending,
    })
}

#[cfg(test)]
mod tests {
    use super::{order_of, score_of};

    #[test]
    fn higher_scores_come_first() {
        let scores = [f32::INFINITY, 3.5, 0.0, -1e-9, -2.0, f32::NEG_INFINITY];
        assert!(
            scores
                .windows(2)
                .all(|pair| order_of(pair[0]) < order_of(pair[1]))
        );
        for score in scores {
            assert_eq!(order_of(score).map(score_of), Some(score));
        }
        assert_eq!(order_of(0.0), order_of(-0.0));
        assert_eq!(order_of(f32::NAN), None);
    }
}
