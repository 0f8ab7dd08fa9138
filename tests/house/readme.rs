//! The README's table of architectures is the list's.

use std::fs;

use rillm::internals::models::ARCHITECTURES;

use super::root;

#[test]
fn the_readme_lists_every_architecture() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (open, close) = ("<!-- architectures -->", "<!-- /architectures -->");
    let table = readme
        .split_once(open)
        .and_then(|(_, rest)| rest.split_once(close))
        .expect("README.md marks its table of architectures")
        .0;
    let mut expected = String::from(
        "| Architecture | Family | GGUF | Hugging Face `model_type` |\n|---|---|---|---|\n",
    );
    let names = |names: &[&str]| {
        let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        match names {
            [] => "–".to_string(),
            _ => quoted.join(", "),
        }
    };
    for architecture in ARCHITECTURES {
        expected.push_str(&format!(
            "| {} | {} | {} | {} |\n",
            architecture.title,
            architecture.family.name(),
            names(architecture.gguf),
            names(architecture.hugging_face)
        ));
    }
    assert_eq!(
        table.trim(),
        expected.trim(),
        "expected between the marks:\n{expected}"
    );
}
