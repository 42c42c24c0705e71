"""The student: two tables whose product scores every item, without any language model."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from retrieval.cf.config import Config
from retrieval.cf.scorer import Arrays, Scorer, TrainingData
from retrieval.data.histories import Histories, strengths
from retrieval.ranking import Columns, Floats
from retrieval.text.facts import Facts


@dataclass(frozen=True)
class StudentConfig(Config):
    """What the tables begin with (`retrieval.cf.twin`).

    strength, noise, sharpness, facts, weak: as for `TextEase`. own: λ of the `Ease` that says what text does not. near:
    what it counts that two texts are close, whatever people do; EASE's weights grow with the events, it does not. flat:
    how far what many texts share is kept from deciding what is close (`retrieval.cf.twin.closeness`).
    """

    strength: float = 30.0
    noise: float = 0.5
    sharpness: float = 1.5
    facts: float = 0.5
    weak: float = 0.4
    own: float = 300.0
    near: float = 0.01
    flat: float = 0.25


class Student(Scorer):
    """``s(u, i) = p_u · v_i + b_i`` with ``p_u`` the direction of ``Σ_j a_j h_j`` over the history.

    h, v (m, q) and b (m,) are one row for each item: what it says of a person who had it, what it is as a candidate,
    and how much everybody likes it; a is 1 for positive events and ``weak`` for others. Items that nobody has had have
    rows from their text alone. People it has never seen are scored by their history; without one, b alone decides.
    """

    name = "student"
    reads_text = True
    config_type: ClassVar[type[Config]] = StudentConfig

    def __init__(self, config: StudentConfig, parts: Floats, vectors: Floats, bias: Floats):
        """parts: h. vectors: v. bias: b."""
        super().__init__(config, len(vectors))
        self.parts = parts
        self.vectors = vectors
        self.bias = bias

    @classmethod
    def fit(cls, data: TrainingData, config: StudentConfig) -> Self:
        """The twin: what the student is before it has learnt anything from a teacher (`retrieval.cf.twin.tables`)."""
        from retrieval.cf.twin import tables  # serving needs none of what it imports

        return cls.of_tables(config, *tables(data, config))

    @classmethod
    def of_tables(cls, config: StudentConfig, parts: Floats, vectors: Floats) -> Self:
        """The twin with these tables: h and v."""
        return cls(config, parts, vectors, np.zeros(len(vectors), dtype=np.float32))

    def people(self, histories: Histories) -> Floats:
        """(n, q) p_u of length 1, or 0 without a history."""
        sums = strengths(histories, self.config.positive_from, self.config.weak) @ self.parts
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        return np.asarray(np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0), dtype=np.float32)

    def _score(self, histories: Histories) -> Floats:
        scores = self.people(histories) @ self.vectors.T
        scores += self.bias
        return np.asarray(scores, dtype=np.float32)

    def taught(self, vectors: Floats, bias: Floats) -> "Student":
        """The same with what was learnt from a teacher."""
        return Student(self.config, self.parts, vectors, bias)

    def grown(self, known: Columns, texts: Floats, facts: Facts) -> "Student":
        """The same with further items, whose rows are predicted from their text and facts.

        known: (m,) the columns that its items have now. texts: (n, d), facts: of all n items.
        """
        from retrieval.text.text_map import predicted  # serving needs none of what it imports

        rows = np.concatenate([self.parts, self.vectors, self.bias[:, None]], axis=1)
        found = predicted(self.config, self.config.noise, texts, facts, known, rows)
        parts, vectors, bias = (np.ascontiguousarray(one) for one in np.split(found, [self.parts.shape[1], -1], axis=1))
        return Student(self.config, parts, vectors, bias[:, 0])

    def arrays(self) -> Arrays:
        """parts, vectors: (m, q). bias: (m,)."""
        return {"parts": self.parts, "vectors": self.vectors, "bias": self.bias}

    @classmethod
    def from_arrays(cls, config: Any, items: int, arrays: Arrays) -> Self:  # noqa: ARG003
        """From `arrays`."""
        return cls(config, arrays["parts"], arrays["vectors"], arrays["bias"])
