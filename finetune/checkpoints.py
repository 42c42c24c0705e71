"""The state of training on disk, without pickles: what was learnt, AdamW's moments and the number of steps."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from retrieval.errors import WorkspaceError, first_line

NOTES = "notes"
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def save_checkpoint(
    path: Path, step: int, learnt: Mapping[str, nn.Parameter], optimizer: torch.optim.AdamW, notes: str = ""
) -> None:
    """Write all that is needed to go on, and ``notes``, so that the file is there whole or not at all."""
    arrays = {"step": torch.tensor([step])}
    for name, value in learnt.items():
        arrays[f"value {name}"] = value.detach().clone()
        moments = optimizer.state[value]
        arrays |= {f"{key} {name}": moments[key].clone() for key in MOMENTS}
    work = path.with_name(f".{path.name}.part")
    save_file(arrays, work, metadata={NOTES: notes})
    work.replace(path)


def load_checkpoint(path: Path, learnt: Mapping[str, nn.Parameter], optimizer: torch.optim.AdamW) -> tuple[int, str]:
    """Put back what `save_checkpoint` wrote; the number of steps, and the notes.

    Raises:
        WorkspaceError: it cannot be read, or is of another model.
    """
    try:
        with safe_open(path, "pt") as file:
            notes = (file.metadata() or {})[NOTES]
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        with torch.no_grad():
            for name, value in learnt.items():
                value.copy_(arrays[f"value {name}"])
                moments = {key: arrays[f"{key} {name}"] for key in MOMENTS}
                optimizer.state[value] = {
                    key: moment if key == "step" else moment.to(value.device) for key, moment in moments.items()
                }
        return int(arrays["step"][0]), notes
    except (OSError, KeyError, RuntimeError, SafetensorError) as error:
        raise WorkspaceError(f"{path} cannot be read ({first_line(error)}); tune again without --resume") from error
