#!/usr/bin/env bash
# Makes include/rillm.h from src/capi: cargo install cbindgen, then this.
set -euo pipefail
cd "$(dirname "$0")/../.."
joined=$(mktemp --suffix .rs)
trap 'rm -f "$joined"' EXIT
# One file, since cbindgen follows no modules outside of cargo's build; tests are cut off, and
# constants that are not for C.
for file in mod error model text session sequences snapshot generate writer; do
    sed -e '/^#\[cfg(test)\]/,$d' -e '/^\/\/!/d' -e '/^#!\[/d' "src/capi/$file.rs"
done > "$joined"
"${CBINDGEN:-cbindgen}" --quiet --config tools/capi/cbindgen.toml --output include/rillm.h "$joined"
