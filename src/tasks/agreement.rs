//! How far two models agree: what quantizing costs, say.

/// Spearman's rank correlation of two lists of scores: 1 if they put the same things in the same order,
/// −1 if in the opposite one. `None` if one list has no order, being of one value or none.
///
/// ```
/// use rillm::tasks::rank_correlation;
///
/// assert_eq!(rank_correlation(&[1.0, 2.0, 3.0], &[0.1, 0.2, 0.9]), Some(1.0));
/// assert_eq!(rank_correlation(&[1.0, 2.0, 3.0], &[0.9, 0.2, 0.1]), Some(-1.0));
/// assert_eq!(rank_correlation(&[1.0, 2.0], &[5.0, 5.0]), None);
/// ```
pub fn rank_correlation(a: &[f32], b: &[f32]) -> Option<f64> {
    let count = a.len().min(b.len());
    let (a, b) = (ranks(&a[..count]), ranks(&b[..count]));
    let mean = (count as f64 + 1.0) / 2.0;
    let sum = |pairs: &mut dyn Iterator<Item = (&f64, &f64)>| -> f64 {
        pairs.map(|(a, b)| (a - mean) * (b - mean)).sum()
    };
    let variances = sum(&mut a.iter().zip(&a)) * sum(&mut b.iter().zip(&b));
    let correlation = sum(&mut a.iter().zip(&b)) / variances.sqrt();
    (variances > 0.0).then(|| correlation.clamp(-1.0, 1.0))
}

/// Places from 1 on; equals share theirs.
fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut rest = &order[..];
    let mut before = 0;
    while let Some(&first) = rest.first() {
        let equals = rest
            .iter()
            .take_while(|index| values[**index] == values[first]);
        // What is no number equals nothing, not even itself.
        let count = equals.count().max(1);
        let (equals, after) = rest.split_at(count);
        let rank = before as f64 + (count as f64 + 1.0) / 2.0;
        equals.iter().for_each(|index| ranks[*index] = rank);
        before += count;
        rest = after;
    }
    ranks
}
