"""Converts every fixture that llama.cpp's converter takes, and holds what rillm makes of the files to the authors'
outputs: `python converted.py LLAMA_CPP RILLM [name ...]`, in the environment of tools/fixtures/transformers5.py.

LLAMA_CPP is a checkout with convert_hf_to_gguf.py, RILLM the program. The converter's step for the vocabulary is left
out, as fixtures have none, and what it asks of a configuration that a class takes for granted is said in its place
(`completed`). Prints a line for each fixture: its error over the RMS, or what was said against it.

Where files differ from the authors' outputs, the converter leaves out what the fixture has otherwise than published
checkpoints: windows of Mistral, Qwen 2, Qwen 3 and StarCoder 2, bases of rotation of Gemma, Phi-2 and StableLM, norms'
epsilons of OLMoE, FalconMamba and ModernBERT, limits of gpt-oss, OLMoE and DBRX, and the like.
"""

import json
import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file

TOOLS = Path(__file__).resolve().parents[1]
FIXTURES = TOOLS.parent / "tests" / "data" / "fixtures"
sys.path.insert(0, str(TOOLS / "fixtures"))
TOLERANCE = 1e-4


def main(checkout, program, wanted):
    sys.path[:0] = [checkout, str(Path(checkout) / "gguf-py")]
    logging.disable(logging.ERROR)
    torch.set_num_threads(1)
    failed = []
    for folder in sorted(FIXTURES.iterdir()):
        if wanted and folder.name not in wanted:
            continue
        with tempfile.TemporaryDirectory() as made:
            said = convert(folder, Path(made))
            if not said:
                said = compare(folder, Path(made) / "model.gguf", program)
        print(folder.name, said, flush=True)
        if said.startswith("FAILED"):
            failed.append(folder.name)
    print(f"failed: {', '.join(failed) or 'none'}")


def convert(folder, made):
    """Why the converter does not take a fixture, if it does not."""
    import gguf
    from conversion import ModelBase, ModelType, get_model_architecture, get_model_class

    import fixture

    entry = json.loads((folder / "weights.json").read_text())
    config = completed(json.loads((folder / "config.json").read_text()))
    (made / "config.json").write_text(json.dumps(config))
    (made / "tokenizer.json").write_text(json.dumps(tokenizer(config)))
    fixture.write_weights(made, entry["seed"], entry["tensors"])
    try:
        with torch.inference_mode():
            hparams = ModelBase.load_hparams(made, False)
            kind = get_model_class(get_model_architecture(hparams, ModelType.TEXT))

            kind.set_vocab = without_vocabulary
            kind(made, gguf.LlamaFileType.ALL_F32, made / "model.gguf", eager=True).write()
    except BaseException as error:  # whatever it is that the converter does not take
        return f"not converted: {type(error).__name__}: {error}".splitlines()[0][:150]
    return None


def completed(config):
    """What the converter looks for, and published configurations say."""
    kind = config.get("model_type")
    said = {
        "cohere2": {"rotary_pct": 1.0},
        "deepseek_v2": {"scoring_func": "softmax"},
        "deepseek_v3": {"scoring_func": "sigmoid"},
        "gpt2": {"n_ctx": config.get("n_positions")},
        "gpt_neox": {"rotary_pct": config.get("rope_parameters", {}).get("partial_rotary_factor", 0.25)},
        "glm4_moe_lite": {"scoring_func": "sigmoid"},
        # The multiple by which the converter checks the inner size.
        "nemotron_h": {"d_head": config.get("mamba_head_dim")},
    }.get(kind, {})
    # One head of keys, whatever their number says.
    if kind == "falcon" and config["multi_query"] and not config["new_decoder_architecture"]:
        config["num_kv_heads"] = 1
    # Layers that guess further tokens are counted, were they there or not.
    if kind and kind.startswith(("qwen3_5", "qwen3_next")):
        said["mtp_num_hidden_layers"] = 1
    return said | config


def tokenizer(config):
    """As many tokens as there are, which the converter counts, and asks of what kind they are."""
    return {"added_tokens": [], "model": {"type": "WordPiece", "vocab": {str(i): i for i in range(vocabulary(config))}}}


def vocabulary(config):
    return config.get("vocab_size") or config.get("padded_vocab_size") or 0


def without_vocabulary(model):
    model.gguf_writer.add_tokenizer_model("none")
    model.gguf_writer.add_vocab_size(vocabulary(model.hparams))


def compare(folder, file, program):
    """The largest error over the RMS among all outputs, at positions that are not masked."""
    expected = load_file(folder / "expected.safetensors")
    worst = 0.0
    for case in json.loads((folder / "cases.json").read_text()):
        (file.parent / "input.json").write_text(json.dumps(case["input"]))
        output = file.parent / "output.safetensors"
        run = [program, "eval", str(file), "--input", str(file.parent / "input.json"), "--output", str(output)]
        done = subprocess.run(run, capture_output=True, text=True)
        if done.returncode:
            return f"FAILED: {case['name']}: {done.stderr.strip().splitlines()[-1][:200]}"
        found = load_file(output)
        for name in case["outputs"]:
            if name not in found:
                return f"FAILED: {case['name']}: no {name}"
            want, got = expected[f"{case['name']}/{name}"].double(), found[name].double()
            mask = case["masks"].get(name)
            if mask:
                keep = torch.tensor(case["input"][mask]).bool()
                want, got = want[keep], got[keep]
            worst = max(worst, ((want - got).abs().max() / want.pow(2).mean().sqrt()).item())
    return f"{worst:.1e}" if worst < TOLERANCE else f"FAILED: differs by {worst:.1e}"


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
