"""Writes tests/data/translation.json: what transformers writes for texts with tiny translators, each
with a tokenizer and the ways in which models are told languages. By transformers 4.57.6.

    python tools/generation/translation.py tests/data/translation.json
"""

import json
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import GenerationConfig, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "fixtures"))
import bart  # noqa: E402
import fixture  # noqa: E402
import t5  # noqa: E402

TEXTS = ["w20 w31 w44", "w12 w50 w33 w21 w40 w19 w27", "w55"]


def tokenizer(size, specials, template):
    """Words by number, with these tokens at their places and this template around a text."""
    vocabulary = {f"w{index}": index for index in range(size)}
    for token, index in specials.items():
        del vocabulary[f"w{index}"]
        vocabulary[token] = index
    tokens = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokens.add_special_tokens(list(specials))
    tokens.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=list(specials.items())
    )
    return tokens


def opened(entry, config):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(entry.config_json() | config))
        fixture.write_weights(folder, entry.seed, entry.tensors())
        return entry.open(folder).eval()


def case(entry, specials, template, source, config, settings, prefix="", arguments=(None, None)):
    """`template` as the folder has it and `source` as it is for the language translated from."""
    model = opened(entry, config)
    size = model.config.vocab_size
    written = []
    changed = tokenizer(size, specials, source)
    fast = PreTrainedTokenizerFast(tokenizer_object=changed, eos_token="</s>", pad_token="<pad>")
    for text in TEXTS:
        ids = fast(prefix + text, return_tensors="pt")["input_ids"]
        # Its cache takes the decoder for as deep as the encoder.
        out = model.generate(
            ids, generation_config=GenerationConfig(**settings, use_cache=False)
        )
        written.append(fast.decode(out[0], skip_special_tokens=True))
    return {
        "fixture": entry.name,
        "tokenizer": json.loads(tokenizer(size, specials, template).to_str()),
        "config": config,
        "from": arguments[0],
        "to": arguments[1],
        "written": written,
    }


def main(path):
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    fixtures = {entry.name: entry for entry in bart.FIXTURES + t5.FIXTURES}
    end = {"<unk>": 3, "<pad>": 4, "</s>": 5}
    plain = {"eos_token_id": 5, "pad_token_id": 4, "max_length": 16, "num_beams": 4}
    cases = []

    # mBART: the decoder begins from the language; the source's stands behind it.
    languages = end | {"en_XX": 6, "de_DE": 7, "fr_XX": 8}
    cases.append(
        case(
            fixtures["mbart"], languages, "$A </s> en_XX", "$A </s> fr_XX",
            plain | {"decoder_start_token_id": 6, "forced_eos_token_id": 5},
            plain | {"decoder_start_token_id": 7, "forced_eos_token_id": 5},
            arguments=("fr_XX", "de"),
        )
    )
    # NLLB: the language is forced; the source's stands before it.
    languages = end | {"eng_Latn": 6, "deu_Latn": 7, "srp_Cyrl": 8, "srp_Latn": 9}
    settings = plain | {"decoder_start_token_id": 5, "num_beams": 2}
    cases.append(
        case(
            fixtures["bart"], languages, "eng_Latn $A </s>", "srp_Cyrl $A </s>",
            settings | {"forced_bos_token_id": None, "forced_eos_token_id": None},
            settings | {"forced_bos_token_id": 7},
            arguments=("srp_Cyrl", "deu_Latn"),
        )
    )
    # Marian's models of many languages, and MADLAD: a token before the text.
    for token in [">>{}<<", "<2{}>"]:
        languages = end | {token.format("deu"): 6, token.format("fra"): 7}
        settings = plain | {"decoder_start_token_id": 4, "bad_words_ids": [[4]]}
        cases.append(
            case(
                fixtures["marian"], languages, "$A </s>", "$A </s>",
                settings | {"forced_bos_token_id": None, "forced_eos_token_id": None}, settings,
                prefix=f"{token.format('fra')} ", arguments=(None, "fra"),
            )
        )
    # T5: words, as its tasks say them.
    settings = plain | {"decoder_start_token_id": 4, "num_beams": 1, "no_repeat_ngram_size": 2}
    tasks = {"translation_en_to_fr": {"prefix": "w60 w61 : ", "no_repeat_ngram_size": 1}}
    cases.append(
        case(
            fixtures["t5"], end, "$A </s>", "$A </s>",
            settings | {"task_specific_params": tasks}, settings | {"no_repeat_ngram_size": 1},
            prefix="w60 w61 : ", arguments=("en", "fr"),
        )
    )
    lines = [json.dumps(case, separators=(",", ":")) for case in cases]
    Path(path).write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main(sys.argv[1])
