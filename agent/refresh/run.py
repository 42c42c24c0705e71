"""`whyrec refresh`: measure what new events have changed, train again what needs it, and promote what is not worse."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from agent.evaluation.study import Question, Study
from agent.evaluation.watch import Watch
from agent.models import Models
from agent.refresh.artefacts import MODELS, Artefact, Made, Watched, made_of
from agent.refresh.measure import NewestStudy, Quality, gain, quality
from agent.refresh.outcome import Decision, Judged, Refreshed
from agent.refresh.trial import lend, take_back, trial_of, trial_with
from agent.settings import RefreshSettings
from retrieval.artefacts import sync, write_text
from retrieval.data.newest import before_test, newest_split
from retrieval.data.seen import Seen, events_by_part
from retrieval.data.workspace import Workspace
from retrieval.drift import find_clusters, popularity_drift, profile_drift
from retrieval.errors import SplitError, command
from retrieval.ranking import Columns
from retrieval.text.index import open_index
from retrieval.versions import adopt_version, current_version, version_names


@dataclass(frozen=True)
class _Outdated:
    """An artefact that has not seen all events; new: a mask of those that it has not seen."""

    artefact: Artefact
    made: Made
    new: pl.Series


class Refresher:
    """Refreshes the artefacts of a workspace in a folder for trials; the workspace stays as it is until `commit`."""

    def __init__(self, workspace: Workspace, models: Models, rules: RefreshSettings, folder: Path, watch: Watch):
        """``folder``: of `trials`. rules: the thresholds."""
        self._workspace = workspace
        self._models = models
        self._rules = rules
        self._folder = folder
        self._watch = watch
        self._part: Path | None = None
        self._seed = 0
        self._outdated: list[_Outdated] = []
        self._ready: list[tuple[Artefact, Path, bool]] = []

    def run(
        self,
        artefacts: Sequence[Artefact],
        watched: Sequence[Watched] = (),
        part: Path | None = None,
        *,
        seed: int = 0,
        dry: bool = False,
    ) -> list[Refreshed]:
        """A row for each artefact that serves. An artefact may rest on those before it.

        ``part``: a file of further events. dry: nothing is trained.

        Raises:
            IndexMismatchError: there is no index of the items that there are now.
            ModelError: an artefact is damaged, or cannot be trained.
        """
        self._part, self._seed = part, seed
        open_index(self._workspace, self._models.encoder_fingerprint, self._models.settings.chroma.options)
        every: list[Artefact | Watched] = [*artefacts, *watched]
        found = [(one, made) for one in every if (made := made_of(self._workspace.root, one.kind))]
        rows = [self._drifted(one.kind, made) for one, made in found]
        self._outdated = [
            _Outdated(one, made, self._unseen(Seen.from_json(made.config["seen"])))
            for (one, made), row in zip(found, rows, strict=True)
            if not isinstance(one, Watched) and row.new and one.fits(made, self._study)
        ]
        decided = []
        for (one, made), row in zip(found, rows, strict=True):
            decided.append(self._decided(one, made, row, dry=dry))
            self._settle(one, made, decided[-1])
        return decided

    def commit(self) -> None:
        """Let the workspace have the new events and versions."""
        if self._part is not None:
            final = self._workspace.events_path / self._part.name
            sync(self._part)
            self._part.rename(final)
            sync(final.parent)
        for one, made, live in self._ready:
            adopt_version(self._workspace.root / MODELS / one.kind, made, live=live, keep=one.keeps_all)

    @cached_property
    def _whole(self) -> Workspace:
        """With all events."""
        return trial_of(self._workspace, self._folder / "whole", self._part)

    @cached_property
    def _study(self) -> Study:
        return Study(self._whole, self._models.settings, self._models, Question(), self._seed)

    @cached_property
    def _events(self) -> pl.DataFrame:
        return events_by_part(self._whole)

    @cached_property
    def _columns(self) -> Columns:
        """(n,) the column of each event's item."""
        ids = sorted(self._whole.catalog.ids)
        return self._events["item_id"].replace_strict(ids, range(len(ids)), return_dtype=pl.Int64).to_numpy()

    @cached_property
    def _clusters(self) -> Columns:
        return find_clusters(self._study.vectors, self._seed)

    def _unseen(self, seen: Seen) -> pl.Series:
        return self._events.select(seen.is_new(self._whole).alias("new"))["new"]

    def _drifted(self, kind: str, made: Made) -> Refreshed:
        """What is known of an artefact without measuring its quality."""
        row = Refreshed(kind, made.version)
        if "transferred" in made.config:
            return replace(row, decision="not measured", why="its constants come from another workspace")
        if "seen" not in made.config:
            return replace(row, decision="not measured", why="it does not say what events it was made of")
        seen = Seen.from_json(made.config["seen"])
        new = self._unseen(seen).to_numpy()
        row = replace(row, events=seen.events, new=int(new.sum()))
        if not new.any():
            return row
        if new.all():
            return replace(row, decision="not measured", why="none of the events that it was made of is there")
        before, after = self._columns[~new], self._columns[new]
        popularity = popularity_drift(before, after, len(self._whole.catalog))
        return replace(row, popularity=popularity, profile=profile_drift(before, after, self._clusters))

    def _decided(self, one: Artefact | Watched, made: Made, row: Refreshed, *, dry: bool) -> Refreshed:
        if row.decision == "not measured":
            again = made.config["command"] if "transferred" in made.config else self._again(one)
            return replace(row, why=f"{row.why}; make it anew: {again}")
        if row.new == 0:
            return replace(row, decision="up to date")
        drifted = [
            f"PSI of {name} above {self._rules.psi:g}"
            for name, drift in (("popularity", row.popularity), ("profiles", row.profile))
            if drift and drift.passes(self._rules.psi)
        ]
        if isinstance(one, Watched):
            told = f"{' and '.join(drifted)}; not trained here: {self._again(one)}"
            return replace(row, decision="kept", why=told if drifted else "no drift")
        if not one.fits(made, self._study):
            return replace(row, decision="kept", why=f"it is not of the items or vectors of now: {self._again(one)}")
        refused = self._refused(one.kind, made)
        if refused:
            return replace(row, decision="kept", why=f"{refused}, of these events, was refused")
        return self._measured(one, made, row, drifted, dry=dry)

    def _settle(self, one: Artefact | Watched, made: Made, row: Refreshed) -> None:
        """Let the trials of what comes later read what serves from now on.

        What has seen all events is made again as it is without those that are to be predicted, if anything rests on it.
        """
        if row.decision == "promoted" or not self._outdated:
            return
        lend(self._workspace, self._whole, MODELS / one.kind)
        needed = any(one.kind in later.artefact.rests_on for later in self._outdated)
        if needed and row.new == 0 and not isinstance(one, Watched) and one.fits(made, self._study):
            one.complete(made, self._workspace, self._trial, self._watch)
        else:
            lend(self._workspace, self._trial, MODELS / one.kind)

    def _measured(self, one: Artefact, made: Made, row: Refreshed, why: list[str], *, dry: bool) -> Refreshed:
        try:
            now = quality(self._newest, one.system(self._workspace, self._newest))
        except SplitError:
            now = None
        if now is None or not now.tells:
            users = now.users if now else 0
            return replace(row, decision="kept", why=f"too few people to measure on: {users}")
        refreshed = made.config.get("refresh")
        then = float(refreshed["ndcg@10"]) if refreshed else one.reached(made)
        row = replace(row, then=then, now=now)
        if then is not None and now.has_fallen(then, self._rules.fall):
            why = [*why, f"quality fell by more than {self._rules.fall:.0%}"]
        if not why:
            return replace(row, decision="kept", why="no drift")
        row = replace(row, why=" and ".join(why))
        return replace(row, decision="would train") if dry else self._trained(one, made, row, now)

    def _trained(self, one: Artefact, made: Made, row: Refreshed, now: Quality) -> Refreshed:
        """Train without the newest events, compare on them, and make ready what is to be kept."""
        self._watch.note(f"{one.kind}: {row.why}; it is trained again")
        one.train(made, self._trial, self._watch)
        new = quality(self._newest, one.system(self._trial, self._newest))
        found = gain(self._newest, new, now)
        promoted = found.low >= -self._rules.tolerance
        if promoted:
            one.complete(made, self._trial, self._whole, self._watch)
        source = (self._whole if promoted else self._trial).root / MODELS / one.kind
        version = current_version(source) or ""
        decision: Decision = "promoted" if promoted else "refused"
        row = replace(row, decision=decision, judged=Judged(version, new, found))
        self._note(source / version, row)
        ready = source / version
        if not promoted:
            ready = self._folder / "refused" / one.kind / version
            ready.parent.mkdir(parents=True)
            (source / version).rename(ready)
            for trial in (self._trial, self._whole):
                take_back(trial, MODELS / one.kind)
        self._ready.append((one, ready, promoted))
        return row

    def _note(self, folder: Path, row: Refreshed) -> None:
        """Write into its config.json why a version was made and how it was judged."""
        path = folder / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config["refresh"] = {**row.record(), "events": self._whole.events_fingerprint}
        write_text(path, json.dumps(config, indent=1) + "\n")

    def _refused(self, kind: str, made: Made) -> str:
        """The version that was made of these very events to take this one's place, and was refused."""
        folder = self._workspace.root / MODELS / kind
        for version in version_names(folder):
            path = folder / version / "config.json"
            found = json.loads(path.read_text(encoding="utf-8")).get("refresh") if path.is_file() else None
            asked = (self._whole.events_fingerprint, made.version, "refused")
            if found and (found["events"], found["instead_of"], found["decision"]) == asked:
                return version
        return ""

    @cached_property
    def _newest(self) -> NewestStudy:
        """What none of the outdated artefacts has seen, and of it the newest to be predicted."""
        unseen = pl.Series(np.logical_and.reduce([one.new.to_numpy() for one in self._outdated]))
        split = newest_split(self._events, unseen, self._rules.held_out, self._seed)
        trial = trial_with(self._workspace, self._folder / "before", before_test(split))
        return NewestStudy(trial, self._models, split, self._seed)

    @property
    def _trial(self) -> Workspace:
        """Without the events that are to be predicted."""
        return self._newest.workspace

    def _again(self, one: Artefact | Watched) -> str:
        return " && ".join(command(words, self._workspace.root) for words in one.again)
