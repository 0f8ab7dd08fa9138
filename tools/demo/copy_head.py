"""Gives a half-trained model heads that look names up, for training to refine.

    python copy_head.py --input build2 --output build3

A model this small, on this little text, learns phrases long before it learns that "said"
is followed by somebody met earlier: the lookup pays off only once both of its halves exist.
So three heads of the last layer begin as a lookup. Their queries fire where a name is
expected and their keys where one stands (both found as linear discriminants of the layer's
input); their values carry which name it is (a ridge regression onto its embedding). One
slowly turning rotary pair holds the match, so that distance hardly matters.
"""

import argparse
import os

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

import corpus
import words
from model import CONFIG, Llama

GROUP = 1  # which key-value head of the last layer, with its query heads
STORIES = slice(1000, 1150)
SCORE = 9.0  # of a name, seen from where a name is expected
GAIN = 40.0  # found by trying 1 to 400: the repeated names' loss is lowest here


def layer_input(model, rows):
    """The last layer's normalized input, and the token at and after each of its rows."""
    kept, tokens, following = [], [], []
    norm = model.blocks[-1].attention_norm
    hook = norm.register_forward_hook(lambda _module, _input, output: kept.append(output[0]))
    for row in rows:
        ids = torch.tensor(row)
        model(ids[None, :-1])
        tokens.append(ids[:-1])
        following.append(ids[1:])
    hook.remove()
    return torch.cat(kept), torch.cat(tokens), torch.cat(following)


def discriminant(states, chosen):
    """The direction that separates the chosen states, and by how much on its own scale."""
    dim = states.shape[1]
    covariance = torch.cov(states.T) + 0.05 * torch.eye(dim) * states.var(0).mean()
    direction = torch.linalg.solve(covariance, states[chosen].mean(0) - states.mean(0))
    along = states @ direction
    return direction, along[chosen].mean() - along[~chosen].mean()


def install(model, rows, names):
    block, dim = model.blocks[-1], CONFIG["hidden_size"]
    width, heads, kv_heads = block.head_dim, block.heads, block.kv_heads
    is_name = torch.zeros(CONFIG["vocab_size"], dtype=torch.bool)
    is_name[names] = True
    states, tokens, following = layer_input(model, rows)
    key, key_gap = discriminant(states, is_name[tokens])
    query, query_gap = discriminant(states, is_name[following])

    at_name = states[is_name[tokens]]
    at_name = at_name - at_name.mean(0)
    embedding = model.embedding.weight
    target = embedding[tokens[is_name[tokens]]] - embedding[names].mean(0)
    identity = torch.linalg.solve(at_name.T @ at_name + 5 * torch.eye(dim), at_name.T @ target)
    left, strength, right = torch.linalg.svd(identity)

    scale = (SCORE * width**0.5) ** 0.5
    pair = width // 2 - 1  # the slowest rotary frequency
    rows_of = lambda head: slice(head * width, (head + 1) * width)
    small = lambda: torch.randn(width, dim) * 0.01
    weight = small()
    weight[pair] = key / key_gap * scale
    block.qkv.weight[rows_of(heads + GROUP)] = weight
    block.qkv.weight[rows_of(heads + kv_heads + GROUP)] = (left[:, :width] * strength[:width].sqrt()).T
    out, shared = right[:width].T * strength[:width].sqrt(), heads // kv_heads
    for head in range(GROUP * shared, (GROUP + 1) * shared):
        weight = small()
        weight[pair] = query / query_gap * scale
        block.qkv.weight[rows_of(head)] = weight
        block.out.weight[:, rows_of(head)] = out * (GAIN / shared)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--stories-seed", type=int, default=7)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(os.path.join(arguments.input, "tokenizer.json"))
    model = Llama()
    model.load_weights(load_file(os.path.join(arguments.input, "model.safetensors")))
    texts = list(corpus.stories(STORIES.stop, arguments.stories_seed))[STORIES]
    end = tokenizer.token_to_id(corpus.SEPARATOR)
    names = torch.tensor([tokenizer.token_to_id("\u0120" + name) for name in words.GIRLS + words.BOYS])
    with torch.no_grad():
        install(model, [[end] + tokenizer.encode(text).ids for text in texts], names)
    os.makedirs(arguments.output, exist_ok=True)
    save_file(model.weights(), os.path.join(arguments.output, "model.safetensors"),
              metadata={"format": "pt"})


if __name__ == "__main__":
    main()
