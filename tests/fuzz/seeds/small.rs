//! Inputs of few bytes: evaluations, mixes, damages, normalizers, templates and calls.

use std::collections::BTreeMap;

type Files = BTreeMap<String, Vec<u8>>;

fn named<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Files {
    let texts = texts.into_iter();
    texts
        .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
        .collect()
}

/// Of [`crate::support::evaluated`]: the model, the cut, the input.
pub fn evaluations() -> Files {
    named([
        (
            "ok-llama",
            r#"01{"input_ids": [[0, 1, 2], [2, 1, 0]], "attention_mask": [[0, 1, 1], [1, 1, 1]]}"#,
        ),
        (
            "ok-positions",
            r#"00{"input_ids": [1, 2], "position_ids": [[3, 1]]}"#,
        ),
        (
            "ok-bert",
            r#"10{"input_ids": [[1, 2, 3]], "token_type_ids": [[0, 1, true]]}"#,
        ),
        (
            "ok-t5",
            r#"20{"input_ids": [[1, 2]], "decoder_input_ids": [[0, 1, 2]], "decoder_attention_mask": [[1, 1, 0]]}"#,
        ),
        (
            "ok-segments",
            r#"30{"input_ids": [[1, 2, 3, 4]], "segment_lengths": [1, 3]}"#,
        ),
        ("bad-key", r#"00{"input_ids": [[1]], "inputs": [[1]]}"#),
    ])
}

/// Of [`crate::support::normalized`]: the tokenizer, the normalizer, the text.
pub fn normalizers() -> Files {
    named([
        (
            "ok-bert",
            "0{\"type\": \"BertNormalizer\", \"clean_text\": true, \"handle_chinese_chars\": true, \"strip_accents\": true, \"lowercase\": true}\0A\u{e4}b \u{4e2d}",
        ),
        (
            "ok-sequence",
            "1{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFKC\"}, {\"type\": \"Lowercase\"}, {\"type\": \"Strip\", \"strip_left\": true, \"strip_right\": true}, {\"type\": \"StripAccents\"}]}\0 \u{fb01}A ",
        ),
        (
            "ok-replace",
            "2{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": \"\u{2581}\"}, {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\u{2581}\"}, {\"type\": \"Replace\", \"pattern\": {\"Regex\": \" {2,}\"}, \"content\": \"a\"}]}\0a  A",
        ),
        ("ok-none", "1null\0a"),
    ])
}

/// Of [`crate::support::render`]: the template and the turns.
pub fn templates() -> Files {
    named([
        (
            "ok-chatml",
            "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' }}{% endfor %}\0system:Be brief.\0user:Hi",
        ),
        (
            "ok-macro",
            "{%- macro f(x) -%}{{ x | tojson(indent=2) }}{%- endmacro -%}{%- set ns = namespace(i=0) -%}{%- for m in messages if m.role != 'system' -%}{%- set ns.i = ns.i + 1 -%}{{ f(m) ~ ns.i }}{%- endfor -%}{{ raise_exception('no') if ns.i > 2 }}\0user:a\0assistant:b",
        ),
        (
            "ok-filters",
            "{{ bos_token }}{{ messages[0].content.split('a')[-1] | upper | trim | default('x', boolean=true) }}{{ strftime_now('%Y') }}{% generation %}{{ range(3) | list }}{% endgeneration %}{{ tools is none }}\0user:abab",
        ),
        (
            "bad-deep",
            "{{ [[[[[[[[[[1]]]]]]]]]] }}{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}\0user:a",
        ),
    ])
}

/// Of [`crate::support::damage`]: the model, the plan, what is changed.
pub fn damages() -> Files {
    let files: [(&str, &[u8]); 4] = [
        ("ok-none", &[0, 0]),
        ("bad-moved", &[0, 1, 0, 3, 65, 3, 3, 65]),
        ("bad-phases", &[2, 0, 15, 0, 1, 16, 0, 0, 17, 0, 3]),
        ("bad-tile", &[3, 0, 7, 0, 68]),
    ];
    let files = files.into_iter();
    files
        .map(|(name, bytes)| (name.to_owned(), bytes.to_vec()))
        .collect()
}

/// Of [`crate::support::requantize`]: a mix, options and one of the models.
pub fn mixes(models: &Files) -> Files {
    let files = [
        ("ok-llama", "ok-llama", 30, 0),
        ("ok-llama-q8", "ok-llama-q8", 12, 1),
        ("ok-llama-q4", "ok-llama-q4", 5, 0),
        ("ok-mixtral", "ok-mixtral", 20, 16),
        ("ok-mamba", "ok-mamba", 25, 3),
    ];
    let file = |(name, model, mix, options): (&str, &str, u8, u8)| {
        let bytes = [&[mix, options], models[model].as_slice()].concat();
        (name.to_owned(), bytes)
    };
    files.map(file).into_iter().collect()
}

/// What a program of the C interface does, as `tests/support/c_calls.rs` reads it. Of the models
/// there, the number of one.
pub fn calls() -> Files {
    let told = |model: u8| {
        let steps: [&[u8]; 25] = [
            // Opens, and asks what it is.
            &[0, 0, 0, 2, 0, 3, 0, 0, model, 0, 1, 0, 0, 0],
            &[2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            // A session of two sequences of 16, a sampler that looks back, a decoder.
            &[3, 0, 0, 4, 3, 9, 2, 4, 4, 1, 0, 0, 0, 0],
            &[5, 0, 0, 3, 15, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0],
            &[7, 0, 0, 0, 0],
            &[
                9, 0, 5, b'a', b'b', b' ', b'a', b'b', 1, 0, 8, 0, 0, 11, 0, 0,
            ],
            // Three rows in, all that comes out; three tokens in.
            &[15, 0, 3, 0, 1, 0, 0, 1, 1, 2, 0, 0, 1, 2, 3, 0, 0, 1, 0, 0],
            &[16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[10, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0, 1, 0],
            &[16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[27, 0, 3, 101, 102, 103, 0, 1, 0, 0, 0, 1],
            // Saved, copied, shortened, brought back.
            &[24, 0, 0, 1, 1, 0, 0, 0],
            &[21, 0, 0, 0],
            &[19, 0, 0, 1, 0],
            &[20, 0, 1, 1, 0],
            &[25, 0, 0, 0, 0, 0, 1, 0, 0, 0],
            &[28, 0, 0, 2, 1, 2, 4, 0, 2, 0, 0],
            &[8, 0, 2, 1, 2, 0, 0, 0, 0, 0],
            &[26, 0, 0, 1, 1, 5, 0, 0, 0],
            // Writers: as the model writes, with two beams, drawing.
            &[32, 0, 0, 7, 7, 1, 0],
            &[35, 0, 2, b'a', b'b', 0, 0, 0, 0, 0, 0, 0],
            &[
                34, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 2, 0, 4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
            &[35, 0, 2, b'a', b'b', 0, 0, 0, 0, 0, 0, 0],
            &[32, 1, 0, 0, 1, 0, 0],
            // What its file takes, and how much fits.
            &[
                38, 0, model, 0, 0, 0, 15, 3, 3, 1, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
        ];
        steps.concat()
    };
    let models = [
        "llama",
        "words",
        "mamba",
        "bert",
        "t5",
        "transformer-xl",
        "t5-words",
    ];
    let files = models.into_iter().zip(0..);
    files
        .map(|(name, model)| (format!("ok-{name}"), told(model)))
        .collect()
}
