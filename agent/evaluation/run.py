"""`whyrec evaluate` from the question to the report."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from agent.evaluation.measure import Measured
from agent.evaluation.output import machine, versions
from agent.evaluation.report import PRIMARY, Row, Rows, comparisons, pooled
from agent.evaluation.seed_run import Account, Plan, SeedRun, unshaped
from agent.evaluation.study import Study
from agent.evaluation.watch import Watch
from agent.models import Models
from agent.settings import Settings
from agent.tuned_study import open_study
from retrieval.data.workspace import Workspace
from retrieval.errors import InputError


class Evaluation:
    """Measures systems on the seeds of a split; what is measured is kept until the report is whole."""

    def __init__(self, workspace: Workspace, settings: Settings, models: Models, plan: Plan, watch: Watch):
        for name in (*plan.systems, *([plan.reference] if plan.reference else [])):
            unshaped(name)
        if plan.reference and plan.systems and plan.reference not in plan.systems:
            raise InputError(f"the reference {plan.reference!r} is not among the systems {', '.join(plan.systems)}")
        self._workspace = workspace
        self._settings = settings
        self._models = models
        self._plan = plan
        self._watch = watch
        self._account = Account()

    def run(self, command: str) -> dict[str, Any]:
        """Measure everything and give the report.

        Raises:
            InputError: a split that the data do not allow, or that leaves nobody to predict for.
            ScoreError: a system gave a score that is not a number.
        """
        runs: dict[str, list[Measured]] = {}
        studies = []
        for seed in range(self._plan.first, self._plan.first + self._plan.seeds):
            study = open_study(self._workspace, self._settings, self._models, self._plan.question, seed)
            studies.append(study)
            for found in self._study(study):
                runs.setdefault(found.system, []).append(found)
        runs = {name: found for name, found in runs.items() if len(found) == self._plan.seeds}
        if not runs:
            raise InputError("no system can be measured on these data")
        if self._plan.reference and self._plan.reference not in runs:
            raise InputError(f"the reference {self._plan.reference!r} cannot be measured on these data")
        return self._report(studies, runs, command)

    def finish(self) -> None:
        """Forget what was kept for a run that is interrupted."""
        for path in self._account.parts:
            path.unlink(missing_ok=True)

    @property
    def _kept(self) -> Path:
        return self._workspace.root / "reports" / ".unfinished"

    def _meta(self, studies: Sequence[Study], runs: dict[str, list[Measured]], command: str) -> dict[str, Any]:
        study, plan = studies[0], self._plan
        figures = pooled(next(iter(runs.values()))).by_user[PRIMARY]
        threshold = study.relevant_from
        split = {str(s.seed): s.split.fingerprint for s in studies}
        return {
            "command": command,
            "data": plan.data,
            "split": study.name,
            "share": plan.question.share,
            "seeds": [s.seed for s in studies],
            "trials": plan.trials,
            "primary": {"metric": PRIMARY.metric, "k": PRIMARY.k},
            "relevant": "any held-out event" if threshold is None else f"value ≥ {threshold:g}",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "fingerprints": {
                "items": self._workspace.catalog_fingerprint,
                "events": self._workspace.events_fingerprint,
                "split": split,
            },
            "versions": versions(),
            "machine": machine(),
            "users": {
                "evaluated": int((~np.isnan(figures)).sum()),
                "without relevant items": int(np.isnan(figures).sum()),
            },
            "parameters": self._account.parameters,
            "rankers": self._account.rankers,
            "notes": self._account.notes,
        }

    def _study(self, study: Study) -> list[Measured]:
        return SeedRun(study, self._plan, self._watch, self._kept, self._account).measured()

    def _report(self, studies: Sequence[Study], runs: dict[str, list[Measured]], command: str) -> dict[str, Any]:
        self._watch.start("Bootstrap", len(runs) + 1)
        study = studies[0]
        rows: list[Row] = []
        for found in runs.values():
            rows += Rows(self._plan.data, study.name).of(found)
            self._watch.advance()
        compared = comparisons({name: pooled(found) for name, found in runs.items()}, self._plan.reference)
        self._watch.advance()
        return {
            "meta": self._meta(studies, runs, command),
            "rows": [asdict(row) for row in rows],
            "comparisons": compared,
        }
