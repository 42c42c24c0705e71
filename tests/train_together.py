"""Trains a tiny ranker as one of several processes: `python train_together.py MODEL_FOLDER OUTPUT PROCESSES`."""

import sys
from pathlib import Path

from safetensors.torch import save_file
from test_lora import trainer

from finetune.language_model import load_language_model


def main(model: Path, output: Path, processes: int) -> None:
    """Take six steps; the first process writes what was learnt."""
    tuned = trainer(load_language_model(model, model / "cache", device="cpu", precision="float32"), steps=6, lists=4)
    if tuned._accelerator.num_processes != processes:
        sys.exit(f"{tuned._accelerator.num_processes} processes know of each other")
    tuned.run(6)
    if tuned.is_first:
        save_file(tuned.adapter(), output)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
