"""One split of a workspace's events with all that is learnt and measured on it."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import polars as pl
from scipy.sparse import csr_array

from agent.models import Models
from agent.settings import Settings
from agent.tuned_ranker import HeldOut
from retrieval.artefacts import atomic_folder
from retrieval.cf.scorer import TrainingData
from retrieval.data.histories import Histories
from retrieval.data.sequences import Sequences
from retrieval.data.splits import PARTS, Split, Stage, Task, default_split, make_split
from retrieval.data.workspace import Workspace
from retrieval.errors import SplitError
from retrieval.ranking import Floats
from retrieval.text.chroma import has_collection
from retrieval.text.facts import Facts
from retrieval.text.index import ItemIndex, open_index
from retrieval.text.spread import Spread

Relevance = Literal["liked", "any"]


@dataclass(frozen=True)
class Question:
    """What is asked of a split: its name (None: the most honest one that the times allow), how many users, what counts.

    relevant: ``liked``, held-out events of at least `events.liked_from`; ``any``, every held-out event. users: at most
    so many are predicted for, drawn at random; None means all. share: of the users that are known before the test.
    """

    split: str | None = None
    relevant: Relevance = "liked"
    users: int | None = None
    share: float = 1.0


class Study:
    """A split with its seed, and the scorers fitted on its parts."""

    def __init__(self, workspace: Workspace, settings: Settings, models: Models, question: Question, seed: int):
        self.workspace = workspace
        self.settings = settings
        self.models = models
        self.question = question
        self.seed = seed
        self.name = question.split or default_split(workspace.times)
        young = "" if question.share == 1 else f"-{question.share:g}"
        self.label = f"{self.name}-{seed}{young}"

    @cached_property
    def split(self) -> Split:
        """The split; written to ``splits/<label>/`` with its fingerprint.

        Raises:
            SplitError: the events do not allow it.
        """
        split = make_split(
            self.name, self.workspace.events().collect(engine="streaming"), self.seed, self.workspace.times
        )
        if self.question.share < 1:
            split = split.young(self.question.share)
        folder = self.workspace.root / "splits" / self.label
        description = {"name": self.name, "seed": self.seed, "fingerprint": split.fingerprint, "events": split.sizes()}
        text = json.dumps(description, indent=1) + "\n"
        known = folder / "split.json"
        if not known.is_file() or known.read_text(encoding="utf-8") != text:
            with atomic_folder(folder, replace=True) as work:
                split.events.write_parquet(work / "events.parquet")
                (work / "split.json").write_text(text, encoding="utf-8")
        return split

    @cached_property
    def validations(self) -> list["Study"]:
        """What parameters are chosen on: this study, and others that validate on other items or earlier."""
        return [self, *(one for one in map(self.on, self.split.validations()[1:]) if one.asks)]

    def on(self, split: Split) -> "Study":
        """A study of these events that are cut otherwise, or of some of them."""
        return _Fold(self, split)

    @property
    def asks(self) -> bool:
        """Whether there is something to be found in validation."""
        try:
            return bool(self.relevant(self.task("validation")).nnz)
        except SplitError:
            return False

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the split, of the items' text and of what counts as relevant."""
        text = self.space if self.has_text else ""
        data = (self.split.fingerprint, self.workspace.catalog_fingerprint, text)
        parts = (*data, self.question.relevant, self.settings.events.liked_from)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    @cached_property
    def held_out(self) -> HeldOut:
        """What is to be measured here, as those who may have seen it are asked."""
        catalog = self.workspace.catalog
        return HeldOut(catalog.fingerprint, self.workspace.all_events, self.split.fingerprint, catalog.sketch)

    @property
    def relevant_from(self) -> float | None:
        """The value from which a held-out event is to be found; None: every one is."""
        return self.settings.events.liked_from if self.question.relevant == "liked" else None

    def task(self, stage: Stage) -> Task:
        """What to learn from and what to predict; in the test for at most as many users as are asked for."""
        task = self._tasks(stage)
        if stage == "validation" or self.question.users is None:
            return task
        return task.sample(self.question.users, self.seed)

    def _tasks(self, stage: Stage) -> Task:
        return self._validation if stage == "validation" else self._test

    @cached_property
    def _validation(self) -> Task:
        return self.split.task("validation", self.workspace.catalog.ids)

    @cached_property
    def _test(self) -> Task:
        return self.split.task("test", self.workspace.catalog.ids)

    def relevant(self, task: Task) -> csr_array:
        """(n, m) the held-out items to be found."""
        return task.relevant(self.relevant_from)

    @cached_property
    def vectors(self) -> Floats:
        """(m, d) the text of each item, by column.

        Raises:
            IndexMismatchError: there is no index of these items.
        """
        return self._index.vectors(sorted(self.workspace.catalog.ids))

    @property
    def untuned_vectors(self) -> Floats:
        """(m, d) the same by an encoder that no event has changed."""
        return self.vectors

    @cached_property
    def spread(self) -> Spread:
        """How far the vectors spread, as the index has it."""
        return self._index.spread

    @property
    def space(self) -> str:
        """What the vectors can be compared with (`ItemIndex.space`)."""
        return self._index.space

    @cached_property
    def _index(self) -> ItemIndex:
        return open_index(self.workspace, self.models.encoder_fingerprint, self.settings.chroma.options)

    @cached_property
    def has_text(self) -> bool:
        """Whether there is an index, without which scorers of text are left out."""
        return has_collection(self.workspace.index_path, self.settings.chroma.options)

    def training_data(self, stage: Stage) -> TrainingData:
        """What a scorer may learn from in this stage."""
        return self.data_of(self._tasks(stage).train)

    def data_of(self, histories: Histories) -> TrainingData:
        """What a scorer may learn from where these are all events there are."""
        return self._data(histories)

    def everything(self) -> TrainingData:
        """All events, for what is to serve after the parameters are fixed."""
        histories = Histories.from_events(self.split.events, sorted(self.workspace.catalog.ids))
        return self._data(histories)

    def sequences(self, stage: Stage | None) -> Sequences:
        """In what order the events of `training_data` happened; None: those of `everything`."""
        events = self.split.events if stage is None else self.split.before(stage)
        return Sequences.from_events(events, sorted(self.workspace.catalog.ids))

    def _data(self, histories: Histories) -> TrainingData:
        if not self.has_text:
            return TrainingData(histories, None, self.seed, self.facts)
        return TrainingData(histories, self.vectors, self.seed, self.facts, self.spread)

    @cached_property
    def facts(self) -> Facts:
        """What the catalog's fields say of each item, by column."""
        return Facts.of(self.workspace.catalog, sorted(self.workspace.catalog.ids))

    @cached_property
    def value_matters(self) -> bool:
        """Whether some events before the test count as liked and others do not."""
        values = self.split.events.filter(pl.col("part").is_in(PARTS[:3]))["value"]
        threshold = self.settings.events.liked_from
        return bool((values >= threshold).any() and (values < threshold).any())


class _Fold(Study):
    """A study of the events of another, cut otherwise."""

    def __init__(self, study: Study, split: Split):
        super().__init__(study.workspace, study.settings, study.models, study.question, study.seed)
        self._study, self._split = study, split

    @cached_property
    def split(self) -> Split:
        return self._split

    @cached_property
    def vectors(self) -> Floats:
        return self._study.vectors

    @cached_property
    def facts(self) -> Facts:
        return self._study.facts
