"""Runs inside SetFit's own environment: trains on one folder's rows and writes probabilities.

``python _setfit_worker.py FOLDER MODEL SEED MAX_LENGTH``
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments


def main() -> None:
    """Train and predict."""
    folder, model, seed, length = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(1)
    train, judge = (json.loads((folder / f"{n}.json").read_text()) for n in ("train", "judge"))
    names = sorted({row["label"] for row in train})
    began = time.process_time()
    network = SetFitModel.from_pretrained(model)
    network.model_body.max_seq_length = int(length)
    rows = [{"text": row["text"], "label": names.index(row["label"])} for row in train]
    # Its own defaults but for the steps: 20 pairs a row are what its paper trains on.
    pairs = 2 * 20 * len(rows)
    arguments = TrainingArguments(
        batch_size=16, num_epochs=1, seed=seed, max_steps=min(1000, -(-pairs // 16)),
        sampling_strategy="oversampling", report_to="none", output_dir=str(folder / "out"),
    )  # fmt: skip
    trainer = Trainer(model=network, args=arguments, train_dataset=Dataset.from_list(rows))
    trainer.train()
    seconds = time.process_time() - began
    found = network.predict_proba([row["text"] for row in judge], as_numpy=True)
    np.save(folder / "found.npy", np.asarray(found, np.float32))
    (folder / "found.json").write_text(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
