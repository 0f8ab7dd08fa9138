"""Writes a trained sibling of the demo model and its greedy golden.

    python siblings.py --input build-mamba --rillm ../../target/release/rillm --output ../../assets

The file is `rillm quantize`'s, the golden that of the authors' code on the weights read back
from it: transformers' Mamba and Mixtral, torchscale's RetNet in its parallel form, all in float32.
"""

import argparse
import json
import os
import subprocess
from types import SimpleNamespace

import gguf
import numpy
import torch
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from export import GOLDEN_TOKENS, LAYER_NAMES, heads_of, separate

NAMES = {
    "mamba": {"backbone.embeddings": "token_embd", "backbone.norm_f": "output_norm", "norm": "attn_norm",
              "mixer.in_proj": "ssm_in", "mixer.conv1d": "ssm_conv1d", "mixer.x_proj": "ssm_x",
              "mixer.dt_proj": "ssm_dt", "mixer.A_log": "ssm_a", "mixer.D": "ssm_d", "mixer.out_proj": "ssm_out"},
    "retnet": {"embed_tokens": "token_embd", "layer_norm": "output_norm", "retention_layer_norm": "attn_norm",
               "retention.q_proj": "attn_q", "retention.k_proj": "attn_k", "retention.v_proj": "attn_v",
               "retention.g_proj": "attn_gate", "retention.out_proj": "attn_output",
               "final_layer_norm": "ffn_norm", "ffn.fc1": "ffn_gate", "ffn.gate": "ffn_up", "ffn.fc2": "ffn_down"},
    "mixtral": {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "block_sparse_moe.gate": "ffn_gate_inp",
                **{name: file for name, file in LAYER_NAMES.items() if not name.startswith("mlp.")}},
}
EXPERT_NAMES = {"w1": "ffn_gate_exps", "w2": "ffn_down_exps", "w3": "ffn_up_exps"}
# The name on the command line, the type of the weights, and what rounding to it may lose of a matrix: with
# twice the weights of its siblings, the mixture is stored in half the bits.
FILES = {"mamba": ("mamba", "q8_0", 0.01), "retnet": ("retnet", "q8_0", 0.01), "mixtral": ("moe", "q4_0", 0.1)}


def gguf_name(family, name):
    """The file's name for one of the authors' parameters."""
    before, found, rest = name.rpartition("layers.")
    layer, name = rest.split(".", 1) if found else (None, name)
    ending = next((part for part in (".weight", ".bias") if name.endswith(part)), "")
    known = NAMES[family][name.removesuffix(ending)]
    return (f"blk.{layer}." if found else "") + known + ending


def stored(tensors, family, name, shape, config):
    """One of the authors' parameters as the file has it."""
    _, found, part = name.partition("block_sparse_moe.experts.")
    expert, matrix = part.split(".")[:2] if found else (None, None)
    layer = name.split(".")[2] if found else None
    tensor = tensors[f"blk.{layer}.{EXPERT_NAMES[matrix]}.weight" if found else gguf_name(family, name)]
    weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    weight = weight.reshape(-1, *shape)[int(expert)] if found else weight.reshape(shape)
    heads = heads_of(name, config) if family == "mixtral" else None
    return separate(weight, heads) if heads else weight


def read_back(weights, config, path):
    """The file's parameters under the authors' names, checked against what they were made of."""
    family = config["model_type"]
    _, _, lost = FILES[family]
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    result = {}
    for name, original in weights.items():
        if name.startswith("retnet_rel_pos."):
            result[name] = torch.from_numpy(original)
            continue
        weight = stored(tensors, family, name, original.shape, config)
        if name.endswith("A_log"):
            weight = numpy.log(-weight)
        assert numpy.linalg.norm(weight - original) <= lost * numpy.linalg.norm(original), name
        result[name] = torch.from_numpy(numpy.array(weight, dtype=numpy.float32))
    return result


def mamba(weights, config):
    from transformers import MambaConfig, MambaForCausalLM

    known = {key: value for key, value in config.items() if key not in ("architectures", "model_type")}
    model = MambaForCausalLM(MambaConfig(**known)).eval().float()
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    return lambda ids: model(input_ids=ids, use_cache=False).logits


def mixtral(weights, config):
    from transformers import MixtralConfig, MixtralForCausalLM

    known = {key: value for key, value in config.items() if key not in ("architectures", "model_type")}
    model = MixtralForCausalLM(MixtralConfig(**known, attn_implementation="eager")).eval().float()
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    return lambda ids: model(input_ids=ids, use_cache=False).logits


def retnet(weights, config):
    from torchscale.architecture.retnet import RetNetDecoder

    unused = {"dropout": 0, "activation_dropout": 0, "drop_path_rate": 0, "checkpoint_activations": False, "fsdp": False}
    embedding = torch.nn.Embedding(config["vocab_size"], config["decoder_embed_dim"])
    model = RetNetDecoder(SimpleNamespace(**config, **unused), embed_tokens=embedding).eval()
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and set(missing) <= {"output_projection.weight"}, (missing, unexpected)
    return lambda ids: model(ids)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", required=True)
    parser.add_argument("--rillm", default="../../target/release/rillm")
    parser.add_argument("--output", default="../../assets")
    parser.add_argument("--prompt", default="One day,")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    inside = lambda name: os.path.join(arguments.input, name)

    weights = load_file(inside("model.safetensors"))
    with open(inside("config.json"), encoding="utf-8") as file:
        config = json.load(file)
    family = config["model_type"]
    os.makedirs(arguments.output, exist_ok=True)
    name, mix, _ = FILES[family]
    path = os.path.join(arguments.output, f"demo-{name}.gguf")
    subprocess.run([arguments.rillm, "quantize", arguments.input, path, "-q", mix, "--pure"], check=True)

    models = {"mamba": mamba, "mixtral": mixtral, "retnet": retnet}
    logits = models[family](read_back(weights, config, path), config)
    encoder = Tokenizer.from_file(inside("tokenizer.json"))
    ids = [config["bos_token_id"]] + encoder.encode(arguments.prompt, add_special_tokens=False).ids
    text, margins = list(ids), []
    with torch.no_grad():
        for _ in range(GOLDEN_TOKENS):
            best = logits(torch.tensor([text]))[0, -1].topk(2)
            margins.append(float(best.values[0] - best.values[1]))
            text.append(int(best.indices[0]))
    new_ids = text[len(ids):]
    golden = {"prompt": arguments.prompt, "ids": ids, "greedy_ids": new_ids,
              "greedy_text": encoder.decode(new_ids, skip_special_tokens=False),
              "top_margin": [round(margin, 4) for margin in margins]}
    golden_path = os.path.join(arguments.output, f"demo-{name}-greedy.json")
    with open(golden_path, "w", encoding="utf-8", newline="\n") as file:
        json.dump(golden, file, indent=1, ensure_ascii=False)
        file.write("\n")
    print(f"{path}: {os.path.getsize(path)} bytes; smallest lead {min(margins):.3f}")
    print(arguments.prompt + golden["greedy_text"])


if __name__ == "__main__":
    main()
