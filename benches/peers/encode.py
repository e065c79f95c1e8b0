"""Speed of encoding beside what a user would run instead: all contenders in turn, in one run, with the lowest cosine to
f32 beside every number.

What is measured: texts per second (tokenising included) or pictures per second (ready pixels; `--decode` adds reading and
each contender's own preprocessing). Every contender runs once per round, the rounds go through the contenders in
turn, and the best round of each counts. Loading, export and one warm-up pass are not counted. Cosines are to PyTorch f32.

On what: `texts` takes titles, descriptions, or `mixed`, half titles and half titles with description and features, of
`$CATALENS_SHARED/data/chorus` in a seeded order, and `all-MiniLM-L6-v2`; `pictures` takes the catalog pictures of
grocery and eshop, and a ViT-B/32 CLIP of the published shape with seeded random weights (speed does not depend on them).
`sorted` means batches of 32 by length, `unsorted` batches of 32 as they come, as sentence-transformers sorts by itself it
is sorted in both. `fastembed` is ONNX Runtime called as fastembed calls it: 256 texts as they come, padded to the longest.

    python -m venv peers && peers/bin/pip install torch sentence-transformers transformers onnx onnxruntime onnxscript pillow
    cargo build --release --bench encode
    peers/bin/python benches/peers/encode.py texts --corpus mixed
    peers/bin/python benches/peers/encode.py pictures

`--device cuda` runs PyTorch (sdpa, f16, with and without compile) and Catalens on the card.
"""

import argparse
import glob
import json
import os
import random
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import numpy as np
import torch

BATCH = 32
FASTEMBED_BATCH = 256
PICTURE_BATCH = 8
SHARED = os.environ.get("CATALENS_SHARED", "../shared")


def unit(rows):
    rows = np.asarray(rows, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# ---- corpora ----------------------------------------------------------------------------------------------------------


def chorus(corpus, count, seed):
    rows = [json.loads(line) for line in open(f"{SHARED}/data/chorus/catalog.jsonl", encoding="utf-8")]
    random.Random(seed).shuffle(rows)
    title = lambda row: row["title"]
    description = lambda row: row["description"] or row["title"]
    whole = lambda row: ". ".join([title(row), row["description"] or "", *(row["features"] or [])])
    if corpus == "titles":
        return [title(row) for row in rows[:count]]
    if corpus == "descriptions":
        return [description(row) for row in rows[:count]]
    texts = [title(row) for row in rows[: count // 2]] + [whole(row) for row in rows[count // 2 : count]]
    random.Random(seed + 1).shuffle(texts)
    return texts


def catalog_pictures(count):
    files = []
    for name in ["grocery", "eshop"]:
        folder = f"{SHARED}/data/{name}"
        for line in open(f"{folder}/catalog.jsonl", encoding="utf-8"):
            image = json.loads(line).get("image")
            if image:
                files.append(os.path.abspath(os.path.join(folder, image)))
    return (files * (count // len(files) + 1))[:count]


# ---- contenders: a name, and a pass over the corpus that gives embeddings in the corpus's order -----------------------


class Texts:
    """Contenders for texts; each method returns rows in the corpus's order."""

    def __init__(self, model, texts, device):
        from transformers import AutoModel, AutoTokenizer

        self.model_folder, self.texts, self.device = model, texts, device
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.limit = json.load(open(f"{model}/sentence_bert_config.json"))["max_seq_length"]
        self.torch = {}
        self.load = lambda dtype: AutoModel.from_pretrained(model, attn_implementation="sdpa", dtype=dtype).to(device).eval()

    def tokens(self, texts):
        return self.tokenizer(texts, padding=True, truncation=True, max_length=self.limit, return_tensors="pt")

    def batches(self, ordered, size):
        order = list(range(len(self.texts)))
        if ordered:
            # By length in characters, as sentence-transformers does, so that tokenising stays in the batch.
            order.sort(key=lambda row: -len(self.texts[row]))
        return [order[at : at + size] for at in range(0, len(order), size)]

    def run(self, ordered, size, forward):
        rows = [None] * len(self.texts)
        for batch in self.batches(ordered, size):
            pooled = forward(self.tokens([self.texts[row] for row in batch]))
            for row, vector in zip(batch, pooled):
                rows[row] = vector
        return unit(rows)

    def pytorch(self, kind, ordered):
        if kind not in self.torch:
            if kind == "int8":
                from torch.ao.quantization import quantize_dynamic

                self.torch[kind] = quantize_dynamic(self.load(torch.float32), {torch.nn.Linear}, dtype=torch.qint8)
            elif kind.endswith("compile"):
                self.torch[kind] = torch.compile(self.load(torch.float16), dynamic=True)
            else:
                self.torch[kind] = self.load({"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[kind])
        model = self.torch[kind]

        def forward(tokens):
            tokens = tokens.to(self.device)
            hidden = model(**tokens).last_hidden_state.float()
            mask = tokens["attention_mask"].unsqueeze(-1).float()
            return ((hidden * mask).sum(1) / mask.sum(1)).cpu().numpy()

        with torch.inference_mode():
            return self.run(ordered, BATCH, forward)

    def sentence_transformers(self):
        from sentence_transformers import SentenceTransformer

        if "st" not in self.torch:
            self.torch["st"] = SentenceTransformer(self.model_folder, device=self.device)
        return unit(self.torch["st"].encode(self.texts, batch_size=BATCH, show_progress_bar=False))

    def onnx(self, kind, ordered, size):
        import onnxruntime

        if ("onnx", kind) not in self.torch:
            self.torch["onnx", kind] = onnxruntime.InferenceSession(
                onnx_file(self, kind), session_options(onnxruntime), providers=["CPUExecutionProvider"]
            )
        session = self.torch["onnx", kind]
        names = [one.name for one in session.get_inputs()]

        def forward(tokens):
            arrays = {name: tokens[name].numpy() for name in names}
            hidden = session.run(None, arrays)[0]
            mask = tokens["attention_mask"].numpy()[:, :, None].astype(np.float32)
            return (hidden * mask).sum(1) / mask.sum(1)

        return self.run(ordered, size, forward)


def session_options(onnxruntime):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return options


def onnx_file(texts, kind, folder=tempfile.mkdtemp()):
    path, quantised = f"{folder}/model.onnx", f"{folder}/model.int8.onnx"
    if not os.path.exists(path):
        from transformers import AutoModel

        class Hidden(torch.nn.Module):
            def __init__(self, model):
                super().__init__()
                self.model = model

            def forward(self, input_ids, attention_mask, token_type_ids):
                return self.model(
                    input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
                ).last_hidden_state

        model = Hidden(AutoModel.from_pretrained(texts.model_folder, attn_implementation="eager").eval())
        example = texts.tokens(["one red dress", "two"])
        names = ["input_ids", "attention_mask", "token_type_ids"]
        torch.onnx.export(
            model, tuple(example[name] for name in names), path, input_names=names, output_names=["hidden"],
            dynamic_axes={name: {0: "batch", 1: "length"} for name in [*names, "hidden"]}, opset_version=17, dynamo=False,
        )  # fmt: skip
        # The fusions (attention, layer norm, GELU) that optimum and fastembed's published files have.
        from onnxruntime.transformers import optimizer

        optimizer.optimize_model(path, model_type="bert", num_heads=12, hidden_size=384).save_model_to_file(path)
    if kind == "int8" and not os.path.exists(quantised):
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

        # Shapes are unknown behind the fused operations, and so are types: all are f32.
        options = {"DefaultTensorType": onnx.TensorProto.FLOAT}
        quantize_dynamic(path, quantised, weight_type=QuantType.QInt8, extra_options=options)
    return quantised if kind == "int8" else path


class Pictures:
    """Contenders for pictures."""

    def __init__(self, model, files, device):
        from PIL import Image
        from transformers import CLIPImageProcessorPil as Processor

        self.files, self.device = files, device
        self.processor = Processor.from_pretrained(model)
        self.open = lambda path: Image.open(path).convert("RGB")
        self.model_folder, self.models = model, {}
        self.ready = [self.pixels(files[at : at + PICTURE_BATCH]) for at in range(0, len(files), PICTURE_BATCH)]

    def pixels(self, files):
        return self.processor([self.open(path) for path in files], return_tensors="pt")["pixel_values"]

    def pytorch(self, kind, decode):
        from transformers import CLIPVisionModelWithProjection

        if kind not in self.models:
            dtype = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[kind.split("-")[0]]
            model = CLIPVisionModelWithProjection.from_pretrained(self.model_folder, dtype=dtype, attn_implementation="sdpa")
            model = model.to(self.device).eval()
            self.models[kind] = (torch.compile(model) if kind.endswith("compile") else model, dtype)
        model, dtype = self.models[kind]
        rows = []
        with torch.inference_mode():
            for number, at in enumerate(range(0, len(self.files), PICTURE_BATCH)):
                pixels = self.pixels(self.files[at : at + PICTURE_BATCH]) if decode else self.ready[number]
                rows.append(model(pixel_values=pixels.to(self.device, dtype)).image_embeds.float().cpu().numpy())
        return unit(np.concatenate(rows))


def random_clip(folder):
    """A ViT-B/32 of the published shape with seeded random weights, in the published layout."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(20)
    CLIPModel(CLIPConfig()).save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)
    words = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2}
    tokenizer = {"version": "1.0", "model": {"type": "BPE", "vocab": words, "merges": [], "unk_token": "<|endoftext|>"}}
    json.dump(tokenizer, open(f"{folder}/tokenizer.json", "w"))
    return folder


def catalens(program, model, file, flags):
    """A pass of our own program: its best time comes with its embeddings."""
    with tempfile.NamedTemporaryFile() as out:
        command = [program, "--model", model, *file, "--rounds", "1", "--out", out.name, *flags]
        result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        rows = np.fromfile(out.name, dtype=np.float32).reshape(result["count"], -1)
    return rows, result


# ---- the run ----------------------------------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["texts", "pictures"])
    parser.add_argument("--corpus", choices=["titles", "descriptions", "mixed"], default="mixed")
    parser.add_argument("--count", type=int, help="texts (2000) or pictures (182)")
    parser.add_argument("--model", help="checkpoint; default all-MiniLM-L6-v2, or a random ViT-B/32")
    parser.add_argument("--decode", action="store_true", help="pictures from their files")
    parser.add_argument("--unsorted", action="store_true", help="also in the corpus's order")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--only", help="names of contenders that contain one of these words, comma between")
    parser.add_argument("--catalens", help="the encode bench; default: the newest below target/release/deps")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    os.environ["RAYON_NUM_THREADS"] = str(options.threads)
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    built = [path for path in glob.glob(f"{target}/release/deps/encode-*") if os.access(path, os.X_OK) and "." not in os.path.basename(path)]
    program = options.catalens or (max(built, key=os.path.getmtime) if built else sys.exit("build the encode bench first"))
    device = "cuda:0" if options.device == "cuda" else options.device
    gpu = device != "cpu"

    contenders = {}
    work = tempfile.mkdtemp()
    if options.kind == "texts":
        model = options.model or f"{SHARED}/models/all-MiniLM-L6-v2"
        texts = chorus(options.corpus, options.count or 2000, options.seed)
        peer = Texts(model, texts, device)
        file = f"{work}/texts.jsonl"
        open(file, "w").write("".join(json.dumps(text) + "\n" for text in texts))
        ours, count = ["--texts", file], len(texts)
        contenders["PyTorch sdpa f32, sorted"] = lambda: peer.pytorch("f32", True)
        contenders["sentence-transformers f32"] = peer.sentence_transformers
        halves = ["f16", "f16 compile"] if gpu else ["bf16", "int8"]
        for kind in halves:
            contenders[f"PyTorch sdpa {kind}, sorted"] = lambda kind=kind: peer.pytorch(kind, True)
        if not gpu:
            for kind in ["f32", "int8"]:
                contenders[f"ONNX Runtime {kind}, sorted"] = lambda kind=kind: peer.onnx(kind, True, BATCH)
            contenders["ONNX Runtime f32 as fastembed calls it"] = lambda: peer.onnx("f32", False, FASTEMBED_BATCH)
        if options.unsorted:
            for kind in ["f32", *halves[:1]]:
                contenders[f"PyTorch sdpa {kind}, unsorted"] = lambda kind=kind: peer.pytorch(kind, False)
            if not gpu:
                contenders["ONNX Runtime f32, unsorted"] = lambda: peer.onnx("f32", False, BATCH)
        orders = ["sorted", "unsorted"] if options.unsorted else ["sorted"]
        flags = [(f", {order}", ["--windows", order]) for order in orders]
    else:
        model = options.model or random_clip(f"{work}/vit-b-32")
        files = catalog_pictures(options.count or 182)
        peer = Pictures(model, files, device)
        file = f"{work}/pictures.txt"
        open(file, "w").write("".join(path + "\n" for path in files))
        ours, count = ["--pictures", file], len(files)
        for kind in ["f32", "f16", "f16-compile"] if gpu else ["f32", "bf16"]:
            contenders[f"PyTorch sdpa {kind}"] = lambda kind=kind: peer.pytorch(kind, options.decode)
        flags = [("", ["--decode"] if options.decode else [])]
    for dtype in ["f32", "f16" if gpu else "bf16"]:
        for suffix, extra in flags:
            name = f"Catalens {dtype}{suffix}"
            contenders[name] = lambda dtype=dtype, extra=extra: catalens(
                program, model, ours, ["--dtype", dtype, "--device", device, *extra]
            )
    reference = next(iter(contenders))
    if options.only:
        words = options.only.split(",")
        contenders = {name: run for name, run in contenders.items() if name == reference or any(word in name for word in words)}

    best, rows, tokens = {}, {}, None
    for round_number in range(options.rounds + 1):
        for name, contender in contenders.items():
            begin = time.perf_counter()
            result = contender()
            seconds = time.perf_counter() - begin
            if isinstance(result, tuple):
                result, measured = result
                # Its own clock: starting a process is not encoding.
                seconds, tokens = measured["seconds"], measured["tokens"]
            if round_number > 0:  # the first warms up
                best[name] = min(seconds, best.get(name, seconds))
            rows[name] = result
    unit_name = "texts" if options.kind == "texts" else "pictures"
    print(f"{count} {unit_name}, {tokens} tokens, {options.threads} threads, {device}, best of {options.rounds} rounds in turn, seed {options.seed}")
    print(f"| | {unit_name}/s | to {reference} | lowest cosine |\n| --- | --- | --- | --- |")
    for name, seconds in best.items():
        cosine = float((rows[name] * rows[reference]).sum(1).min())
        print(f"| {name} | {count / seconds:.1f} | {best[reference] / seconds:.2f} | {cosine:.5f} |")


main()
