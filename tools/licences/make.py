"""Writes THIRD-PARTY.md: what the binary and the libraries contain that others wrote.

    python tools/licences/make.py > THIRD-PARTY.md

Asks `cargo metadata`, and takes the licence texts from the packages as cargo has fetched them.
"""

import json
import pathlib
import subprocess
import sys

metadata = json.loads(
    subprocess.check_output(
        ["cargo", "metadata", "--format-version", "1", "--locked", "--all-features"]
    )
)
packages = {package["id"]: package for package in metadata["packages"]}
# What products are made of: no build scripts, no macros, nor what tests alone ask a package for.
tree = ["cargo", "tree", "--workspace", "--locked", "--all-features", "--target", "all"]
tree += ["--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"]
made_of = {
    tuple(line.split()[:2]) for line in subprocess.check_output(tree, text=True).splitlines() if line
}
members = set(metadata["workspace_members"])
inside = {
    at
    for at, package in packages.items()
    if (package["name"], f"v{package['version']}") in made_of and at not in members
}
order = lambda found: sorted(found, key=lambda at: (packages[at]["name"], packages[at]["version"]))


def licence_texts(package):
    """Its licence's texts: of two to choose from, MIT's where there is one."""
    folder = pathlib.Path(package["manifest_path"]).parent
    names = ("LICEN", "COPYING", "NOTICE", "UNLICENSE")
    files = sorted(
        path
        for path in [*folder.iterdir(), *folder.glob("LICENSES/*")]
        if path.is_file() and path.name.upper().startswith(names) or path.parent.name == "LICENSES"
    )
    if "OR" in package["license"]:
        files = [path for path in files if "MIT" in path.name.upper()] or files[:1]
    return [path.read_text(encoding="utf-8").replace("\r\n", "\n").strip() for path in files]


def row(at):
    package = packages[at]
    return f"| {package['name']} | {package['version']} | {package['license']} |"


print(
    """# What others wrote

rillm is licensed under MIT or Apache-2.0, as you choose. Its binary and its libraries contain the
packages below, under the licences that follow; what builds and tests need besides is listed last.
`python tools/licences/make.py > THIRD-PARTY.md` writes this page.

The points that the formats IQ1, IQ2 and IQ3 choose from (`kernels/src/quant/grids.bin`) are those of ggml
(https://github.com/ggml-org/ggml, MIT, Copyright (c) 2023-2026 The ggml authors): numbers that a
file of those types means.

## In the binary

| package | version | licence |
|---|---|---|"""
)
for at in order(inside):
    print(row(at))
print("\n## To build and test\n\n| package | version | licence |\n|---|---|---|")
for at in order(set(packages) - inside - members):
    print(row(at))

texts = {}
for at in order(inside):
    found = licence_texts(packages[at])
    if not found:
        print(f"{packages[at]['name']}: no text of its licence", file=sys.stderr)
    for text in found:
        texts.setdefault(text, []).append(packages[at]["name"])
print("\n## Texts")
for text, names in texts.items():
    print(f"\n### {', '.join(dict.fromkeys(names))}\n\n```text\n{text}\n```")
