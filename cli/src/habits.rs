//! What people type who come from other programs, and what they are told: commands that there are
//! not, models by names of a registry, a model without a command.

use super::CliError;
use super::llama_cpp::CONVERSATION;
use clap::CommandFactory;
use rillm::LoadError;
use rillm::error::LoadErrorKind;
use rillm::internals::weights::{chat_templates_of, open};
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Other programs' commands that do what one of ours does.
const SYNONYMS: &[(&str, &str)] = &[
    ("show", "inspect"),
    ("info", "inspect"),
    ("generate", "run"),
    ("complete", "run"),
    ("completion", "run"),
    ("cli", "run"),
    ("main", "run"),
    ("simple", "run"),
    ("text-generation", "run"),
    ("text2text-generation", "run"),
    ("repl", "chat"),
    ("talk", "chat"),
    ("tokenise", "tokenize"),
    ("quantise", "quantize"),
    ("ppl", "perplexity"),
    ("embedding", "embed"),
    ("embeddings", "embed"),
    ("encode", "embed"),
    ("feature-extraction", "embed"),
    ("similarity", "similar"),
    ("semantic-search", "similar"),
    ("semantic_search", "similar"),
    ("retrieve", "similar"),
    ("sentence-similarity", "similar"),
    ("rank", "rerank"),
    ("reranking", "rerank"),
    ("classification", "classify"),
    ("text-classification", "classify"),
    ("zero-shot-classification", "classify"),
    ("ner", "tag"),
    ("token-classification", "tag"),
    ("fill_mask", "fill-mask"),
    ("fill", "fill-mask"),
    ("qa", "answer"),
    ("question-answering", "answer"),
    ("translation", "translate"),
    ("summarization", "summarize"),
    ("summarise", "summarize"),
    ("benchmark", "bench"),
    ("version", "--version"),
];

/// Other programs' commands that nothing here does, and what to do instead.
const COMMANDS: &[(&[&str], &str)] = &[
    (
        &["serve", "server", "start", "api", "ui", "webui", "gui"],
        "there is no server here: rillm chat talks in a terminal, and programs call the library, from \
         Rust or by include/rillm.h",
    ),
    (
        &["pull", "download", "fetch", "get", "search", "login"],
        "nothing is downloaded here: fetch a GGUF file, or a folder with config.json, model.safetensors \
         and tokenizer.json, by other means, then rillm chat FILE",
    ),
    (
        &[
            "list", "ls", "models", "rm", "remove", "delete", "cp", "copy", "push",
        ],
        "models are files, wherever you keep them: there is no list of them here, and your system's own \
         commands copy and remove them",
    ),
    (
        &["ps", "stop", "load", "unload"],
        "no model stays loaded here: each command opens its own, which takes no time, and Ctrl-C ends it",
    ),
    (
        &["gguf-split", "split"],
        "a model in several files is opened by its first, and rillm quantize writes it as one",
    ),
    (
        &["imatrix", "cvector-generator"],
        "neither importance matrices nor control vectors are made or used here",
    ),
    (
        &[
            "mtmd-cli",
            "llava-cli",
            "gemma3-cli",
            "qwen2vl-cli",
            "minicpmv-cli",
            "tts",
            "whisper",
            "whisper-cli",
            "transcribe",
            "audio",
            "asr",
            "speech",
            "diarize",
            "image-to-text",
            "automatic-speech-recognition",
            "text-to-image",
        ],
        "models read and write text alone here, no images and no sound",
    ),
    (
        &[
            "transformers",
            "hf",
            "huggingface-cli",
            "ollama",
            "llm",
            "mlx_lm",
            "optimum-cli",
            "transformers-cli",
            "vllm",
            "sglang",
            "ctranslate2",
            "sentence-transformers",
            "python",
            "python3",
        ],
        "rillm has commands of its own: rillm chat MODEL talks, rillm run MODEL TEXT goes on, rillm --help \
         lists the others",
    ),
    (
        &["create", "modelfile"],
        "there are no Modelfiles here: give rillm chat what one would say, by --system, --chat-template, \
         --temp and so on",
    ),
    (
        &[
            "convert",
            "export",
            "gguf",
            "convert_hf_to_gguf",
            "convert_hf_to_gguf.py",
            "convert-hf-to-gguf.py",
            "convert.py",
            "ct2-transformers-converter",
        ],
        "rillm quantize FOLDER OUT.gguf f16 makes a GGUF file of a Hugging Face folder",
    ),
    (
        &[
            "train",
            "finetune",
            "fine-tune",
            "lora",
            "export-lora",
            "merge",
        ],
        "models are run here, not trained: merge adapters by peft (merge_and_unload, save_pretrained) and \
         give the folder",
    ),
];

/// The command line with a command in it.
///
/// # Errors
/// What stands there is neither a command nor a model, and what to do instead.
pub fn with_command(arguments: Vec<OsString>) -> Result<Vec<OsString>, CliError> {
    let Some(first) = arguments.get(1) else {
        return Ok(arguments);
    };
    let word = first.to_str().unwrap_or_default();
    // llama.cpp's programs are named so, and its -v alone says the version.
    let word = word.strip_prefix("llama-").unwrap_or(word);
    let word = match word == "-v" && arguments.len() == 2 {
        true => "version",
        false => word,
    };
    if word == "help"
        && arguments
            .get(2)
            .is_some_and(|next| next == "--help" || next == "-h")
    {
        return Ok(vec![arguments[0].clone(), "--help".into()]);
    }
    if word == "help" && arguments.len() > 2 {
        // Of a command that there is not, what is said of it anyway.
        let mut rest = with_command(arguments[1..].to_vec())?;
        rest.insert(0, arguments[0].clone());
        return Ok(rest);
    }
    let has = |option: &str| arguments.iter().any(|word| word == option);
    if word == "bench" && has("--kernels") && has("--check") {
        // Two words for one option, which stands alone.
        return Ok(vec![
            arguments[0].clone(),
            "bench".into(),
            "--kernels=check".into(),
        ]);
    }
    let about_itself = ["help", "-h", "--help", "-V", "--version"];
    let replaced = |with: &str| {
        let mut arguments = arguments.clone();
        arguments[1] = with.into();
        Ok(arguments)
    };
    if about_itself.contains(&word) || is_command(word) {
        return replaced(word);
    }
    let is_model = word.starts_with('-') || is_model(first);
    if !is_model {
        if let Some((_, ours)) = SYNONYMS.iter().find(|(theirs, _)| *theirs == word) {
            return replaced(ours);
        }
        let known = COMMANDS.iter().find(|(names, _)| names.contains(&word));
        return Err(CliError::Usage(match known {
            Some((_, answer)) => format!("{word}: {answer}"),
            None => match super::usage::nearest(word, names().iter().map(String::as_str)) {
                Some(near) => format!("{word}: no such command, did you mean {near}?"),
                None => format!(
                    "{}: neither a command nor a file; commands are {}",
                    first.to_string_lossy(),
                    names().join(", ")
                ),
            },
        }));
    }
    let mut arguments = arguments;
    let command = match talks(&arguments[1..]) {
        true => "chat",
        false => "run",
    };
    arguments.insert(1, command.into());
    Ok(arguments)
}

fn names() -> Vec<String> {
    let command = super::Cli::command();
    let commands = command.get_subcommands();
    commands.map(|one| one.get_name().to_string()).collect()
}

fn is_command(word: &str) -> bool {
    names().iter().any(|name| name == word)
}

/// Whether a word is meant as a model: a path, or what others call models.
fn is_model(word: &OsStr) -> bool {
    let path = Path::new(word);
    path.exists() || by_other_means(&path.to_string_lossy()).is_some() || looks_like_a_path(path)
}

fn looks_like_a_path(path: &Path) -> bool {
    let extensions = ["gguf", "safetensors", "bin"];
    let extension = path.extension().and_then(OsStr::to_str);
    path.components().count() > 1 || extension.is_some_and(|known| extensions.contains(&known))
}

/// Options that say that a conversation is meant, beside [`CONVERSATION`].
const TALK: &[&str] = &["-st", "--single-turn", "--no-history"];

/// Options that a text has and a conversation has not.
const TEXT: &[&str] = &[
    "-no-cnv",
    "--no-conversation",
    "--no-display-prompt",
    "--json",
    "--logprobs",
    "--prompt-cache",
    "--special",
    "--profile",
    "--trace",
    "--demo",
];

/// Whether a line without a command is to be a conversation: if its options are of one, or the model
/// was made for that.
fn talks(arguments: &[OsString]) -> bool {
    let names = || arguments.iter().filter_map(|one| one.to_str());
    let has = |options: &[&str]| {
        let mut names = names().map(|name| name.split('=').next().unwrap_or(name));
        names.any(|name| options.contains(&name))
    };
    if has(TEXT) || has(TALK) || has(CONVERSATION) {
        return !has(TEXT);
    }
    let by_option = arguments.iter().enumerate().find_map(|(at, one)| {
        let one = one.to_str()?;
        match one {
            "-m" | "--model" => arguments.get(at + 1).map(Path::new),
            _ => one.strip_prefix("--model=").map(Path::new),
        }
    });
    let first = arguments.first().map(Path::new);
    let Some(path) = by_option.or(first) else {
        return false;
    };
    // What is wrong with it is said when it is opened.
    open(path).is_ok_and(|files| {
        !chat_templates_of(&files.manifest.metadata).is_empty()
            || !files.tokenizer.chat_templates().is_empty()
    })
}

/// Why a model could not be opened: if there is no file of this name, with what to do about it.
pub fn explained(error: LoadError, path: &Path) -> LoadError {
    match model_name(path) {
        // The models that are compiled in have a name and no file.
        Some(advice) if error.kind() == LoadErrorKind::Io => {
            LoadError::new(LoadErrorKind::Io, advice).at(path)
        }
        _ => error.at(path),
    }
}

/// What to say of a model's name that no file has, beyond that.
fn model_name(path: &Path) -> Option<String> {
    if path.as_os_str().is_empty() || path.exists() {
        return None;
    }
    let name = path.to_string_lossy();
    Some(match by_other_means(&name) {
        Some(advice) => format!("there is no such file; {advice}"),
        None => {
            let folder = path.parent().filter(|one| !one.as_os_str().is_empty());
            match folder.filter(|folder| !folder.is_dir()) {
                Some(folder) => {
                    format!("no such file or folder, nor is there {}", folder.display())
                }
                None if looks_like_a_path(path) => "no such file or folder".to_string(),
                None => format!("no such file or folder; {NAMELESS}"),
            }
        }
    })
}

const NAMELESS: &str = "models have no names here: give the path of a GGUF file or of a Hugging Face \
                        folder (what Ollama has pulled lies in ~/.ollama/models/blobs, under its digest)";

/// What to do about a model that is named as others name theirs.
fn by_other_means(name: &str) -> Option<String> {
    let repository = |name: &str| {
        let name = name.trim_end_matches('/');
        format!(
            "nothing is downloaded here: hf download {name} --local-dir FOLDER does that (pip install \
             huggingface_hub), then give FOLDER or the GGUF file in it"
        )
    };
    if let Some(path) = name.strip_prefix("file://") {
        return Some(format!("the path alone names it: {path}"));
    }
    let hosts = ["https://", "http://"];
    let address = hosts.iter().find_map(|begin| name.strip_prefix(begin));
    let rest = address.unwrap_or(name);
    let hubs = ["hf.co/", "huggingface.co/", "www.huggingface.co/", "hf://"];
    if let Some(repo) = hubs.iter().find_map(|hub| rest.strip_prefix(hub)) {
        let is_file = repo.contains("/resolve/") || repo.contains("/blob/");
        if address.is_none() || !is_file {
            let mut parts = repo.split(['/', ':']);
            let (owner, repo) = (parts.next()?, parts.next().unwrap_or_default());
            return Some(repository(&format!("{owner}/{repo}")));
        }
    }
    if address.is_some() || name.contains("://") {
        let name = name.replace("/blob/", "/resolve/");
        let what =
            format!("nothing is downloaded here: curl -LO {name} does that, then give the file");
        return Some(what);
    }
    // As in smollm2:135m; on Windows a drive has one letter.
    let is_tagged = name.split_once(':').is_some_and(|(name, tag)| {
        let plain = |text: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
            !text.is_empty() && text.chars().all(known)
        };
        name.len() > 1 && plain(name) && plain(tag) && !tag.contains('/')
    });
    if is_tagged {
        return Some(NAMELESS.to_string());
    }
    // As in org/name: one slash, and no folder of that name.
    let (owner, repo) = name.split_once('/')?;
    let plain = !owner.is_empty() && !owner.starts_with(['.', '~']) && !repo.is_empty();
    let is_repository =
        plain && !repo.contains('/') && !looks_like_a_file(repo) && !Path::new(owner).is_dir();
    is_repository.then(|| repository(name))
}

fn looks_like_a_file(name: &str) -> bool {
    [".gguf", ".safetensors", ".bin", ".json", ".txt"]
        .iter()
        .any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::by_other_means;

    #[test]
    fn names_of_registries_are_known() {
        for (name, says) in [
            ("smollm2:135m", "models have no names"),
            ("qwen2.5-coder:7b-instruct-q4_K_M", "models have no names"),
            ("library/llama3.2:latest", "models have no names"),
            (
                "https://example.org/a/b.gguf",
                "curl -LO https://example.org/a/b.gguf",
            ),
            (
                "hf.co/owner/model-GGUF:Q4_K_M",
                "hf download owner/model-GGUF --local",
            ),
            (
                "huggingface.co/owner/model",
                "hf download owner/model --local",
            ),
            (
                "https://huggingface.co/owner/model/",
                "hf download owner/model --local",
            ),
            (
                "https://huggingface.co/owner/model/blob/main/a.gguf",
                "curl -LO https://huggingface.co/owner/model/resolve/main/a.gguf",
            ),
            ("hf://owner/model", "hf download owner/model --local"),
            ("owner/model", "hf download owner/model --local"),
            ("ollama://x", "curl"),
            ("file:///tmp/x.gguf", "names it: /tmp/x.gguf"),
        ] {
            let advice = by_other_means(name).unwrap_or_default();
            assert!(advice.contains(says), "{name}: {advice}");
        }
        for path in [
            "model.gguf",
            "./model",
            "../model",
            "/models/model",
            "~/models/x",
            "src/model",
            "models/a.gguf",
            "a/b/c",
            r"C:\models\a.gguf",
            "C:/models/a.gguf",
            "",
        ] {
            assert_eq!(by_other_means(path), None, "{path}");
        }
    }
}
