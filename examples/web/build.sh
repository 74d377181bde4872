#!/usr/bin/env bash
# Builds the page into target/web: index.html, the program and a network. Needs rustup and cargo, nothing else.
set -euo pipefail
cd "$(dirname "$0")/../.."
out="$PWD/target/web"

rustup target list --installed | grep -qx wasm32-unknown-unknown || rustup target add wasm32-unknown-unknown

# Vectors of four floats, which every browser with WebGPU has, and most without.
RUSTFLAGS="-C target-feature=+simd128" cargo build --release --locked --manifest-path examples/web/Cargo.toml \
    --target wasm32-unknown-unknown --target-dir target/web-build
cargo run --release --locked --manifest-path examples/web/bindgen/Cargo.toml --target-dir target/web-build -- \
    target/web-build/wasm32-unknown-unknown/release/thinfer_web.wasm "$out"
cp examples/web/index.html examples/models/digits.thin "$out"

wc -c "$out"/*
echo "To see it: python3 -m http.server --directory target/web 8000, then http://localhost:8000"
