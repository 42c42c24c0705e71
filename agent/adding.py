"""`whyrec add-items`: further items, recommendable at once by everything that serves."""

from dataclasses import dataclass

import numpy as np

from agent.evaluation.fusing import renew_live
from agent.evaluation.study import Question, Study
from agent.evaluation.watch import Watch
from agent.indexing import bring_up_to_date
from agent.models import Models
from agent.settings import Settings
from agent.stored_student import STUDENT, StoredStudent, current_student, save_student
from retrieval.cf.live import kept_fusion
from retrieval.data.further_items import add_items
from retrieval.data.import_report import ImportReport
from retrieval.data.readers import Table
from retrieval.data.workspace import Workspace
from retrieval.errors import command
from retrieval.text.index import open_index


@dataclass(frozen=True)
class Added:
    """report: on the table. fusion, student: whether there was one of the items before, which knows them all now."""

    report: ImportReport
    fusion: bool
    student: bool


class ItemAdder:
    """Adds items to a workspace: to its catalog, its index, the scorers that serve, and the student."""

    def __init__(self, workspace: Workspace, settings: Settings, models: Models, watch: Watch):
        self._workspace = workspace
        self._settings = settings
        self._models = models
        self._watch = watch

    def add(self, table: Table, overrides: dict[str, str], *, skip_invalid: bool = False) -> Added:
        """Add them; interrupted after the catalog was written, whyrec index, tune, label and distill do the rest.

        Raises:
            InputError: the table cannot be used, or an item is in the catalog already.
            IndexMismatchError: another encoder made the index, or it is not of the catalog.
            ModelError: the encoder cannot be loaded, or what serves is damaged.
        """
        before, root = self._workspace, self._workspace.root
        open_index(before, self._models.encoder_fingerprint, self._settings.chroma.options)
        fusion, student = kept_fusion(root / "models" / "fusion"), current_student(root / STUDENT)
        known = sorted(before.catalog.ids)
        fuses = fusion is not None and fusion.catalog == before.catalog_fingerprint
        fits = student is not None and student.catalog == before.catalog_fingerprint
        _, report = add_items(before, table, overrides, skip_invalid=skip_invalid)
        workspace = Workspace(before.root)
        bring_up_to_date(workspace, self._settings, self._models, self._watch)
        seed = fusion.made["validation"]["seed"] if fusion else 0
        study = Study(workspace, self._settings, self._models, Question(), seed)
        if fusion and fuses:
            renew_live(study, fusion, self._watch)
        elif fusion:
            self._watch.note(f"the fusion was made for other items before already; renew it: {command('tune', root)}")
        if student and fits:
            self._grow(student, known, study)
        elif student:
            again = f"{command('label', root)} && {command('distill', root)}"
            self._watch.note(f"the student was made for other items before already; renew it: {again}")
        return Added(report, fuses, fits)

    def _grow(self, stored: StoredStudent, known: list[str], study: Study) -> None:
        """A new version of the student, with rows for the new items."""
        self._watch.start("Giving the student what their text says", 1)
        ids = sorted(study.workspace.catalog.ids)
        columns = np.searchsorted(np.array(ids, dtype=object), np.array(known, dtype=object))
        grown = stored.student.grown(columns, study.vectors, study.facts)
        made = {**stored.made, "catalog": study.workspace.catalog_fingerprint, "space": study.space}
        for name in ("kind", "format_version", "parameters", "items"):
            made.pop(name)
        save_student(study.workspace.root / STUDENT, grown, made, stored.labelled)
        self._watch.advance()
