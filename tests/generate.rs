//! Strings that end a text.

use rillm::generate::StopStrings;

/// What is let through of a text in these pieces, and whether it was stopped.
fn through(stops: &[&str], pieces: &[&str]) -> (String, bool) {
    let mut stops = StopStrings::new(stops.iter().map(|stop| (*stop).to_string()));
    let mut out = String::new();
    for piece in pieces {
        if stops.push(piece, &mut out) {
            return (out, true);
        }
    }
    stops.finish(&mut out);
    (out, false)
}

#[test]
fn a_string_stops_however_it_is_cut() {
    let text = "one two\n\nUser: three";
    for first in 0..=text.len() {
        for second in first..=text.len() {
            let pieces = [&text[..first], &text[first..second], &text[second..]];
            let found = through(&["\nUser:"], &pieces);
            assert_eq!(found, ("one two\n".to_string(), true), "{pieces:?}");
        }
    }
}

#[test]
fn the_first_of_several_counts() {
    let found = through(&["d", "bc"], &["a", "b", "c", "d"]);
    assert_eq!(found, ("a".to_string(), true));
    let found = through(&["d", "bcx"], &["a", "b", "c", "d"]);
    assert_eq!(found, ("abc".to_string(), true));
}

#[test]
fn what_only_begins_like_one_goes_through() {
    assert_eq!(
        through(&["aab"], &["a", "a", "a"]),
        ("aaa".to_string(), false)
    );
    assert_eq!(
        through(&["aab"], &["a", "a", "a", "b"]),
        ("a".to_string(), true)
    );
    assert_eq!(through(&["émé"], &["ém", "è"]), ("émè".to_string(), false));
    assert_eq!(through(&[""], &["x"]), ("x".to_string(), false));
    assert_eq!(through(&[], &["x"]), ("x".to_string(), false));
}

#[test]
fn nothing_is_held_that_cannot_be_one() {
    let mut stops = StopStrings::new(["END".to_string()]);
    let mut out = String::new();
    assert!(!stops.push("the E", &mut out));
    assert_eq!(out, "the ");
    assert!(!stops.push("nd", &mut out));
    assert_eq!(out, "the End");
}
