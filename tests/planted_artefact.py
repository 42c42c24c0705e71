"""An artefact that learns from nothing but how often an item was had, to be refreshed."""

import json
from dataclasses import dataclass

import numpy as np

from retrieval.cf.popularity import Popularity, PopularityConfig
from retrieval.data.seen import Seen
from retrieval.versions import current_version, save_version

FOLDER = "models/planted"


@dataclass
class Planted:
    """An artefact that lists what was had most, or least where it learns wrongly; its interface is that of all."""

    wrong: bool = False
    fails: BaseException | None = None
    fails_at: str = ""
    fitting: bool = True
    kind: str = "planted"
    again: tuple[str, ...] = ("plant", "water")
    rests_on: tuple[str, ...] = ()
    keeps_all: bool = False

    def fits(self, _made, study):
        assert len(study.vectors) == len(study.workspace.catalog)
        return self.fitting

    def reached(self, made):
        return made.config["validation"]

    def system(self, workspace, _study):
        folder = workspace.root / FOLDER
        config = json.loads((folder / current_version(folder) / "config.json").read_text())
        return Popularity(PopularityConfig(), np.array(config["counts"], dtype=np.float32))

    def train(self, _made, trial, watch):
        watch.note(f"learns from {len(trial.events().collect())}")
        self._do("train", trial)

    def complete(self, _made, _trial, whole, watch):
        watch.note(f"completes with {len(whole.events().collect())}")
        self._do("complete", whole)

    def _do(self, place, workspace):
        make(workspace, wrong=self.wrong)
        if self.fails_at == place:
            raise self.fails


def make(workspace, *, wrong=False, validation=0.0, **more):
    """A version of the planted artefact from the events of a workspace."""
    had = dict(workspace.events().collect().group_by("item_id").len().iter_rows())
    counts = [had.get(one, 0) * (-1 if wrong else 1) for one in sorted(workspace.catalog.ids)]
    config = {"counts": counts, "validation": validation, "seen": Seen.of(workspace).to_json(), **more}
    return save_version(workspace.root / FOLDER, lambda _: None, config, "planted")
