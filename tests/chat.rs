//! Templates against the reference's text, and hostile ones against their bounds.

use crate::support::fixture::Fixture;
use crate::support::rewrite::{options, run};
use rillm::chat::{
    ChatError, ChatTemplate, Message, NAMED, ReplyPart, ReplyReader, special_tokens,
};
use rillm::quantize::Draft;
use rillm::{Model, ModelOptions};
use serde_json::json;

fn talk() -> Vec<Message> {
    vec![
        Message::new("system", "Be brief."),
        Message::new("user", "Hi"),
        Message::new("assistant", "Hello!"),
        Message::new("user", "Who are you?"),
    ]
}

fn template(source: &str) -> Result<ChatTemplate, ChatError> {
    ChatTemplate::new(source, &[("bos_token", "<s>"), ("eos_token", "</s>")])
}

fn rendered(source: &str, messages: &[Message]) -> Result<String, ChatError> {
    template(source)?.render(messages, true)
}

/// Of several templates the default counts, in files of their own before settings.
#[test]
fn templates_are_found_wherever_they_lie() {
    let list =
        |name: &str| json!([{"name": "rag", "template": "R"}, {"name": name, "template": "D"}]);
    let jinja = "chat_template.jinja";
    let inner = |name: &str| format!("additional_chat_templates/{name}.jinja");
    let (usual, rag) = (inner("default"), inner("rag"));
    for (settings, files, default, names) in [
        (json!("D"), &[][..], Some("D"), &["default"][..]),
        (
            json!({"default": "D", "rag": "R"}),
            &[],
            Some("D"),
            &["default", "rag"],
        ),
        (list("default"), &[], Some("D"), &["default", "rag"]),
        (list("tool_use"), &[], None, &["rag", "tool_use"]),
        (json!(null), &[], None, &[]),
        (json!("S"), &[(jinja, "D")], Some("D"), &["default"]),
        (json!(null), &[(&usual[..], "D")], Some("D"), &["default"]),
        (
            json!("S"),
            &[(jinja, "D"), (&rag[..], "R")],
            Some("D"),
            &["default", "rag"],
        ),
        (json!("S"), &[(&rag[..], "R")], None, &["rag"]),
    ] {
        let folder = Fixture::load("llama_mqa").folder();
        let config = json!({"chat_template": settings}).to_string();
        std::fs::write(folder.join("tokenizer_config.json"), config).expect("written");
        std::fs::create_dir(folder.join("additional_chat_templates")).expect("a folder");
        for (name, source) in files {
            std::fs::write(folder.join(name), source).expect("written");
        }
        let model = Model::open(&folder, ModelOptions::default()).expect("a model");
        assert_eq!(ChatTemplate::of(&model).as_deref(), default, "{settings}");
        assert_eq!(ChatTemplate::names_of(&model), names, "{settings}");
        let path = folder.join("converted.gguf");
        let draft = Draft::open(folder.as_ref()).expect("a draft");
        run(&draft, &options("f32"), &path, 1).expect("written");
        let converted = Model::open(&path, ModelOptions::default()).expect("a model");
        assert_eq!(
            ChatTemplate::of(&converted).as_deref(),
            default,
            "{settings}"
        );
        assert_eq!(ChatTemplate::names_of(&converted), names, "{settings}");
        for name in names {
            let source = ChatTemplate::of_name(&model, name);
            assert!(source.is_some(), "{settings}: {name}");
            assert_eq!(
                ChatTemplate::of_name(&converted, name),
                source,
                "{settings}: {name}"
            );
        }
    }
}

#[test]
fn named_templates_write_what_their_models_know() {
    let of = |name: &str| {
        let source = ChatTemplate::named(name).expect("a template");
        rendered(source, &talk()).expect("a text")
    };
    assert_eq!(
        of("chatml"),
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n\
         <|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nWho are you?<|im_end|>\n\
         <|im_start|>assistant\n"
    );
    assert_eq!(
        of("llama2"),
        "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello! </s><s>[INST] Who are \
         you? [/INST]"
    );
    assert_eq!(
        of("gemma"),
        "<s><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello!\
         <end_of_turn>\n<start_of_turn>user\nWho are you?<end_of_turn>\n<start_of_turn>model\n"
    );
    for (name, _) in NAMED {
        assert!(of(name).contains("Who are you?"), "{name}");
    }
}

/// `tools/templates/make.py` says with what, and how.
#[test]
fn templates_render_as_transformers_renders_them() {
    let data = include_str!("data/templates.json");
    let (variables, rows): (String, Vec<(String, Option<String>)>) =
        serde_json::from_str(data).expect("what the script wrote");
    assert!(rows.len() > 250);
    for (source, expected) in rows {
        let text = template(&source).and_then(|template| template.render_json(&variables));
        match (text, expected) {
            (Ok(text), Some(expected)) => assert_eq!(text, expected, "{source}"),
            (Err(_), None) => {}
            (text, expected) => panic!("{source}: {text:?}, expected {expected:?}"),
        }
    }
}

/// Of `tools/templates/combinations.py`: variables, values, expressions with a text for each value, and
/// templates with a text.
type Combinations = (
    String,
    Vec<String>,
    Vec<(String, Vec<serde_json::Value>)>,
    Vec<(String, serde_json::Value)>,
);

#[test]
fn all_combinations_render_as_transformers_renders_them() {
    let data = include_str!("data/template_combinations.json");
    let (variables, values, rows, mut all): Combinations =
        serde_json::from_str(data).expect("what the script wrote");
    for (expression, texts) in rows {
        for (value, text) in values.iter().zip(texts) {
            all.push((
                format!("{{% set _ = {value} %}}{{{{ {expression} }}}}"),
                text,
            ));
        }
    }
    assert!(all.len() > 9000);
    let mut wrong = Vec::new();
    for (source, expected) in all.iter().filter(|(_, text)| !text.is_boolean()) {
        let text = template(source).and_then(|template| template.render_json(&variables));
        if text.as_deref().ok() != expected.as_str() {
            wrong.push(format!("{source}: {text:?}, expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_left_out_of_jinja_is_said() {
    for (source, name) in [
        ("{{ 'x' | urlize }}", "urlize"),
        ("{{ 'x' | striptags }}", "striptags"),
        ("{{ [1] | random }}", "random"),
        ("{{ lipsum() }}", "lipsum"),
        ("{{ ['x' * 100] | pprint }}", "pprint"),
        ("{{ ('%s' | safe) % '<' }}", "format"),
        ("{{ ('{}' | safe).format('<') }}", "format"),
        ("{{ '\\N{BULLET}' }}", "names"),
    ] {
        let error = rendered(source, &talk()).expect_err(source).to_string();
        assert!(
            error.contains(name) && error.contains("not supported"),
            "{error}"
        );
    }
}

/// A tuple of tuples that are one, sixty deep: whether it may be a key is known without a walk through
/// 2⁶⁰ of them.
#[test]
fn what_is_shared_many_times_is_looked_at_once() {
    let shared = "{% set ns = namespace(x=(1,)) %}{% for i in range(60) %}{% set ns.x = (ns.x, ns.x) %}{% endfor %}";
    for of in [
        "{{ {ns.x: 1} | length }}",
        "{% set d = {ns.x: 2} %}{{ d[ns.x] }}{{ ns.x in d }}{{ d.get(ns.x) }}",
        "{{ dict([(ns.x, 1)]) | length }}",
        "{% set d = {1: 2} %}{{ ns.x in d }}{{ d.get(ns.x) }}",
    ] {
        let text = rendered(&[shared, of].concat(), &talk());
        assert!(text.is_ok(), "{of}: {text:?}");
    }
}

/// jinja2 would write HTML from there on.
#[test]
fn texts_that_escape_themselves_are_refused() {
    for on in ["true", "1 == 1", "messages"] {
        let source = format!("{{% autoescape {on} %}}{{{{ '<' }}}}{{% endautoescape %}}");
        let error = rendered(&source, &talk()).expect_err(on).to_string();
        assert!(error.contains("autoescape is not supported"), "{error}");
    }
}

#[test]
fn what_a_template_refuses_is_its_own_word() {
    let source = "{% for m in messages %}\n{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}\n\
                  {{ raise_exception('roles must\\nalternate') }}{% endif %}{% endfor %}";
    let error = rendered(source, &talk()).expect_err("not alternating");
    assert!(
        matches!(&error, ChatError::Refused(why) if why == "roles must"),
        "{error}"
    );
}

#[test]
fn an_error_names_the_template_s_line() {
    for (source, line, says) in [
        ("a\n{% if %}", 2, "expected an expression"),
        ("a\n\n{{ nothing.at.all }}", 3, "\"nothing\" is undefined"),
        (
            "{% for m in messages %}\n{{ m | nosuch }}\n{% endfor %}",
            2,
            "nosuch",
        ),
        ("\r\n{{ 'a' + 1 }}", 2, "str and int"),
        (
            "{% macro f() %}\n{{ 1 // 0 }}\n{% endmacro %}\n{{ f() }}",
            2,
            "division",
        ),
        ("\n{{ (1, 2 }}", 2, "unexpected"),
        ("\n\n{% endif %}", 3, "endif"),
    ] {
        let error = rendered(source, &talk()).expect_err(source).to_string();
        assert!(
            error.contains(&format!("line {line}: ")),
            "{source}: {error}"
        );
        assert!(error.contains(says), "{source}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn the_time_is_written_as_python_writes_it() {
    let text = rendered("{{ strftime_now('%Y-%m-%d %H|%-d|%f|%q|%') }}", &[]).expect("a text");
    let (date, rest) = text.split_at(13);
    assert_eq!(
        (date.as_bytes()[4], date.as_bytes()[10]),
        (b'-', b' '),
        "{text}"
    );
    let parts: Vec<&str> = rest.split('|').collect();
    assert_eq!(
        (parts[2].len(), parts[3], parts[4]),
        (6, "%q", "%"),
        "{text}"
    );
}

/// A list in lists, as often as said.
fn doubled(then: &str) -> String {
    format!(
        "{{% set ns = namespace(s=[], t='a', u=[1]) %}}{{% for i in range(60) %}}\
         {{% set ns.s = [ns.s, ns.s] %}}{then}{{% endfor %}}"
    )
}

/// An expression of `v`, as often as two loops allow.
fn for_ever(value: &str, expression: &str) -> String {
    format!(
        "{{% set v = {value} %}}{{% for i in range(99999) %}}{{% for j in range(99999) %}}\
         {{% set x = {expression} %}}{{% endfor %}}{{% endfor %}}"
    )
}

fn named_arguments(count: usize) -> String {
    let named: Vec<String> = (0..count).map(|place| format!("a{place}=1")).collect();
    named.join(",")
}

/// Whatever a template does, it ends with an error, and the thread that asks for it needs next to
/// no stack.
#[test]
fn hostile_templates_end() {
    let many = |text: &str, times: usize| text.repeat(times);
    let around = |open: &str, close: &str, times| many(open, times) + "1" + &many(close, times);
    let in_self = "{% set ns = namespace() %}{% set ns.x = [ns, ns] %}";
    let nests = |step: &str| {
        format!("{{% set ns = namespace(s=[]) %}}{{% for i in range(9999) %}}{step}{{% endfor %}}")
    };
    let hostile = [
        // Values that contain themselves, or as good as.
        format!("{in_self}{{{{ ns }}}}"),
        format!("{in_self}{{{{ ns.x }}}}"),
        format!("{in_self}{{{{ ns.x | tojson }}}}"),
        format!("{in_self}{{{{ ns.x | join }}}}"),
        format!("{in_self}{{{{ [[1, ns], [1, ns]] | sort }}}}"),
        doubled("") + "{{ ns.s }}",
        doubled("{% set ns.t = ns.t ~ ns.t %}"),
        doubled("{% set ns.u = ns.u + ns.u %}"),
        nests("{% set ns.s = [ns.s] %}"),
        nests("{% set ns.s = {1: ns.s} %}"),
        nests("{% set ns.s = [ns.s] | map('default') %}"),
        nests("{% set ns.s = [ns.s.index] %}"),
        // Sizes that nobody has.
        "{{ 'a' * 10 ** 9 }}".to_string(),
        "{{ ('a' * 10 ** 30) | length }}".to_string(),
        "{{ [1] * 10 ** 12 }}".to_string(),
        "{{ messages | tojson(indent=4000000000) }}".to_string(),
        "{{ 'a\nb' | indent(4000000000) }}".to_string(),
        "{{ 'a' | center(4000000000) }}".to_string(),
        "{{ 'a'.ljust(10 ** 20) }}".to_string(),
        "{{ '1'.zfill(10 ** 20) }}".to_string(),
        "{{ '\t'.expandtabs(10 ** 20) }}".to_string(),
        "{{ '%1000000000d' % 1 }}".to_string(),
        "{{ '%*d' | format(10 ** 12, 1) }}".to_string(),
        "{{ '%.1000000000f' % 1 }}".to_string(),
        "{{ '{:1000000000}'.format(1) }}".to_string(),
        "{{ '{:{}}'.format(1, 10 ** 12) }}".to_string(),
        "{{ [1] | batch(10 ** 12, 2) | list }}".to_string(),
        "{{ [1] | slice(10 ** 12) | list }}".to_string(),
        "{{ range(10 ** 12) }}".to_string(),
        "{{ 10 ** 10 ** 10 }}".to_string(),
        "{{ ([1] * 99999) | join('a' * 99999) }}".to_string(),
        "{{ ('a' * 999999).replace('a', 'b' * 999999) }}".to_string(),
        "{% for i in range(99999) %}{{ 'a' * 9999 }}{% endfor %}".to_string(),
        // Nesting, as it is read and as it runs.
        format!("{{{{ {} }}}}", many("1+", 50_000) + "1"),
        format!("{{{{ {} }}}}", around("(", ")", 50_000)),
        format!("{{{{ {} }}}}", around("[", "]", 50_000)),
        format!("{{{{ {} }}}}", around("{1:", "}", 50_000)),
        format!("{{{{ {} }}}}", many("not ", 50_000) + "1"),
        format!("{{{{ {} }}}}", many("-", 50_000) + "1"),
        format!("{{{{ 1{} }}}}", many("|abs", 50_000)),
        format!("{{{{ a{} }}}}", many(".b", 50_000)),
        format!("{{{{ a{} }}}}", many("()", 50_000)),
        format!("{{{{ {} }}}}", many("1 if 1 else ", 50_000) + "2"),
        around("{% if 1 %}", "{% endif %}", 9_999),
        around("{% for a in [1] %}", "{% endfor %}", 9_999),
        format!("{{{{ 'a' | map({}) | list }}}}", many("'map',", 50_000)),
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".to_string(),
        "{% macro f(x=f()) %}{% endmacro %}{{ f() }}".to_string(),
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}".to_string(),
        many("a", 2 << 20),
        // Time.
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
            .to_string(),
        format!(
            "{{{{ {{{}}} }}}}",
            (0..40_000)
                .map(|key| format!("{key}:1,"))
                .collect::<String>()
        ),
        // Work that is no step of the template's own.
        "{% set k = 'a' * 1000000 %}{{ range(100000) | map(attribute=k) | list | length }}{{ 1 // 0 }}"
            .to_string(),
        for_ever("'9' * 5000000", "v | int"),
        for_ever("'0.' ~ '9' * 5000000", "v | float"),
        for_ever("'9' * 5000000", "v | filesizeformat"),
        for_ever("'𝟿' * 4000000", "v.isalnum()"),
        for_ever("'é ' * 5000000", "v | wordcount"),
        for_ever("'a' * 30000000", "messages[v]"),
        for_ever("'a' * 9000000", "v | wordwrap(5)"),
        for_ever("1.5e-300", "'%.1100e' | format(v)"),
        for_ever("range(100000) | list", "loop.cycle(*v)"),
        for_ever("('a' * 999999 ~ 'b',) * 100000", "('a' * 1000000).startswith(v)"),
        for_ever(
            "range(100000) | list",
            &format!("v | map('string', {})", named_arguments(900)),
        ),
        for_ever(
            &format!("namespace({})", named_arguments(2500)),
            "v.a2499",
        ),
        for_ever(
            &format!("dict({})", named_arguments(2500)),
            "'{a2499}'.format_map(v)",
        ),
        format!("{{{{ 1|{}a }}}}", many("a.", 500_000)),
        // What is not there.
        "{% include 'a' %}".to_string(),
        "{% extends 'a' %}".to_string(),
    ];
    let small = std::thread::Builder::new().stack_size(64 << 10);
    let run = move || {
        for source in &hostile {
            let begin: String = source.chars().take(100).collect();
            let started = std::time::Instant::now();
            let error = rendered(source, &talk()).expect_err(&begin).to_string();
            assert_eq!(error.lines().count(), 1, "{begin}: {error}");
            assert!(started.elapsed().as_secs() < 60, "{begin}");
        }
    };
    let ended = small.spawn(run).expect("a thread").join();
    assert!(ended.is_ok());
}

/// What is bounded is not what a long conversation takes.
#[test]
fn long_conversations_are_rendered() {
    let turn = |place: usize| {
        let role = if place.is_multiple_of(2) {
            "user"
        } else {
            "assistant"
        };
        Message::new(role, "word ".repeat(200))
    };
    let messages: Vec<Message> = (0..2000).map(turn).collect();
    // The whole text so far is copied at each turn.
    let source = "{% set ns = namespace(text='') %}{% for m in messages %}\
                  {% set ns.text = ns.text + m.role + m.content %}{% endfor %}{{ ns.text }}";
    let text = rendered(source, &messages).expect("a text");
    assert!(text.len() > 2_000_000);
}

#[test]
fn a_folder_s_files_name_its_special_tokens() {
    let folder = Fixture::load("llama").folder();
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).expect("a file");
    let added = |id: u32, name: &str| json!({"id": id, "content": name, "special": true});
    let letters = (' '..='~').enumerate();
    let letters: serde_json::Map<String, serde_json::Value> = letters
        .map(|(id, letter)| (letter.to_string(), id.into()))
        .collect();
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": [added(95, "<s>"), added(96, "</s>"), added(97, "<|end|>")],
        "model": { "type": "BPE", "vocab": letters, "merges": [], "unk_token": "?" },
    });
    write("tokenizer.json", tokenizer.to_string());
    let mut config = json!({
        "bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>", "pad_token": null,
        "image_token": "<image>", "extra_special_tokens": {"boi_token": "<boi>"},
    });
    let map = json!({"eos_token": {"content": "<|end|>"}});
    write("special_tokens_map.json", map.to_string());
    let found = |config: &serde_json::Value| {
        write("tokenizer_config.json", config.to_string());
        let model = Model::open(&*folder, ModelOptions::default()).expect("a model");
        let mut tokens = special_tokens(&model);
        tokens.sort();
        tokens
    };
    let expected = |eos: &str| {
        [
            ("boi_token", "<boi>"),
            ("bos_token", "<s>"),
            ("eos_token", eos),
            ("image_token", "<image>"),
        ]
        .map(|(name, text)| (name.to_string(), text.to_string()))
    };
    assert_eq!(found(&config), expected("<|end|>"));
    // Newer files list the tokens in the configuration itself, and the map no longer counts.
    config["added_tokens_decoder"] = json!({});
    assert_eq!(found(&config), expected("</s>"));
}

/// What a reply is parted into, whatever pieces it comes in.
fn parted(source: &str, prompt: &str, reply: &str) -> [String; 2] {
    let template = template(source).expect("a template");
    let mut expected = None;
    for size in [1, 2, 3, 7, reply.len().max(1)] {
        let mut parts = [String::new(), String::new()];
        let mut show = |part: ReplyPart, text: &str| match part {
            ReplyPart::Thinking => parts[0].push_str(text),
            ReplyPart::Answer => parts[1].push_str(text),
        };
        let mut reader = ReplyReader::new(&template, prompt);
        let letters: Vec<char> = reply.chars().collect();
        for piece in letters.chunks(size) {
            reader.push(&piece.iter().collect::<String>(), &mut show);
        }
        reader.finish(&mut show);
        assert_eq!(
            *expected.get_or_insert(parts.clone()),
            parts,
            "{reply} in {size}s"
        );
    }
    expected.expect("a reply")
}

#[test]
fn thoughts_are_parted_from_answers() {
    const THINK: &str = "{{ '<think>' }}";
    const CHANNELS: &str = "{{ '<|start|>assistant<|channel|>final<|message|>' }}";
    let begun = "<|start|>assistant";
    for (source, prompt, reply, thinking, answer) in [
        // What says nothing of thoughts has none, and an answer stays as it is.
        ("", "", " An answer.\n", "", " An answer.\n"),
        ("", "", "a < b <think> c", "", "a < b <think> c"),
        ("", "", "", "", ""),
        // As Qwen 3, SmolLM3 and GLM-4.5 write it.
        (
            THINK,
            "\n",
            "<think>\nHm.\n\nSo.\n</think>\n\nYes.\n",
            "Hm.\n\nSo.",
            "Yes.\n",
        ),
        (THINK, "\n", "\n<think>\n\n</think>\n\nYes.", "", "Yes."),
        // As DeepSeek R1 does: the prompt has begun them.
        (
            THINK,
            "<think>\n",
            "Hm < so\n</think>\nYes, </think> ends it.",
            "Hm < so",
            "Yes, </think> ends it.",
        ),
        (THINK, "<think>\n", "Hm <", "Hm <", ""),
        // The prompt has ended them.
        (THINK, "<think>\n\n</think>\n\n", "\nYes.", "", "Yes."),
        (THINK, "<think>\n\n</think>\n\n", "<think>", "", "<think>"),
        // Hunyuan, and Granite 3.3.
        (
            THINK,
            "",
            "<think>\nHm\n</think>\n<answer>\nYes.\n</answer>",
            "Hm",
            "Yes.",
        ),
        (
            THINK,
            "",
            "<think>Hm</think><response>Yes.</response>",
            "Hm",
            "Yes.",
        ),
        (THINK, "", "<think>Hm</think> <answ", "Hm", ""),
        // Seed-OSS, and Magistral, whose tags are control tokens.
        (
            "<seed:think>",
            "",
            "<seed:think>Hm</seed:think>Yes",
            "Hm",
            "Yes",
        ),
        ("[THINK][/THINK]", "", "[THINK]Hm[/THINK]Yes", "Hm", "Yes"),
        // gpt-oss: messages on channels, of which the final one is the answer.
        (
            CHANNELS,
            begun,
            "<|channel|>final<|message|>Yes.<|return|>",
            "",
            "Yes.",
        ),
        (
            CHANNELS,
            begun,
            "<|channel|>analysis<|message|>Hm <|x.<|end|><|start|>assistant<|channel|>final<|message|>Yes.",
            "Hm <|x.",
            "Yes.",
        ),
        (
            CHANNELS,
            begun,
            "<|channel|>commentary to=functions.now <|constrain|>json<|message|>{}<|call|>",
            "{}",
            "",
        ),
        (
            CHANNELS,
            "<|start|>assistant<|channel|>analysis<|message|>",
            "Hm",
            "Hm",
            "",
        ),
        (CHANNELS, begun, "<|channel|>analysis", "", ""),
        (CHANNELS, begun, "<|message|>Yes.<|end|>", "", "Yes."),
    ] {
        assert_eq!(parted(source, prompt, reply), [thinking, answer], "{reply}");
    }
    // What never ends its head is no message, and costs no more than it has.
    let long = "x".repeat(5000);
    assert_eq!(
        parted(CHANNELS, begun, &long)[1].len(),
        5000 + "assistant".len()
    );
}

/// The rules of the published templates: thoughts of turns that are over are not said again.
#[test]
fn templates_see_what_was_thought() {
    // As Qwen 3's: they stay behind the last question alone.
    let source = "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}\
                  {% for m in messages %}[{{ m.role }}]{% if m.reasoning_content is defined and loop.index0 > ns.last %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}{% endfor %}";
    let first = vec![
        Message::new("user", "Why?"),
        Message::new("assistant", "So.").thinking("Hm"),
    ];
    let text = template(source).unwrap().render(&first, false).unwrap();
    assert_eq!(text, "[user]Why?[assistant]<think>Hm</think>So.");
    let second = [first, vec![Message::new("user", "Oh?")]].concat();
    let text = rendered(source, &second).unwrap();
    assert_eq!(text, "[user]Why?[assistant]So.[user]Oh?");
    // Both names, as transformers has them; and none where nothing was thought.
    let names = "{% for m in messages %}{{ m.thinking }}{{ m.reasoning_content }};{% endfor %}";
    assert_eq!(rendered(names, &second).unwrap(), ";HmHm;;");
}

#[test]
fn templates_are_told_whether_to_think() {
    for (source, on, off) in [
        (
            "{% if enable_thinking is defined and enable_thinking is false %}no{% endif %}",
            Some(("enable_thinking", "true")),
            Some(("enable_thinking", "false")),
        ),
        (
            "{%- if thinking %}yes{% endif %}",
            Some(("thinking", "true")),
            Some(("thinking", "false")),
        ),
        // A message's own.
        (
            "{% if 'thinking' in m %}{{ m.thinking }}<thinking>{{ reasoning_effort }}{% endif %}",
            Some(("reasoning_effort", "\"high\"")),
            Some(("reasoning_effort", "\"low\"")),
        ),
        (
            "{{ thinking_budget }}",
            Some(("thinking_budget", "-1")),
            Some(("thinking_budget", "0")),
        ),
        ("{{ my_thinking }}{{ thinking_of }}", None, None),
    ] {
        let template = template(source).unwrap();
        assert_eq!(
            (
                template.thinking_variable(true),
                template.thinking_variable(false)
            ),
            (on, off),
            "{source}"
        );
    }
    let mut template = template("{{ thinking }} {{ level | default('none') }}").unwrap();
    template
        .set_variables(r#"{"thinking": false, "level": "low"}"#)
        .unwrap();
    assert_eq!(template.render(&talk(), true).unwrap(), "False low");
    assert!(template.set_variables("[1]").is_err());
}
