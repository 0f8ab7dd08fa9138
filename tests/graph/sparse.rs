//! Global rows as separators tell them.

use rillm::internals::graph::GlobalRows;

#[test]
fn global_rows_follow_from_separators() {
    let tokens = [0, 7, 8, 2, 2, 9, 9, 2];
    // Two columns of padding before them.
    let rows = || (2..).zip(tokens);
    let of = |rule: GlobalRows| rule.columns(rows());
    assert_eq!(of(GlobalRows::None), Ok(0..0));
    assert_eq!(of(GlobalRows::First), Ok(0..1));
    assert_eq!(of(GlobalRows::BeforeSeparator(2)), Ok(0..5));
    assert_eq!(of(GlobalRows::AfterSeparators(2)), Ok(7..u32::MAX));
    assert_eq!(of(GlobalRows::BeforeSeparator(9)), Err((9, 2)));
    assert_eq!(of(GlobalRows::AfterSeparators(3)), Err((3, 0)));
}
