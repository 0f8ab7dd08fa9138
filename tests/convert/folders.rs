//! Every fixture's folder, converted.

use crate::support::evaluate::check_all;
use crate::support::fixture::{Fixture, Weight};
use crate::support::folder::TempFolder;
use crate::support::rewrite::{options, run};
use crate::support::to_gguf::Gguf;
use rillm::formats::manifest::MetadataValue;
use rillm::formats::tokenizer::{DecodeOptions, EncodeOptions};
use rillm::internals::draft;
use rillm::internals::quant;
use rillm::internals::weights::open;
use rillm::quantize::Draft;
use rillm::{Model, ModelOptions};

fn runnable() -> Vec<Fixture> {
    let names = Fixture::all().into_iter();
    names.map(|name| Fixture::load(&name)).collect()
}

/// Tensor by tensor what the tests' own converter makes of it, and the reference's outputs.
#[test]
fn every_folder_becomes_the_file_that_converters_write() {
    let folder = TempFolder::new("folders");
    for fixture in runnable() {
        let from = fixture.folder();
        let input = draft(open(&from).expect("a folder")).expect("an input");
        let path = folder.join(format!("{}.gguf", fixture.name));
        run(&input, &options("f32"), &path, 2).unwrap_or_else(|e| panic!("{}: {e}", fixture.name));
        let files = open(&path).expect("a GGUF file");
        let expected = Gguf::of(&fixture);
        // RWKV-7's first layer has tensors that nobody uses, for readers that ask for them.
        let added = |name: &str| {
            ["v0", "v1", "v2"]
                .iter()
                .any(|part| name == format!("blk.0.time_mix_{part}.weight"))
        };
        let tensors = files.manifest.tensors.iter();
        let tensors: Vec<_> = tensors.filter(|(name, _)| !added(name)).collect();
        let names: Vec<&String> = tensors.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            names,
            expected.tensors.keys().collect::<Vec<_>>(),
            "{}",
            fixture.name
        );
        for (name, info) in tensors {
            let floats = &expected.tensors[name];
            assert_eq!(info.shape.0, floats.shape, "{}: {name}", fixture.name);
            let bytes =
                &files.sources[0].bytes()[info.range.start as usize..info.range.end as usize];
            let mut values = vec![0.0; floats.values.len()];
            quant::decode(info.dtype).expect("known")(bytes, &mut values);
            assert_eq!(values, floats.values, "{}: {name}", fixture.name);
        }
        let model = Model::open(&path, ModelOptions::default());
        let model = model.unwrap_or_else(|error| panic!("{}: {error}", fixture.name));
        check_all(&fixture, &model);
    }
}

/// What transformers 5 says in another way, a file says as it ever did.
#[test]
fn folders_of_transformers_5_become_files() {
    let folder = TempFolder::new("saved-anew");
    for fixture in runnable() {
        let Some((config, weights)) = fixture.saved_by_transformers_5() else {
            continue;
        };
        let from = fixture.folder_of(&config, &weights);
        let input = draft(open(&from).expect("a folder")).expect("an input");
        let path = folder.join(format!("{}.gguf", fixture.name));
        run(&input, &options("f32"), &path, 2).unwrap_or_else(|e| panic!("{}: {e}", fixture.name));
        let model = Model::open(&path, ModelOptions::default());
        let model = model.unwrap_or_else(|error| panic!("{}: {error}", fixture.name));
        check_all(&fixture, &model);
        let metadata = &model.manifest().metadata;
        let default =
            |(_, value): (_, &MetadataValue)| *value == MetadataValue::String("default".into());
        assert!(!metadata.0.iter().any(default), "{}", fixture.name);
    }
}

/// Other readers of GGUF take a key for missing if its type is another one, and insist on some
/// that configurations leave to be known.
#[test]
fn keys_are_what_other_readers_insist_on() {
    let folder = TempFolder::new("keys");
    let keys_of = |name: &str| {
        let input = draft(open(&Fixture::load(name).folder()).expect("a folder"));
        let path = folder.join(format!("{name}.gguf"));
        run(&input.expect("an input"), &options("f32"), &path, 1).expect("a file");
        open(&path).expect("a GGUF file").manifest.metadata
    };
    let neox = keys_of("gpt_neox");
    assert_eq!(neox.str("tokenizer.ggml.model"), Some("none"));
    assert_eq!(neox.u64("gptneox.vocab_size"), Some(101));
    let base = neox.value("gptneox.rope.freq_base");
    assert!(matches!(base, Some(MetadataValue::F32(_))), "{base:?}");
    let llama = keys_of("llama");
    assert_eq!(llama.u64("llama.attention.value_length"), Some(10));
    let gpt2 = keys_of("gpt2_inverse_layer");
    assert_eq!(gpt2.u64("gpt2.feed_forward_length"), Some(132));
    let rwkv6 = keys_of("rwkv6_halved");
    for (key, expected) in [
        ("attention.head_count", 0),
        ("context_length", 1 << 20),
        ("feed_forward_length", 160),
        ("time_mix_extra_dim", 4),
        ("time_decay_extra_dim", 5),
        ("wkv.head_size", 12),
    ] {
        assert_eq!(rwkv6.u64(&format!("rwkv6.{key}")), Some(expected), "{key}");
    }
    // Which would mean weights that have been divided.
    assert_eq!(rwkv6.value("rwkv6.rescale_every_n_layers"), None);
    assert_eq!(keys_of("bloom").u64("bloom.context_length"), Some(2048));
    let bert = keys_of("bert");
    assert_eq!(bert.u64("bert.context_length"), Some(40));
    assert_eq!(bert.u64("tokenizer.ggml.token_type_count"), Some(3));
    assert_eq!(bert.bool("bert.attention.causal"), Some(false));
    let decoder = keys_of("bert_decoder");
    assert_eq!(decoder.bool("bert.attention.causal"), Some(true));
    let nemotron = keys_of("nemotron_h");
    for norm in ["layer_norm_epsilon", "layer_norm_rms_epsilon"] {
        let key = format!("nemotron_h.attention.{norm}");
        assert_eq!(nemotron.f64(&key).map(|eps| eps as f32), Some(0.003));
    }
    let deepseek = keys_of("deepseek_v2_lite");
    assert_eq!(deepseek.u64("deepseek2.attention.q_lora_rank"), Some(0));
    let hunyuan = keys_of("hunyuan_moe_alpha");
    assert_eq!(hunyuan.u64("hunyuan-moe.expert_used_count"), Some(2));
    assert_eq!(keys_of("t5").u64("t5.context_length"), Some(1 << 20));
    let dynamic = keys_of("llama_dynamic");
    assert_eq!(dynamic.str("llama.rope.scaling.type"), Some("none"));
    assert_eq!(dynamic.value("llama.rope.scaling.factor"), None);
    assert_eq!(dynamic.f64("llama.rope.scaling.dynamic_factor"), Some(2.0));
    assert_eq!(keys_of("mamba").u64("mamba.context_length"), Some(1 << 20));
}

/// What a folder's quantized file holds is what its float file holds, quantized.
#[test]
fn folders_are_quantized_at_once() {
    let folder = TempFolder::new("at-once");
    for name in ["gpt2", "llama", "mixtral", "gpt_neox"] {
        let fixture = Fixture::load(name);
        let from = fixture.folder();
        let input = draft(open(&from).expect("a folder")).expect("an input");
        let (whole, once, twice) = ("whole.gguf", "once.gguf", "twice.gguf");
        run(&input, &options("f32"), &folder.join(whole), 1).expect("a file");
        run(&input, &options("q8_0"), &folder.join(once), 3).expect("a file");
        let again = draft(open(&folder.join(whole)).expect("a file")).expect("an input");
        run(&again, &options("q8_0"), &folder.join(twice), 1).expect("a file");
        let read = |name: &str| std::fs::read(folder.join(name)).expect("a file");
        assert!(read(once) == read(twice), "{name}");
    }
}

/// Tied tensors that a checkpoint holds twice are written once: of the second copy a reader could
/// only say that nothing uses it.
#[test]
fn second_copies_are_left_out() {
    let folder = TempFolder::new("copies");
    let fixture = Fixture::load("transfo_xl");
    let weights = fixture.weights().into_iter();
    let copies = weights.filter_map(|weight| {
        let cluster = weight
            .name
            .strip_prefix("transformer.word_emb.emb_projs.")?;
        (cluster != "0").then(|| Weight {
            name: format!("crit.out_projs.{cluster}"),
            ..weight
        })
    });
    let from = fixture.folder_with(&fixture.config(), copies.collect());
    let input = draft(open(&from).expect("a folder")).expect("an input");
    let path = folder.join("once.gguf");
    run(&input, &options("f32"), &path, 1).expect("a file");
    let model = Model::open(&path, ModelOptions::default());
    check_all(&fixture, &model.unwrap_or_else(|error| panic!("{error}")));
}

/// A file tokenizes, begins, stops and shows as the folder it was made of does, whatever GGUF's own
/// keys can say; where those cannot, a note says what other programs will not know.
#[test]
fn a_file_tokenizes_as_its_folder_does() {
    const TEXTS: &[&str] = &[
        "",
        "ABC abc",
        " Über  12345 \n x",
        "<s>a</s> <unk>",
        "日本 👍🏽",
    ];
    const VOCABULARY: &str = r#"{"<s>":0,"</s>":1,"<unk>":2,"a":3,"b":4,"c":5,"A":6,"\u2581":7,"\u0120":8,"x":9,"\u2581a":10,"ab":11}"#;
    let bpe = format!(
        r#""model":{{"type":"BPE","unk_token":"<unk>","vocab":{VOCABULARY},"merges":["\u2581 a","a b"]}}"#
    );
    let unigram = r#""model":{"type":"Unigram","unk_id":2,"vocab":[["<s>",0],["</s>",0],["<unk>",0],["\u2581",-1],["a",-2],["\u2581a",-2.5],["x",-4]]}"#.to_string();
    let words =
        format!(r#""model":{{"type":"WordLevel","unk_token":"<unk>","vocab":{VOCABULARY}}}"#);
    let pieces = format!(
        r###""model":{{"type":"WordPiece","unk_token":"<unk>","continuing_subword_prefix":"##","vocab":{}}}"###,
        VOCABULARY.replace("\"ab\"", "\"##b\"")
    );
    let lower = r#""normalizer":{"type":"Lowercase"}"#;
    let space = r#""pre_tokenizer":{"type":"ByteLevel","add_prefix_space":true,"use_regex":true}"#;
    let metaspace = r#""pre_tokenizer":{"type":"Metaspace","replacement":"\u2581","prepend_scheme":"always","split":true},"decoder":{"type":"Metaspace","replacement":"\u2581","prepend_scheme":"always","split":true}"#;
    let bert = r###""pre_tokenizer":{"type":"BertPreTokenizer"},"decoder":{"type":"WordPiece","prefix":"##","cleanup":true}"###;
    let whitespace = r#""pre_tokenizer":{"type":"Whitespace"}"#;
    let two = r#""post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"SpecialToken":{"id":"</s>"}},{"Sequence":{"id":"A"}}],"special_tokens":{"<s>":{"ids":[0]},"</s>":{"ids":[1]}}}"#;
    let folder = TempFolder::new("tokenizers");
    let fixture = Fixture::load("llama");
    let from = fixture.folder();
    for (index, (parts, notes)) in [
        (format!("{bpe},{lower},{space}"), true),
        (format!("{bpe},{space},{two}"), true),
        (format!("{bpe},{metaspace}"), false),
        (format!("{bpe},{whitespace}"), true),
        (format!("{unigram},{metaspace},{two}"), false),
        (format!("{words},{whitespace}"), true),
        (format!("{pieces},{bert},{two}"), true),
    ]
    .into_iter()
    .enumerate()
    {
        let label = parts.clone();
        let added = r#""added_tokens":[{"id":0,"content":"<s>","special":true},{"id":1,"content":"</s>","special":true},{"id":2,"content":"<unk>","special":true}]"#;
        let json = format!("{{{added},{parts}}}");
        let config = r#"{"bos_token":"<s>","eos_token":"</s>"}"#;
        std::fs::write(from.join("tokenizer.json"), json).expect("written");
        std::fs::write(from.join("tokenizer_config.json"), config).expect("written");
        std::fs::write(
            from.join("generation_config.json"),
            r#"{"eos_token_id":[1,5,9,5000]}"#,
        )
        .expect("written");
        std::fs::write(from.join("chat_template.jinja"), "{{ messages }}").expect("written");
        let input = Draft::open(&from).expect("an input");
        let noted = input.notes().iter().any(|note| note.contains("tokenizer"));
        assert_eq!(noted, notes, "{label}: {:?}", input.notes());
        let path = folder.join(format!("{index}.gguf"));
        run(&input, &options("f32"), &path, 1).expect("written");
        let [before, after] = [from.as_ref() as &std::path::Path, &path]
            .map(|path| Model::open(path, ModelOptions::default()).expect("a model"));
        let [before, after] = [&before, &after].map(|model| model.tokenizer().expect("one"));
        // An end that is no token ends nothing.
        assert_eq!(before.end_tokens(), [after.end_tokens(), &[5000]].concat());
        assert_eq!(after.bos(), before.bos(), "{label}");
        assert_eq!(after.eos(), before.eos(), "{label}");
        for text in TEXTS {
            for (special, around) in [(false, false), (true, false), (true, true)] {
                let options = EncodeOptions::default()
                    .parse_special(special)
                    .add_special(around);
                let ids = before.encode(text, options).expect("within bounds");
                let found = after.encode(text, options);
                assert_eq!(found.as_ref(), Ok(&ids), "{label}: {text:?}");
                let decode = DecodeOptions::default();
                let shown = before.decode(&ids, decode);
                assert_eq!(after.decode(&ids, decode), shown, "{label}: {text:?}");
            }
        }
        let metadata = open(&path).expect("a GGUF file").manifest.metadata;
        let template = metadata.value("tokenizer.chat_template");
        let expected = MetadataValue::String("{{ messages }}".into());
        assert_eq!(template, Some(&expected), "{label}");
    }
}
