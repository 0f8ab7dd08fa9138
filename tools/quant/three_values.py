"""Writes tests/data/three_values/: tiny models whose linear layers are transformers' BitNet ones, packed and not, and
what transformers 5 answers: `python three_values.py` in the environment of tools/fixtures/transformers5.py.

Inputs are rounded to int8, so that a float's noise could move one by a whole step: seeds are taken in turn until no
value stands near the middle between two steps."""

import json
import tempfile
from pathlib import Path

import torch
import transformers.integrations.bitnet as bitnet
from safetensors.torch import save_file
from transformers import BitNetConfig, BitNetForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.utils.quantization_config import BitNetQuantConfig

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "data" / "three_values"
VOCABULARY = 41
SIZES = dict(vocab_size=VOCABULARY, hidden_size=24, intermediate_size=40, num_hidden_layers=2, max_position_embeddings=64)
SIZES |= dict(num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=3e-3, tie_word_embeddings=False)
SIZES |= dict(bos_token_id=1, eos_token_id=2, rope_parameters={"rope_type": "default", "rope_theta": 500.0})
INPUTS = [
    {"input_ids": [[3, 17, 5, 40, 8, 23, 5, 11, 30]]},
    {"input_ids": [[7, 12, 33, 9, 21], [4, 28, 0, 0, 0]], "attention_mask": [[1] * 5, [1, 1, 0, 0, 0]]},
]
STEP_MARGIN = 1.5e-4  # of a step, between a value and the middle of two
VALUE_MARGIN = 1e-5  # the same of weights over their mean

# What their quantization_config says, and which class they are of.
OFFLINE = {"linear_class": "autobitlinear", "quantization_mode": "offline"}
ONLINE = {"linear_class": "autobitlinear", "quantization_mode": "online"}
MODELS = {
    "packed": (BitNetForCausalLM, BitNetConfig, OFFLINE),
    "unpacked": (BitNetForCausalLM, BitNetConfig, OFFLINE),
    "online": (BitNetForCausalLM, BitNetConfig, ONLINE),
    "divided": (LlamaForCausalLM, LlamaConfig, {"linear_class": "bitlinear", "quantization_mode": "offline"}),
}


def linear_layers(model):
    layers = ((name, module) for name, module in model.named_modules())
    return [(name, module) for name, module in layers if isinstance(module, bitnet.BitLinear | bitnet.AutoBitLinear)]


def fill(name, seed):
    """The model, and its checkpoint."""
    kind, config, quantization = MODELS[name]
    torch.manual_seed(seed)
    plain = kind(config(**SIZES))
    state = {}
    for key, value in plain.state_dict().items():
        noise = torch.randn(value.shape)
        state[key] = 1.0 + 0.2 * noise if "norm" in key else noise * (0.3 if "proj" in key else 0.6)
    model = kind(config(**SIZES))
    bitnet.replace_with_bitnet_linear(model, ["lm_head"], BitNetQuantConfig(**quantization))
    for key, module in linear_layers(model):
        packed = isinstance(module, bitnet.BitLinear)
        rows, columns = module.out_features, module.in_features
        weight, scale = state[f"{key}.weight"], torch.empty(1).uniform_(0.15, 0.35)
        values = torch.randint(-1, 2, (rows, columns)).float()
        if name != "online":
            weight = bitnet.pack_weights(values.clone()) if packed else values
            scale = 1.0 / scale if packed else scale
            # As published: in the type of the checkpoint.
            state[f"{key}.weight_scale"] = scale.bfloat16()
            state[f"{key}.weight"] = bitnet.pack_weights(values.clone()) if name == "packed" else weight
            if name == "unpacked":
                state[f"{key}.weight"] = weight.bfloat16()
            module.weight_scale = torch.nn.Buffer(scale.bfloat16().float())
        if packed:
            module.dtype = torch.float32
            module.weight = torch.nn.Buffer(weight)
        else:
            module.weight = torch.nn.Parameter(weight.float(), requires_grad=False)
    rest = {key: value for key, value in state.items() if key in dict(model.named_parameters())}
    linear = {f"{key}.weight" for key, _ in linear_layers(model)}
    with torch.no_grad():
        for key, value in model.named_parameters():
            if key not in linear:
                value.copy_(rest[key])
    model.config._attn_implementation = "eager"
    return model.eval(), state


def near_middle(values, margin):
    return ((values - values.floor() - 0.5).abs() < margin).any().item()


def clear(name, model):
    """Whether no rounding is near the middle, of inputs and of weights."""
    near = []

    def look(module, inputs):
        x = inputs[0].reshape(-1, inputs[0].shape[-1])
        near.append(near_middle(x * 127 / x.abs().max(-1, keepdim=True).values, STEP_MARGIN))

    hooks = [module.register_forward_pre_hook(look) for _, module in linear_layers(model)]
    answers = run(model)
    for hook in hooks:
        hook.remove()
    if name == "online":
        weights = [module.weight for _, module in linear_layers(model)]
        near += [near_middle(weight / weight.abs().mean(), VALUE_MARGIN) for weight in weights]
    return None if any(near) else answers


def run(model):
    with torch.no_grad():
        tensors = [{key: torch.tensor(value) for key, value in case.items()} for case in INPUTS]
        return [model(**case, use_cache=False).logits.contiguous() for case in tensors]


def main():
    torch.set_num_threads(1)
    torch.cuda.is_current_stream_capturing = lambda: False
    for name, (kind, _, quantization) in MODELS.items():
        for seed in range(1000):
            model, state = fill(name, seed)
            answers = clear(name, model)
            if answers:
                break
        folder = FOLDER / name
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as saved:
            model.config.architectures = [kind.__name__]
            model.config.save_pretrained(saved)
            config = json.loads((Path(saved) / "config.json").read_text())
        config["quantization_config"] = {"quant_method": "bitnet"} | quantization
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "inputs.json").write_text(json.dumps(INPUTS) + "\n")
        save_file({f"{index}": answer for index, answer in enumerate(answers)}, folder / "expected.safetensors")
        print(name, "seed", seed, "rms", [round(answer.pow(2).mean().sqrt().item(), 2) for answer in answers])


if __name__ == "__main__":
    main()
