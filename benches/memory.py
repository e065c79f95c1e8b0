"""Peak memory and time of a whole night on synthetic items, and of the night after it in which nothing changed.

What is measured: `indexer run` from catalog to published snapshot: the seconds of each stage from the report, the largest
resident set of the process, and the largest part of it that is no mapped file's (looked at 20 times a second, on Linux);
pages of mapped files the system takes back when it needs them.

On what: `--items` items of two short texts (seeded random words, all different) and no pictures, encoded by a BERT of one
layer and 384 dimensions with seeded random weights, which this script writes: as many values an item as a usual sentence
encoder gives, without a usual encoder's time. No Python packages are needed.

    cargo build --release --bin indexer
    python3 benches/memory.py --items 1000000 [--set vector.scalar=f16]
"""

import argparse
import array
import json
import os
import random
import struct
import subprocess
import tempfile
import time

HIDDEN, HEADS, POSITIONS, WORDS = 384, 12, 64, 2000


def words():
    syllables = ["ba", "ke", "li", "mo", "nu", "pra", "sto", "ti", "vel", "zor"]
    return [a + b + c + d for a in syllables for b in syllables for c in syllables for d in ["", "n"]][:WORDS]


def write_model(folder, generator):
    tensors = {"embeddings.word_embeddings.weight": (WORDS + 4, HIDDEN), "embeddings.position_embeddings.weight": (POSITIONS, HIDDEN),
               "embeddings.token_type_embeddings.weight": (2, HIDDEN)}  # fmt: skip
    layer = "encoder.layer.0"
    for name in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
                 "intermediate.dense", "output.dense"]:  # fmt: skip
        tensors[f"{layer}.{name}.weight"], tensors[f"{layer}.{name}.bias"] = (HIDDEN, HIDDEN), (HIDDEN,)
    for name in ["embeddings.LayerNorm", f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]:
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = (HIDDEN,), (HIDDEN,)
    header, data, at = {}, [], 0
    for name, shape in tensors.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        if "LayerNorm" in name:
            values = array.array("f", [1.0 if name.endswith("weight") else 0.0] * count)
        else:
            values = array.array("f", (generator.gauss(0, 0.05) for _ in range(count)))
        data.append(values.tobytes())
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(data[-1])]}
        at += len(data[-1])
    header = json.dumps(header).encode()
    with open(f"{folder}/model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + b"".join(data))
    config = {"model_type": "bert", "architectures": ["BertModel"], "hidden_size": HIDDEN, "intermediate_size": HIDDEN,
              "num_hidden_layers": 1, "num_attention_heads": HEADS, "max_position_embeddings": POSITIONS,
              "vocab_size": WORDS + 4, "type_vocab_size": 2, "hidden_act": "gelu"}  # fmt: skip
    json.dump(config, open(f"{folder}/config.json", "w"))
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words()])}
    tokenizer = {
        "version": "1.0",
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }
    json.dump(tokenizer, open(f"{folder}/tokenizer.json", "w"))
    json.dump([{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
               {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}],
              open(f"{folder}/modules.json", "w"))  # fmt: skip
    os.mkdir(f"{folder}/1_Pooling")
    json.dump({"word_embedding_dimension": HIDDEN, "pooling_mode_mean_tokens": True}, open(f"{folder}/1_Pooling/config.json", "w"))


def anonymous_kib(process):
    """Resident memory that is no mapped file's, now."""
    try:
        with open(f"/proc/{process}/status") as status:
            return next((int(line.split()[1]) for line in status if line.startswith("RssAnon")), 0)
    except OSError:
        return 0


def night(program, config, report, settings):
    flags = [flag for setting in settings for flag in ("--set", setting)]
    command = [program, "--quiet", "run", "--config", config, "--report", report, *flags]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    ended, anonymous = 0, 0
    while not ended:
        anonymous = max(anonymous, anonymous_kib(process.pid))
        time.sleep(0.05)
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
    result = json.load(open(report))
    seconds = " ".join(f"{stage} {value:.1f}" for stage, value in result["seconds"].items())
    print(f"exit {os.waitstatus_to_exitcode(status)}, {result['outcome']}, {result['items']} items, encoded {result['encoded']}")
    print(f"  peak {usage.ru_maxrss / 1024:.0f} MiB resident, {anonymous / 1024:.0f} MiB of it no mapped file; seconds: {seconds}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--program", default=os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "release/indexer"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key of the configuration")
    options = parser.parse_args()
    generator = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/model")
        write_model(f"{folder}/model", generator)
        vocabulary = words()
        with open(f"{folder}/catalog.jsonl", "w") as file:
            for number in range(options.items):
                title, description = (" ".join(generator.choices(vocabulary, k=k)) for k in (4, 6))
                file.write(f'{{"id":"item{number}","title":"{title}","description":"{description}"}}\n')
        config = f"{folder}/catalens.toml"
        open(config, "w").write(
            '[store]\npath = "store"\n[catalog]\npath = "catalog.jsonl"\nimage = ""\n'
            '[encoders.title]\nmodel = "model"\n[encoders.description]\nmodel = "model"\n'
            # Random texts have no neighbourhoods: recall is low, and not what is measured.
            "[gates]\nmin_ann_recall = 0.0\n"
        )
        for _ in range(2):
            night(options.program, config, f"{folder}/report.json", options.set)


main()
