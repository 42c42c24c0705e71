"""A remote language model as a writer: it words explanations, with slots where the facts go."""

import re
import zlib
from collections.abc import Callable, Sequence

from agent.remote.endpoint import Endpoint
from finetune.wording import Draft, SentenceWriter, WritingRequest, fitting
from prompts import alternatives, free, render, wordings
from retrieval.errors import RemoteError

COUNT = 12  # sentences that are asked for, once for each shape of evidence
LONGEST = 1_000  # tokens of them all
_NUMBERED = re.compile(r"^(?:[-*•]|\d+[.)])\s+")


class RemoteWriter:
    """Writes as `LMWriter` does. It is told the kind of evidence and nothing of any item, person or workspace.

    What it writes counts where the grammar allows it that the local model is held to (`finetune.wording`); all else is
    left out, so it can make up nothing and pass nothing on. The sentences of a shape are asked for once.
    """

    def __init__(self, endpoint: Endpoint):
        self._endpoint = endpoint
        self._known: dict[str, tuple[str, ...]] = {}

    def write(self, requests: Sequence[WritingRequest], samples: int) -> list[list[Draft]]:
        """At most ``samples`` different drafts for each request, of no known probability, by its seed.

        Raises:
            RemoteError: there is no answer, or no sentence in it fits.
        """
        return [self._drafts(self._sentences(one.shape), one.seed, samples) for one in requests]

    @staticmethod
    def _drafts(sentences: tuple[str, ...], seed: str, samples: int) -> list[Draft]:
        first = zlib.crc32(seed.encode("utf-8", "replace")) % len(sentences)
        turned = sentences[first:] + sentences[:first]
        return [Draft(sentence, float("nan")) for sentence in turned[:samples]]

    def _sentences(self, shape: str) -> tuple[str, ...]:
        if shape not in self._known:
            self._known[shape] = self._asked(shape)
        if not self._known[shape]:
            raise RemoteError(
                f"the language model {self._endpoint.settings.name} wrote no sentence for {shape!r} that can be used"
            )
        return self._known[shape]

    def _asked(self, shape: str) -> tuple[str, ...]:
        said = render("remote-writer-v1", patterns=alternatives(shape), count=COUNT)
        answer = self._endpoint.ask("writing explanations", [{"role": "user", "content": said}], LONGEST, {})
        fits = fitting(wordings(shape), free=free(shape))
        lines = (_NUMBERED.sub("", line.strip()) for line in (answer.message.content or "").splitlines())
        return tuple(dict.fromkeys(line for line in lines if fits(line)))[:COUNT]


class WriterWithStandby:
    """The remote writer; where it fails, the local one, with a note in the endpoint."""

    def __init__(self, endpoint: Endpoint, local: Callable[[], SentenceWriter]):
        self._endpoint = endpoint
        self._remote = RemoteWriter(endpoint)
        self._local = local

    def write(self, requests: Sequence[WritingRequest], samples: int) -> list[list[Draft]]:
        """As `LMWriter.write`.

        Raises:
            ModelError: neither can write.
        """
        return self._endpoint.or_local(
            lambda: self._remote.write(requests, samples),
            lambda: self._local().write(requests, samples),
            "the local model writes",
        )
