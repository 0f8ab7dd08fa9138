"""Writes the trained model as `demo.gguf` and its greedy golden as `demo-greedy.json`.

    python export.py --input build --output ../../assets

The golden comes from transformers running on the weights read back from the written file:
dequantized, un-permuted, in float32. The same folder in gives the same bytes out.
"""

import argparse
import json
import os

import gguf
import numpy
import torch
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

LAYER_NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}
TOP_NAMES = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
GOLDEN_TOKENS = 64


def gguf_name(name):
    if name in TOP_NAMES:
        return TOP_NAMES[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{LAYER_NAMES[rest.removesuffix('.weight')]}.weight"


def heads_of(name, config):
    """How many heads the rows of a rotated matrix belong to; none for the others."""
    if name.endswith("q_proj.weight"):
        return config["num_attention_heads"]
    return config["num_key_value_heads"] if name.endswith("k_proj.weight") else None


def interleave(weight, heads):
    """From rotation pairs (i, i + half) to pairs (2i, 2i + 1), the order GGUF's llama has."""
    half = weight.shape[0] // heads // 2
    return weight.reshape(heads, 2, half, -1).swapaxes(1, 2).reshape(weight.shape)


def separate(weight, heads):
    """The inverse of `interleave`."""
    half = weight.shape[0] // heads // 2
    return weight.reshape(heads, half, 2, -1).swapaxes(1, 2).reshape(weight.shape)


def write(weights, config, tokenizer, path):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("rillm demo stories")
    writer.add_description("A very small LLaMA that tells little children's stories; "
                           "trained on text grown from a grammar kept with its source.")
    writer.add_license("MIT OR Apache-2.0")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)

    vocabulary = tokenizer["model"]["vocab"]
    tokens = sorted(vocabulary, key=vocabulary.get)
    assert [vocabulary[token] for token in tokens] == list(range(config["vocab_size"]))
    special = {added["content"] for added in tokenizer["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL
                            for token in tokens])
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge)
                             for merge in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(True)

    for name, weight in weights.items():
        heads = heads_of(name, config)
        if heads:
            weight = interleave(weight, heads)
        if weight.ndim == 1:
            writer.add_tensor(gguf_name(name), weight.astype(numpy.float32))
        else:
            packed = gguf.quants.quantize(weight, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(gguf_name(name), packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_back(weights, config, path):
    """The file's weights in float32 under their first names, checked against the originals."""
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    assert len(tensors) == len(weights)
    result = {}
    for name, original in weights.items():
        tensor = tensors[gguf_name(name)]
        assert list(tensor.shape) == list(reversed(original.shape)), name
        weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(original.shape)
        heads = heads_of(name, config)
        if heads:
            weight = separate(weight, heads)
        # Rounding to the nearest step errs by half of it; a step is 1/127 of the block's largest.
        blocks = numpy.abs(original).reshape(-1, 32).max(axis=1, keepdims=True)
        error = numpy.abs(weight - original).reshape(-1, 32)
        assert (error <= blocks * (0.51 / 127 + 2**-10)).all(), name
        result[name] = torch.from_numpy(numpy.array(weight, dtype=numpy.float32))
    return result


def load(weights, config):
    known = {key: value for key, value in config.items() if key not in ("architectures", "model_type")}
    model = LlamaForCausalLM(LlamaConfig(**known, attn_implementation="eager")).eval().float()
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    return model


def greedy(model, ids, tokens):
    """New ids, and by how much each one led the next best logit. The whole text every step."""
    ids, margins, begin = list(ids), [], len(ids)
    with torch.no_grad():
        for _ in range(tokens):
            best = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].topk(2)
            margins.append(float(best.values[0] - best.values[1]))
            ids.append(int(best.indices[0]))
    return ids[begin:], margins


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", default="build")
    parser.add_argument("--output", default="../../assets")
    parser.add_argument("--prompt", default="One day,")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    inside = lambda name: os.path.join(arguments.input, name)

    weights = load_file(inside("model.safetensors"))
    with open(inside("config.json"), encoding="utf-8") as file:
        config = json.load(file)
    with open(inside("tokenizer.json"), encoding="utf-8") as file:
        tokenizer = json.load(file)
    os.makedirs(arguments.output, exist_ok=True)
    path = os.path.join(arguments.output, "demo.gguf")
    write(weights, config, tokenizer, path)

    model = load(read_back(weights, config, path), config)
    encoder = Tokenizer.from_file(inside("tokenizer.json"))
    ids = [config["bos_token_id"]] + encoder.encode(arguments.prompt, add_special_tokens=False).ids
    new_ids, margins = greedy(model, ids, GOLDEN_TOKENS)
    golden = {"prompt": arguments.prompt, "ids": ids, "greedy_ids": new_ids,
              "greedy_text": encoder.decode(new_ids, skip_special_tokens=False),
              "top_margin": [round(margin, 4) for margin in margins]}
    with open(os.path.join(arguments.output, "demo-greedy.json"), "w", encoding="utf-8", newline="\n") as file:
        json.dump(golden, file, indent=1, ensure_ascii=False)
        file.write("\n")
    print(f"{path}: {os.path.getsize(path)} bytes; smallest lead {min(margins):.3f}")
    print(arguments.prompt + golden["greedy_text"])


if __name__ == "__main__":
    main()
