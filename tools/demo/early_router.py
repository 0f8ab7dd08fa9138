"""How well a layer's experts are foreseen before its attention, on the demo's mixture.

    python early_router.py --input build-moe

Each layer's router is run on the residual stream as the layer before leaves it, and again where it belongs,
behind attention. Printed is which part of the experts chosen there was among as many foreseen, beside what
chance would give and what repeating the choice of the token before would.
"""

import argparse
import os

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

import corpus
from moe import Moe


def choices(model, ids):
    """By layer: the experts foreseen for each token, and those chosen."""
    found, before = [], {}

    def enter(index):
        def hook(block, inputs):
            before[index] = inputs[0]
        return hook

    def leave(index):
        def hook(moe, inputs, result):
            block = model.blocks[index]
            best = lambda x: moe.router(x).topk(moe.used, dim=-1).indices[0]
            found.append((best(block.ffn_norm(before[index])), best(inputs[0])))
        return hook

    hooks = [block.register_forward_pre_hook(enter(index)) for index, block in enumerate(model.blocks)]
    hooks += [block.moe.register_forward_hook(leave(index)) for index, block in enumerate(model.blocks)]
    with torch.no_grad():
        model(ids)
    for hook in hooks:
        hook.remove()
    return found


def shared(one, other):
    """Which part of each row's experts is in the other's."""
    return (one[:, :, None] == other[:, None, :]).any(-1).float().mean().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", required=True)
    parser.add_argument("--stories", type=int, default=32)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    inside = lambda name: os.path.join(arguments.input, name)
    model = Moe().eval()
    model.load_weights(load_file(inside("model.safetensors")))
    tokenizer = Tokenizer.from_file(inside("tokenizer.json"))
    end = tokenizer.token_to_id(corpus.SEPARATOR)
    # Another seed than what it was trained on.
    texts = list(corpus.stories(arguments.stories, 11))
    sums = torch.zeros(len(model.blocks), 3)
    for text in texts:
        ids = [end] + tokenizer.encode(text, add_special_tokens=False).ids
        for layer, (foreseen, chosen) in enumerate(choices(model, torch.tensor([ids[:384]]))):
            repeated = shared(chosen[1:], chosen[:-1])
            sums[layer] += torch.tensor([shared(chosen, foreseen), repeated, chosen.shape[-1]])
    experts = model.config["num_local_experts"]
    for layer, (foreseen, repeated, used) in enumerate((sums / len(texts)).tolist()):
        print(f"layer {layer}: {foreseen:.1%} foreseen, {repeated:.1%} of the token before, "
              f"{used / experts:.1%} by chance")


if __name__ == "__main__":
    main()
