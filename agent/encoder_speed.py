"""Which backend computes the sentence encoder faster on this machine: `whyrec doctor --bench`."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from agent.models import Models
from agent.settings import Settings
from retrieval.errors import ModelError

if TYPE_CHECKING:
    from retrieval.contracts import Encoder
    from retrieval.ranking import Floats

BACKENDS = ("torch", "onnx-int8")
TEXTS = 256
FEWEST_ROUNDS, MOST_ROUNDS = 3, 9
ENOUGH = 20.0  # seconds; then no further round begins
WORTH = 1.25  # times as fast, for an index to be made anew; less may be chance on a busy machine
SUBJECTS = "Adventure Animation Comedy Crime Documentary Drama Horror Musical Mystery Romance Thriller Western".split()


@dataclass(frozen=True)
class Measured:
    """One backend: how fast it is, how near its vectors are to those of torch, and what to do."""

    backend: str
    texts_per_second: float | None
    mean_cosine: float | None
    lowest_cosine: float | None
    advice: str

    def as_row(self) -> dict[str, object]:
        """The same as plain data."""
        return asdict(self)


def made_up_texts() -> list[str]:
    """Texts like those of items, of 5 to 60 words, always the same."""
    draw = np.random.default_rng(0)
    texts = []
    for number in range(TEXTS):
        genres = ", ".join(draw.choice(SUBJECTS, size=draw.integers(1, 5), replace=False).tolist())
        plot = " ".join(draw.choice(SUBJECTS, size=draw.integers(0, 50)).tolist()).lower()
        texts.append(f"The {genres.partition(',')[0]} of {number} ({1950 + number % 75}). Genres: {genres}. {plot}")
    return texts


def compare_backends(settings: Settings, texts: Sequence[str], say: Callable[[str], None]) -> list[Measured]:
    """Encode ``texts`` with each backend, in turns; one that cannot be had has no figures and says what is missing.

    Raises:
        ModelError: not even torch has the encoder.
    """
    encoders: dict[str, Encoder] = {}
    missing: dict[str, str] = {}
    for backend in BACKENDS:
        chosen = settings.encoder.model_copy(update={"backend": backend})
        try:
            encoders[backend] = Models(settings.model_copy(update={"encoder": chosen}), say).query_encoder
        except ModelError as error:
            if backend == "torch":
                raise
            missing[backend] = str(error)
    vectors = {backend: encoder.encode(texts) for backend, encoder in encoders.items()}  # warms up, too
    rates = _rates(encoders, texts)
    used = settings.encoder.backend
    return [
        Measured(backend, None, None, None, missing[backend])
        if backend in missing
        else _measured(backend, rates, vectors, used)
        for backend in BACKENDS
    ]


def _rates(encoders: "dict[str, Encoder]", texts: Sequence[str]) -> dict[str, float]:
    """Texts per second, the median of rounds.

    All texts are given at once, as when an index is made: torch then puts texts of like length together, and of few
    texts it would mostly compute padding.
    """
    rates: dict[str, list[float]] = {backend: [] for backend in encoders}
    begin = time.perf_counter()
    for number in range(MOST_ROUNDS):
        if number >= FEWEST_ROUNDS and time.perf_counter() - begin > ENOUGH:
            break
        for backend, encoder in encoders.items():
            start = time.perf_counter()
            encoder.encode(texts)
            rates[backend].append(len(texts) / (time.perf_counter() - start))
    return {backend: statistics.median(values) for backend, values in rates.items()}


def _measured(backend: str, rates: dict[str, float], vectors: "dict[str, Floats]", used: str) -> Measured:
    cosines = (vectors[backend] * vectors["torch"]).sum(axis=1)
    return Measured(
        backend,
        round(rates[backend], 1),
        round(float(cosines.mean()), 4),
        round(float(cosines.min()), 4),
        advise(backend, rates, used),
    )


def advise(backend: str, rates: dict[str, float], used: str) -> str:
    """What to do about a backend, where ``used`` is the one that the settings name."""
    state = "in use" if backend == used else "not in use"
    others = [rate for name, rate in rates.items() if name != backend]
    if not others:
        return state
    times = rates[backend] / max(others)
    if times < 1:
        return f"{state}; slower"
    if backend != used and times >= WORTH:
        return f'{times:.1f} times as fast: set backend = "{backend}" under [encoder], then whyrec index --rebuild'
    return f"{state}; {times:.1f} times as fast" + ("" if times >= WORTH else ", not worth a change")
