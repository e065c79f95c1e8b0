"""PyTorch beside Catalens: the same rows through transformers' models with sdpa attention.

Called by run.sh, which says what is measured. Prints rows of the same table. Texts are tokenised before, batched by
tokens after sorting by length and padded inside a batch; pictures are random pixels, as decoding is not measured here.
"""

import argparse
import json
import time

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer

BATCH_TOKENS = 32768  # as DEFAULT_CUDA_BATCH_TOKENS of encoders
BATCH_PICTURES = 128  # as DEFAULT_CUDA_BATCH_PICTURES of encoders
PICTURES = 2048


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("--device", "--text-model", "--image-model", "--catalog"):
        parser.add_argument(name, required=True)
    parser.add_argument("--limit", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    return parser.parse_args()


def timed(seconds, device, one_pass):
    """Whole passes per the least number of seconds, after two to warm up and compile."""
    synchronize = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    with torch.inference_mode():
        one_pass()
        one_pass()
        synchronize()
        begin, passes = time.perf_counter(), 0
        while time.perf_counter() - begin < seconds:
            one_pass()
            synchronize()
            passes += 1
        return passes, time.perf_counter() - begin


def row(what, items, seconds):
    print(f"{what:<32} {'f16':>5} {items:>9} {seconds:>8.2f} {items / seconds:>10.1f}", flush=True)


def batches(lengths):
    """Rows by falling length, cut by tokens after padding."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    batch = []
    for index in order:
        if batch and lengths[batch[0]] * (len(batch) + 1) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def text_pass(model, tokenizer, texts, device):
    longest = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 512))
    ids = tokenizer(texts, truncation=True, max_length=longest)["input_ids"]
    prepared = []
    for batch in batches([len(row) for row in ids]):
        # Padded to a multiple of 8, so that compile sees few shapes.
        width = min(-(-len(ids[batch[0]]) // 8) * 8, longest)
        padded = torch.zeros((len(batch), width), dtype=torch.long)
        mask = torch.zeros_like(padded)
        for place, index in enumerate(batch):
            padded[place, : len(ids[index])] = torch.tensor(ids[index])
            mask[place, : len(ids[index])] = 1
        prepared.append((padded, mask))

    def one_pass():
        for padded, mask in prepared:
            mask = mask.to(device)
            hidden = model(input_ids=padded.to(device), attention_mask=mask).last_hidden_state
            weights = mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * weights).sum(1) / weights.sum(1)
            torch.nn.functional.normalize(pooled.float(), dim=-1).cpu()

    return one_pass


def image_pass(model, size, device):
    pixels = torch.randn((PICTURES, 3, size, size), dtype=torch.float16)

    def one_pass():
        for begin in range(0, PICTURES, BATCH_PICTURES):
            pooled = model(pixel_values=pixels[begin : begin + BATCH_PICTURES].to(device)).pooler_output
            torch.nn.functional.normalize(pooled.float(), dim=-1).cpu()

    return one_pass


def tower(folder, part, device):
    """A checkpoint's text or vision tower, or the whole model where it is a text model."""
    config = AutoConfig.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float16, attn_implementation="sdpa")
    model = getattr(model, part, model)
    return model.to(device).eval(), getattr(config, "vision_config", None)


def main():
    given = arguments()
    with open(given.catalog, encoding="utf-8") as file:
        rows = [json.loads(line) for _, line in zip(range(given.limit), file)]
    print(f"PyTorch {torch.__version__}, f16, sdpa, device {given.device}")
    for compiled in (False, True):
        suffix = ", compiled" if compiled else ""
        prepare = (lambda model: torch.compile(model, dynamic=True)) if compiled else (lambda model: model)
        tokenizer = AutoTokenizer.from_pretrained(given.text_model)
        model, _ = tower(given.text_model, "text_model", given.device)
        model = prepare(model)
        for what, column in (("titles", "title"), ("descriptions", "description")):
            texts = [row[column] for row in rows if row.get(column)]
            one_pass = text_pass(model, tokenizer, texts, given.device)
            passes, seconds = timed(given.seconds, given.device, one_pass)
            row(f"PyTorch {what}{suffix}", passes * len(texts), seconds)
        model, vision = tower(given.image_model, "vision_model", given.device)
        one_pass = image_pass(prepare(model), vision.image_size, given.device)
        passes, seconds = timed(given.seconds, given.device, one_pass)
        row(f"PyTorch pictures, decoded{suffix}", passes * PICTURES, seconds)


if __name__ == "__main__":
    main()
