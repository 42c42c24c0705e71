"""How a student is made of the twin: what it learns from sequences of events, then what a teacher says."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from agent.evaluation.watch import Watch
from retrieval.cf.student import Student
from retrieval.data.sequences import Sequences

if TYPE_CHECKING:
    from finetune.distill import Distillation, TeacherLists
    from finetune.pretraining import Pretraining


@dataclass(frozen=True)
class Lesson:
    """Its steps, in this order; None: it is left out."""

    pretrained: "Pretraining | None"
    taught: "Distillation | None"

    def taught_to(
        self,
        twin: Student,
        sequences: Callable[[], Sequences],
        lists: "Callable[[], TeacherLists]",
        watch: Watch,
        trial: str = "",
    ) -> Student:
        """The student. sequences, lists: give what each step needs. trial: why it is taught if it will not be kept.

        How the losses fell is told of those that will.

        Raises:
            InputError: there is nothing to learn from.
        """
        student = twin
        if self.pretrained is not None:
            from finetune.pretraining import pretrain

            found, how = sequences(), self.pretrained
            if not found.timed and how.next > 0:
                how = replace(how, next=0.0)
                if not trial:
                    watch.note("the events have no times: what comes next is left out of pre-training")
            told = _Told(watch, trial or "Learning from sequences", how.epochs)
            student = pretrain(student, found, how, told)
            told.end(silent=bool(trial))
        if self.taught is not None:
            from finetune.distill import distil

            told = _Told(watch, trial or "Teaching the student", self.taught.epochs)
            student = distil(student, lists(), self.taught, told)
            told.end(silent=bool(trial))
        return student

    @property
    def described(self) -> dict[str, Any]:
        """The steps as plain data."""
        return {
            "pretraining": None if self.pretrained is None else asdict(self.pretrained),
            "teaching": None if self.taught is None else asdict(self.taught),
        }


class _Told:
    """Says how the losses of a step fall."""

    def __init__(self, watch: Watch, what: str, epochs: int):
        self._watch = watch
        self._losses: list[Mapping[str, float]] = []
        watch.start(what, epochs)

    def __call__(self, losses: Mapping[str, float]) -> None:
        self._losses.append(losses)
        self._watch.advance()

    def end(self, *, silent: bool) -> None:
        if silent:
            return
        first, last = self._losses[0], self._losses[-1]
        said = "  ".join(f"{name} {first[name]:.4g} to {value:.4g}" for name, value in last.items())
        self._watch.note(f"loss: {said}")
