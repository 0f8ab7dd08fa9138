//! Expressions that cut texts: those that published tokenizers cut by are found in time linear in the
//! text, all others within a budget, and both find the same.

use rillm_formats::tokenizer::{HfFiles, Tokenizer};
use serde_json::{Value, json};

/// How Oniguruma cuts nasty and random texts by each model's own patterns; written by
/// `tools/tokenizers/make.py`. Here its texts are of use.
const SPLITS: &[u8] = include_bytes!("../data/tokenizer/splits.json");

/// A tokenizer whose words are the pieces that a split leaves, and whose tokens are bytes.
struct Splits(Tokenizer);

impl Splits {
    fn new(expression: &str, behavior: &str) -> Splits {
        let pattern = json!({ "Regex": expression });
        let split =
            json!({"type": "Split", "pattern": pattern, "behavior": behavior, "invert": false});
        let bytes = (0u32..256).map(|byte| (format!("<0x{byte:02X}>"), json!(byte)));
        let vocabulary = Value::Object(bytes.collect());
        let model =
            json!({"type": "BPE", "byte_fallback": true, "vocab": vocabulary, "merges": []});
        let file = json!({ "pre_tokenizer": split, "model": model });
        let file = file.to_string().into_bytes();
        let files = HfFiles {
            tokenizer_json: Some(&file),
            ..HfFiles::default()
        };
        let read = Tokenizer::from_hf(files);
        let read = read.unwrap_or_else(|error| panic!("{expression}: {error}"));
        Splits(read.expect("there"))
    }

    fn pieces<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let tokens = self.0.encode_with_offsets(text).expect("within bounds");
        let mut at = 0;
        let pieces = tokens.chunk_by(|one, next| one.word == next.word);
        let pieces = pieces.map(|piece| {
            at += piece.len();
            &text[at - piece.len()..at]
        });
        pieces.collect()
    }
}

/// What the expression finds, and each character that it does not find.
fn words<'a>(expression: &str, text: &'a str) -> Vec<&'a str> {
    Splits::new(&format!("{expression}|(?m:.)"), "Isolated").pieces(text)
}

// Expected splits below were made with Oniguruma, the engine these patterns were
// written for.
const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

#[test]
fn long_s_is_an_s_when_case_is_folded() {
    assert_eq!(words(CL100K, "a'ſ b"), ["a", "'ſ", " b"]);
}

#[test]
fn the_last_space_belongs_to_the_word() {
    assert_eq!(words(CL100K, "  \u{200b} z"), [" ", " \u{200b}", " z"]);
    assert_eq!(
        words(CL100K, "\u{2028}\u{2028}a"),
        ["\u{2028}", "\u{2028}a"]
    );
}

#[test]
fn separators_that_are_not_white_space_stay_together() {
    assert_eq!(words(CL100K, "\x1c\x1d a"), ["\x1c\x1d", " a"]);
}

#[test]
fn digits_are_grouped_from_the_end() {
    const GROUPS: &str = r"\d{1,3}(?=(?:\d{3})*\b)|\p{N}{1,3}";
    assert_eq!(words(GROUPS, "1234567"), ["1", "234", "567"]);
    assert_eq!(words(GROUPS, "12٣4"), ["1", "2٣4"]);
    // A number that goes on as a word has no end to count from.
    assert_eq!(words(GROUPS, "1234_5"), ["123", "4", "_", "5"]);
    let text = "7".repeat(1 << 20);
    assert_eq!(words(GROUPS, &text).len(), (1 << 20) / 3 + 1);
    let text = ["7".repeat(1 << 20), "x".to_string()].concat();
    assert_eq!(words(GROUPS, &text).len(), (1 << 20) / 3 + 2);
}

#[test]
fn a_run_may_stand_between_texts() {
    const FRAMED: &str = r"<sentinel:[0-9]+>|IMGIMG[A-I]{1,4}Z";
    assert_eq!(
        words(FRAMED, "<sentinel:12>IMGIMGABZIMGIMGZ").len(),
        2 + "IMGIMGZ".len()
    );
    assert_eq!(words(FRAMED, "<sentinel:>").len(), "<sentinel:>".len());
    let text = ["<sentinel:", "7".repeat(1 << 20).as_str()].concat();
    assert_eq!(words(FRAMED, &text).len(), text.len());
}

#[test]
fn words_of_a_phrase_have_single_spaces_between() {
    const PHRASE: &str = r"[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\s";
    assert_eq!(
        words(PHRASE, "one two  three "),
        ["one two", " ", " three", " "]
    );
    assert_eq!(
        words(PHRASE, "e\u{301} e\u{301}\u{302}-x"),
        ["e\u{301} e\u{301}\u{302}", "-x"]
    );
    let text = "a ".repeat(1 << 19);
    assert_eq!(words(PHRASE, &text).len(), 2);
    assert_eq!(words(PHRASE, &" ".repeat(1 << 20)).len(), 1 << 20);
}

#[test]
fn a_class_may_leave_characters_out() {
    const LETTERS: &str = r"[\p{Han}]+|[\p{L}\p{M}&&[^\p{Han}]]+";
    assert_eq!(
        words(LETTERS, "ab漢字cかな々〇"),
        ["ab", "漢字", "cかな", "々〇"]
    );
}

#[test]
fn spaces_are_counted() {
    const COUNTED: &str = r"\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}|x";
    let lengths = |spaces: usize, after: &str| -> Vec<usize> {
        let text = [" ".repeat(spaces).as_str(), after].concat();
        words(COUNTED, &text)
            .iter()
            .map(|word| word.len())
            .collect()
    };
    assert_eq!(lengths(17, ""), [8, 8, 1]);
    assert_eq!(lengths(8, "x"), [4, 2, 1, 1, 1]);
    assert_eq!(lengths(9, "x"), [8, 1, 1]);
    assert_eq!(lengths(1 << 20, "x").len(), (1 << 17) + 4);
}

#[test]
fn fruitless_runs_are_searched_once() {
    // Each place of the run is refused by the first rule and passed by the second: with
    // a search from every place this would take hours.
    let text = " ".repeat(1 << 20);
    assert_eq!(words(r"\s*[\r\n]+|\s", &text).len(), 1 << 20);
    let text = "A".repeat(1 << 20);
    assert_eq!(words(r"[A-Z]*[a-z]+|[A-Z]", &text).len(), 1 << 20);
    let text = [" ".repeat(1 << 20), "x".to_string()].concat();
    assert_eq!(words(r"\s+$|\s|x", &text).len(), (1 << 20) + 1);
}

#[test]
fn thousands_are_cut_whatever_the_behavior() {
    for thousands in [r"(?=(\d{3})+(?!\d))", r"(?=(?:\p{Nd}{3})+(?!\d))"] {
        for behavior in ["Isolated", "Removed", "MergedWithPrevious", "Contiguous"] {
            let splits = Splits::new(thousands, behavior);
            assert_eq!(splits.pieces("1234567"), ["1", "234", "567"]);
            assert_eq!(splits.pieces("x123 45y678"), ["x", "123 45y", "678"]);
            assert_eq!(splits.pieces("no number"), ["no number"]);
        }
        let text = "7".repeat(1 << 20);
        let pieces = Splits::new(thousands, "Isolated").pieces(&text).len();
        assert_eq!(pieces, (1 << 20) / 3 + 1);
    }
}

/// What is found without looking twice, and what looks like it and is not.
const EXPRESSIONS: &[&str] = &[
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    CL100K,
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*('[sS]|'[tT]|'[rR][eE])?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[\p{Han}]+|[\p{L}\p{M}&&[^\p{Han}]]+|\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))",
    r"\d{1,3}(?=(?:\d{3})*\b)|\s+$|\s{2}(?!\S)|.",
    r"[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\s",
    r"<s:[0-9]+>|IM(IM)((A|B|C){1,2})Z|([\t\n]|    |  )",
    // A run that has to give characters back, or to be searched from within.
    "aa[a-z]+_|a",
    "_[a-z]+b|_",
    "ab[a-z]{2,}_|b",
    r"[^\p{L}&&[^\p{Han}]]+",
    r"[\p{L}&&\p{Lu}]|[\p{L}&&[^a]b]",
    "(?i)k+|[ﬁå]s?|(?i:STRASSE|ſ)",
    "(?i:[^k])x",
    "(a|ab)(c|bcd)|(?:a|ab)+?",
    "a*?b|a{0}c|(?:ab){2}",
    r"\s++(?!\S)|\s?+ |\s{0,3}(?!\S)x",
    r"(?<=a)b|\bab\b|(?:'s|'S)+",
];

const TEXTS: &[&str] = &[
    "aaab_ _abbbb abzz_ab__ aab abcd abab aaac",
    "I'll WE'LL it's IT'S they'rE a'ſ '\u{17F}s 's'S's",
    "kK\u{212A} ﬁs åÅ\u{212B} STRASSE straße ſ kx Kx \u{212A}x ıI",
    "<s:12> <s:> IMIMABZ IMIMABCZ \t\n      x  y",
    "1234567 12 1234x 1234_5 ١٢٣٤ ⅷⅷⅷⅷ",
];

#[test]
fn what_is_recognised_is_found_as_everything_else() {
    let file: Value = serde_json::from_slice(SPLITS).expect("json");
    let texts = file["texts"].as_array().expect("texts").iter();
    let texts: Vec<&str> = texts.map(|text| text.as_str().expect("text")).collect();
    for expression in EXPRESSIONS {
        let known = Splits::new(expression, "Isolated");
        // An atomic group changes nothing around the whole, but is known to no matcher of its own.
        let general = Splits::new(&format!("(?>{expression})"), "Isolated");
        for text in texts.iter().chain(TEXTS) {
            let pieces = known.pieces(text);
            assert_eq!(pieces, general.pieces(text), "{expression}: {text:?}");
        }
    }
}

#[test]
fn expressions_of_many_texts_are_no_work_for_each_place() {
    // Thousands of texts at each place of a long one, or millions of them in a small file.
    let some = |each: &str, times: usize| vec![each; times].join("|");
    for expression in [
        some("ab", 2000),
        some("(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)c", 200),
        "(a|b)".repeat(1000),
        ["(", &some("[ab]", 500), ")", &"[ab]".repeat(500)].concat(),
    ] {
        let splits = Splits::new(&expression, "Isolated");
        let text = "a".repeat(1 << 12);
        let found = splits.0.encode_with_offsets(&text);
        assert!(found.is_err() || found.is_ok_and(|tokens| !tokens.is_empty()));
    }
}

/// Sets in sets, all of which take letters in any case: a character is looked up once in each.
#[test]
fn cases_are_not_multiplied_by_nesting() {
    let nested = |open: &str, inner: &str, close: &str| {
        ["(?i:", &open.repeat(20), inner, &close.repeat(20), ")"].concat()
    };
    for expression in [
        nested("[", "é", "]"),
        nested("[^", "é", "]"),
        nested("[a", "ḁ", "]"),
        nested("[", "ḁ-ẕ", "z]"),
        nested("[\\w&&", "[ḁ]", "]"),
        nested("[^\\w&&", "[^ḁ]", "&&\\d]"),
        nested("[\\p{Greek}", "\\p{Lu}", "]"),
        nested("[[:upper:]", "k", "]"),
        nested("(?:", "[ḁ]", ")"),
        nested("(?i:", "[[[[[ḁ]]]]]", ")"),
    ] {
        let splits = Splits::new(&expression, "Isolated");
        assert!(!splits.pieces(&"ḀẔжЖ漢k\u{212A}".repeat(100)).is_empty());
    }
    // A set takes all cases of what it names, at any level.
    let deep = nested("[", "ḁ", "]");
    assert_eq!(words(&deep, "ḀxḁẔ"), ["Ḁ", "x", "ḁ", "Ẕ"]);
    assert_eq!(
        Splits::new(&format!("{deep}+"), "Isolated").pieces("xḀḁx"),
        ["x", "Ḁḁ", "x"]
    );
    let neither = nested("[^", "ḁ", "]").replace("))", ")") + "+";
    assert_eq!(Splits::new(&neither, "Isolated").pieces("Ḁḁx"), ["Ḁḁ", "x"]);
}
