"""Writes tests/data/generation.json: what transformers' `generate` writes with tiny models, for many
configurations: greedy and beam search. By transformers 4.57.6, as the fixtures (its README says how).

    python tools/generation/make.py tests/data/generation.json

By transformers 5.24.0, those that read long texts:

    python tools/generation/make.py tests/data/generation_long.json long

The same of many settings of beam search, with more families:

    python tools/generation/make.py tests/data/generation_beams.json beams

By transformers 5.24.0, all of that with the families that are left, and by 4.57.6 with one that 5.24.0
changed:

    python tools/generation/make.py tests/data/generation_more.json more
    python tools/generation/make.py tests/data/generation_routed.json routed
"""

import importlib
import itertools
import json
import sys
import tempfile
import warnings
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fixtures"))
import fixture  # noqa: E402

SOURCES = [[7, 66, 21, 8, 63], [20, 87, 17, 10, 82, 15, 9, 89, 93, 58, 73, 96, 24], [5, 5, 5]]
# Longer than windows, and than what falls into blocks.
LONG_SOURCES = [[(7 + 31 * at * at + 5 * which) % 97 for at in range(41 - which)] for which in range(3)]
# Stands for tokens that a model likes to write, so that texts end at many lengths.
ENDS = "liked"
# Written by `generation_config.json`, on top of an end token, padding and a length.
CONFIGS = [
    {},
    {"num_beams": 1, "max_length": 9},
    {"num_beams": 2},
    {"num_beams": 4},
    {"num_beams": 4, "eos_token_id": ENDS},
    {"num_beams": 4, "eos_token_id": ENDS, "length_penalty": 0.0},
    {"num_beams": 4, "eos_token_id": ENDS, "length_penalty": 2.0, "num_return_sequences": 4},
    {"num_beams": 4, "eos_token_id": ENDS, "length_penalty": -1.0},
    {"num_beams": 3, "eos_token_id": ENDS, "early_stopping": True, "num_return_sequences": 3},
    {"num_beams": 3, "eos_token_id": ENDS, "early_stopping": "never", "length_penalty": 0.6},
    {"num_beams": 3, "eos_token_id": ENDS, "early_stopping": "never", "length_penalty": -0.5},
    {"num_beams": 5, "eos_token_id": ENDS, "min_length": 8, "early_stopping": True},
    {"num_beams": 1, "eos_token_id": ENDS, "min_new_tokens": 6},
    {"num_beams": 1, "no_repeat_ngram_size": 1},
    {"num_beams": 1, "no_repeat_ngram_size": 2},
    {"num_beams": 4, "no_repeat_ngram_size": 3, "eos_token_id": ENDS},
    {"num_beams": 1, "encoder_no_repeat_ngram_size": 1},
    {"num_beams": 4, "encoder_no_repeat_ngram_size": 2},
    {"num_beams": 1, "repetition_penalty": 1.7},
    {"num_beams": 4, "repetition_penalty": 1.3, "eos_token_id": ENDS},
    {"num_beams": 1, "encoder_repetition_penalty": 1.5},
    {"num_beams": 4, "encoder_repetition_penalty": 0.7},
    {"num_beams": 1, "suppress_tokens": list(range(0, 100, 3))},
    {"num_beams": 3, "suppress_tokens": list(range(1, 100, 2)), "begin_suppress_tokens": list(range(40))},
    {"num_beams": 1, "bad_words_ids": [[token] for token in range(30)] + [[token, other] for token in range(30, 60) for other in (30, 40, 50)]},
    {"num_beams": 4, "bad_words_ids": [[0], [1], [2, 3], [4, 5, 6]], "eos_token_id": ENDS},
    {"num_beams": 1, "forced_bos_token_id": 17},
    {"num_beams": 4, "forced_bos_token_id": 17, "forced_eos_token_id": 1, "max_length": 8},
    {"num_beams": 4, "forced_bos_token_id": 17, "begin_suppress_tokens": list(range(50)), "eos_token_id": ENDS},
    {"num_beams": 1, "forced_eos_token_id": [3, 11], "max_length": 7, "eos_token_id": [3, 11]},
    {"num_beams": 4, "exponential_decay_length_penalty": [3, 1.4], "eos_token_id": ENDS},
    {"num_beams": 1, "exponential_decay_length_penalty": [1, 1.9], "eos_token_id": [11, 27]},
    {"num_beams": 4, "renormalize_logits": True, "no_repeat_ngram_size": 1, "eos_token_id": ENDS},
    {"num_beams": 1, "remove_invalid_values": True},
    {"num_beams": 6, "max_new_tokens": 2, "num_return_sequences": 6, "eos_token_id": ENDS},
    {"num_beams": 4, "max_length": 2},
]
BIASES = [[[12], -2.5], [[16], 3.0], [[17, 25], 4.5], [[24, 12], -6.0], [[16, 16, 16], -20.0]]
BIASED = [
    {"num_beams": beams, "sequence_bias": BIASES} | more
    for beams in (1, 4)
    for more in ({}, {"repetition_penalty": 1.3, "no_repeat_ngram_size": 3})
]
def searches():
    """Beams, penalties and ends, each with each; what is forced and may not be repeated by turns."""
    grid = itertools.product((2, 3, 5), (-0.5, 0.6, 2.0), (True, False, "never"))
    for index, (beams, penalty, early) in enumerate(grid):
        config = {"num_beams": beams, "length_penalty": penalty, "early_stopping": early}
        config |= {"eos_token_id": ENDS, "max_new_tokens": 11, "num_return_sequences": 2}
        config |= [{}, {"no_repeat_ngram_size": 2}, {"no_repeat_ngram_size": 3}][index % 3]
        config |= [{}, {"forced_bos_token_id": 17}, {"forced_eos_token_id": 1}, {}][index % 4]
        yield config


# Fixtures that write, by the script that makes them.
WRITERS = {
    "t5": ["t5", "t5_gated"],
    "bart": ["bart", "mbart", "marian"],
    "gpt2": ["gpt2"],
    "qwen": ["qwen3"],
}
LONG_WRITERS = {
    "led": ["led"],
    "bigbird_pegasus": ["bigbird_pegasus"],
    "longt5": ["longt5", "longt5_gated", "longt5_global"],
}
BEAM_WRITERS = {
    "t5": ["t5"],
    "bart": ["bart", "marian", "m2m_100", "pegasus"],
    "led": ["led"],
}
MORE_WRITERS = {
    "prophetnet": ["prophetnet"],
    "t5gemma": ["t5gemma"],
    "bart": ["blenderbot"],
    "blenderbot_small": ["blenderbot_small"],
    "switch": ["switch"],
}
ROUTED_WRITERS = {"nllb_moe": ["nllb_moe"]}
# By the second argument: fixtures, sources, configurations.
KINDS = {
    "usual": (WRITERS, SOURCES, CONFIGS),
    "long": (LONG_WRITERS, LONG_SOURCES, CONFIGS),
    "beams": (BEAM_WRITERS, SOURCES, list(searches())),
    "more": (MORE_WRITERS, SOURCES, CONFIGS[3:] + list(searches())[::2] + BIASED),
    "routed": (ROUTED_WRITERS, SOURCES, CONFIGS[3:] + list(searches())[::2]),
}


def main(path, which="usual"):
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    # Asking a build of torch without CUDA whether it records a graph crashes some of them.
    import transformers.utils.import_utils as imports

    imports.is_cuda_stream_capturing = lambda: False
    torch.cuda.is_current_stream_capturing = lambda: False
    lines = []
    writers, sources, configs = KINDS[which]
    for family, names in writers.items():
        module = importlib.import_module(family)
        # Of ProphetNet, which mixes up what it decodes at once.
        mended = getattr(module, "in_order", lambda model: model)
        for entry in module.FIXTURES:
            if entry.name in names:
                lines += cases(entry, mended, sources, configs)
    Path(path).write_text("[\n" + ",\n".join(lines) + "\n]\n")


def cases(entry, mended, texts, configs):
    with tempfile.TemporaryDirectory() as opened:
        (Path(opened) / "config.json").write_text(json.dumps(entry.config_json()))
        fixture.write_weights(opened, entry.seed, entry.tensors())
        model = mended(entry.open(opened).eval())
    vocabulary = vocabulary_of(model)
    sources = [[token % vocabulary for token in source] for source in texts]
    ends = liked(model, sources)
    for index, config in enumerate(configs):
        source = sources[index % len(sources)]
        decodes = not model.config.is_encoder_decoder
        config = {"eos_token_id": 1, "pad_token_id": 0, "max_new_tokens": 14} | config
        if "max_length" in config:
            del config["max_new_tokens"]
            if decodes:
                config["max_length"] += len(source)
        if decodes:
            # They speak of texts that begin from one token.
            config.pop("forced_bos_token_id", None)
        else:
            config["decoder_start_token_id"] = 0
        if config["eos_token_id"] == ENDS:
            config["eos_token_id"] = ends
        if entry.name == "t5gemma":
            # It hides what it has written itself where that is the padding token.
            config["suppress_tokens"] = [model.config.pad_token_id, *config.get("suppress_tokens", [])]
        written, scores = generate(model, source, config)
        if scores and min(scores) < -1e6:
            # All tokens are forbidden: which of them comes is left open.
            continue
        case = {"fixture": entry.name, "source": source, "config": config}
        yield json.dumps(case | {"written": written, "scores": scores}, separators=(",", ":"))


def liked(model, sources):
    config = {"eos_token_id": vocabulary_end(model), "pad_token_id": 0, "max_new_tokens": 12}
    config |= {"no_repeat_ngram_size": 1, "decoder_start_token_id": 0}
    texts = [generate(model, source, config | {"num_beams": 2})[0][0] for source in sources]
    return sorted({text[at] for text in texts for at in (1, 3, 6, 9) if at < len(text)})


def vocabulary_of(model):
    """Of halves with vocabularies of their own, the smaller one."""
    halves = [getattr(model.config, half, None) for half in ("encoder", "decoder")]
    sizes = [half.vocab_size for half in halves if half is not None]
    return min(sizes, default=model.config.vocab_size)


def vocabulary_end(model):
    return vocabulary_of(model) - 1


def generate(model, source, config):
    from transformers import GenerationConfig

    ids = torch.tensor([source])
    others = {}
    if model.config.model_type == "led":
        # As its authors advise.
        others["global_attention_mask"] = (torch.arange(len(source)) == 0).long()[None]
    # As the folder's file, beside which its config.json says nothing; handed over, it would be mixed with that.
    # The cache takes the decoder for as deep as the encoder, unless it is made here: an expert takes so many
    # of the tokens of a call, so that the cut counts.
    routes = model.config.model_type in ("switch_transformers", "nllb-moe")
    if routes:
        from transformers import DynamicCache, EncoderDecoderCache

        others["past_key_values"] = EncoderDecoderCache(DynamicCache(), DynamicCache())
    model.generation_config = GenerationConfig(**config, use_cache=routes)
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        return_dict_in_generate=True,
        output_scores=True,
        **others,
    )
    beginning = 1 if model.config.is_encoder_decoder else len(source)
    ends = config["eos_token_id"]
    ends = ends if isinstance(ends, list) else [ends]
    written = []
    for row in out.sequences.tolist():
        row = row[beginning:]
        end = next((at for at, token in enumerate(row) if token in ends), len(row))
        written.append(row[:end])
    scores = getattr(out, "sequences_scores", None)
    return written, [] if scores is None else [round(score, 6) for score in scores.tolist()]


if __name__ == "__main__":
    main(*sys.argv[1:])
