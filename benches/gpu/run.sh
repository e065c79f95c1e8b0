#!/usr/bin/env bash
# Encoding on a CUDA device: does it give the right embeddings, and how fast is it?
#
#   benches/gpu/run.sh [build] [check] [measure]        all three where none is named
#
# build    compiles the indexer and the program `gpu` (encoders/examples/gpu) with flash attention. Needs Rust, a C++
#          compiler and the CUDA toolkit (nvcc); CUDA_COMPUTE_CAP (90 for an H100 or H200) where no GPU tells it.
# check    encodes titles, descriptions and pictures on the device in f32, f16 and bf16 and compares every embedding with
#          f32 on the CPU. The lowest cosine must be 0.9999 (f32) or 0.999 (f16, bf16); exit code 1 otherwise.
# measure  one table: for each number type the rate of a large matrix product (8192 x 8192) through the same library, then
#          items per second of titles, descriptions and pictures, the operations of their matrix products per second, and
#          what share of the measured rate that is. Pictures are measured decoded, and from JPEG files with the shares of
#          time that the device and the processor's cores were busy. Where python3 has torch and transformers, PyTorch
#          (sdpa, f16, with and without compile) does the same titles, descriptions and pixels on the same device.
#
# What is measured: whole passes over the catalog for SECONDS, after one pass to warm up (PyTorch: until the shapes are
# compiled); loading is not counted; embeddings are back on the host. Both encode the same rows in batches of sequences
# sorted by length. The share counts matrix products only (4 h^2 + 2 h i weights a token and layer, and attention).
# On what: CATALOG's first LIMIT rows (JSON Lines with title, description, image). No seed: rows in the file's order.
#
# Environment, with defaults that need nothing but this repository (far too small to say anything about speed):
#   TEXT_MODEL, IMAGE_MODEL   checkpoint folders (fixtures/model)
#   CATALOG                   JSON Lines file, images below its folder (fixtures/catalog.jsonl)
#   DEVICE                    cuda, cuda:N or cpu (cuda)
#   FEATURES                  features of `build` (flash-attn); empty for a build without CUDA
#   LIMIT                     rows (check 256, measure 20000)
#   SECONDS_EACH              seconds for one figure (10)
#   GPU_PROGRAM               the built program, to run where nothing is built (target/release/examples/gpu)
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
text_model=${TEXT_MODEL:-$root/fixtures/model}
image_model=${IMAGE_MODEL:-$root/fixtures/model}
catalog=${CATALOG:-$root/fixtures/catalog.jsonl}
device=${DEVICE:-cuda}
program=${GPU_PROGRAM:-${CARGO_TARGET_DIR:-$root/target}/release/examples/gpu}
on=(--device "$device" --text-model "$text_model" --image-model "$image_model" --catalog "$catalog")

build() {
    local features=${FEATURES-flash-attn}
    # The whole workspace: other selections would build the dependencies a second time.
    (cd "$root" && cargo build --workspace --release --locked ${features:+--features "$features"} --bin indexer --example gpu)
}

check() {
    "$program" check "${on[@]}" --limit "${LIMIT:-256}"
}

measure() {
    local seconds=${SECONDS_EACH:-10}
    "$program" measure "${on[@]}" --limit "${LIMIT:-20000}" --seconds "$seconds"
    if python3 -c 'import torch, transformers' 2>/dev/null; then
        python3 "$root/benches/gpu/peer.py" "${on[@]}" --limit "${LIMIT:-20000}" --seconds "$seconds"
    else
        echo "PyTorch beside it: skipped, python3 has no torch or no transformers"
    fi
}

steps=("$@")
[ ${#steps[@]} -gt 0 ] || steps=(build check measure)
for step in "${steps[@]}"; do
    case $step in
        build | check | measure) "$step" ;;
        *)
            echo "error: \`$step\` is none of build, check, measure" >&2
            exit 2
            ;;
    esac
done
