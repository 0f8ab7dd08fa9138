//! What others wrote is listed with its licence.

use std::fs;

use super::root;

/// Names and versions that `Cargo.lock` holds, without the project's own packages.
fn locked() -> Vec<(String, String)> {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let value = |package: &str, key: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim_matches(['=', ' ', '"']).to_string())
    };
    let packages = lock.split("[[package]]").skip(1);
    let foreign = packages.filter(|package| package.contains("\nsource = "));
    foreign
        .map(|package| {
            let name = value(package, "name").expect("a package has a name");
            let version = value(package, "version").expect("a package has a version");
            (name, version)
        })
        .collect()
}

#[test]
fn every_package_is_listed_with_its_licence() {
    let page = fs::read_to_string(root().join("THIRD-PARTY.md")).unwrap();
    let packages = locked();
    assert!(
        packages.len() > 50,
        "{} packages in Cargo.lock",
        packages.len()
    );
    let missing: Vec<_> = packages
        .iter()
        .filter(|(name, version)| !page.contains(&format!("| {name} | {version} | ")))
        .collect();
    assert!(
        missing.is_empty(),
        "write THIRD-PARTY.md anew (tools/licences/make.py), it lacks {missing:?}"
    );
}
