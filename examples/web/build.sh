#!/usr/bin/env bash
# Builds the page into target/web: index.html, the program and a network. Needs rustup and cargo, nothing else.
set -euo pipefail
cd "$(dirname "$0")/../.."
out="$PWD/target/web"

version="$(sed -n 's/^wasm-bindgen = "=\(.*\)"$/\1/p' examples/web/Cargo.toml)"
tool="$(command -v wasm-bindgen || true)"
if [ "$("${tool:-false}" --version 2>/dev/null)" != "wasm-bindgen $version" ]; then
    tool="$PWD/target/tools/bin/wasm-bindgen"
    if [ "$("$tool" --version 2>/dev/null)" != "wasm-bindgen $version" ]; then
        cargo install wasm-bindgen-cli --version "$version" --locked --bin wasm-bindgen --root target/tools
    fi
fi
rustup target list --installed | grep -qx wasm32-unknown-unknown || rustup target add wasm32-unknown-unknown

# Vectors of four floats, which every browser with WebGPU has, and most without.
RUSTFLAGS="-C target-feature=+simd128" cargo build --release --locked --manifest-path examples/web/Cargo.toml \
    --target wasm32-unknown-unknown --target-dir target/web-build
"$tool" --target web --no-typescript --out-dir "$out" target/web-build/wasm32-unknown-unknown/release/thinfer_web.wasm
cp examples/web/index.html examples/models/digits.thin "$out"

wc -c "$out"/*
echo "To see it: python3 -m http.server --directory target/web 8000, then http://localhost:8000"
