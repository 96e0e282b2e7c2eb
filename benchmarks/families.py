"""Try the bare command on every family of which transformers has a sequence classifier.

``python benchmarks/families.py [FAMILY …]`` trains a tiny random model of each family in bf16 by
the default strategy, and writes into ``families.json`` what happened; ``make format`` then renews
the table in the documentation. Without a name it goes on with the families that the file lacks, so
an interrupted one loses nothing; remove the file to begin anew. No network is needed; all of them
take half an hour on a processor without bf16, which emulates it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

import headstart as hs
from headstart.errors import HeadstartError

HERE = Path(__file__).parent
FILE = HERE / "families.json"
sys.path.insert(0, str(HERE.parent / "tests"))
import tiny_families  # noqa: E402  lies in tests
from tiny_runs import BATCH_SIZE, frame  # noqa: E402


def attempt(family: str, folder: Path) -> dict[str, str]:
    """Train a tiny model of a family.

    What is returned has the ``strategy`` and ``precision`` of the run, or ``refused``, the reason.
    """
    settings: Any = {
        "model": str(folder / "model"), "train": frame(16), "validation": frame(16, 1),
        "text": "sentence", "epochs": 1, "batch_size": BATCH_SIZE, "device": "cpu",
        "precision": "bf16",
    }  # fmt: skip
    try:
        tiny_families.save_pretrained(family, folder / "model", weights=False)
        hs.plan(**settings)
    except HeadstartError as error:
        _, family_said, why = error.found.partition(f"of the family {family}, ")
        if family_said:
            return {"refused": why}
    tiny_families.save_pretrained(family, folder / "model")
    result = hs.fit(**settings, out=str(folder / "run"))
    strategy = " > ".join(stage.stage for stage in result.stages)
    return {"strategy": strategy, "precision": result.machine["precision"]}


def main(asked: list[str]) -> None:
    """Try families, or those that the file lacks, and write the file."""
    rows = json.loads(FILE.read_text(encoding="utf-8"))["rows"] if FILE.is_file() else {}
    every = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
    for family in asked or [name for name in every if name not in rows]:
        with tempfile.TemporaryDirectory() as folder:
            rows[family] = attempt(family, Path(folder))
        print(family, rows[family], flush=True)
        record = {"transformers": transformers.__version__, "rows": dict(sorted(rows.items()))}
        FILE.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
