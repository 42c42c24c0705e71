"""All scorers by name, and their files."""

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from retrieval.cf.bias_knn import BiasKnn
from retrieval.cf.ease import Ease
from retrieval.cf.ials import Ials
from retrieval.cf.item_knn import ItemKnn
from retrieval.cf.mf import MatrixFactorisation
from retrieval.cf.popularity import Popularity
from retrieval.cf.scorer import Scorer
from retrieval.errors import InputError, ModelError, first_line
from retrieval.text.scorers import Cosine, SoftKnn
from retrieval.text.text_ease import TextEase
from retrieval.text.tower import Tower

SCORERS: dict[str, type[Scorer]] = {
    scorer.name: scorer
    for scorer in (Popularity, ItemKnn, BiasKnn, MatrixFactorisation, Ease, Ials, Cosine, SoftKnn, Tower, TextEase)
}


def save_scorer(scorer: Scorer, folder: Path) -> None:
    """Write ``<name>.json`` (parameters) and ``<name>.safetensors`` (what was learnt) into ``folder``."""
    description = {"name": scorer.name, "items": scorer.items, "parameters": scorer.config.to_json()}
    (folder / f"{scorer.name}.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    arrays = {name: np.ascontiguousarray(values) for name, values in scorer.arrays().items()}
    save_file(arrays, folder / f"{scorer.name}.safetensors")


def load_scorer(name: str, folder: Path) -> Scorer:
    """Read what `save_scorer` wrote.

    Raises:
        ModelError: a file is missing or damaged.
    """
    try:
        description = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        kind = SCORERS[description["name"]]
        config = kind.config_type.from_json(description["parameters"])
        return kind.from_arrays(config, description["items"], load_file(folder / f"{name}.safetensors"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InputError, SafetensorError) as error:
        raise ModelError(f"the scorer {name} in {folder} cannot be read ({first_line(error)})") from error
