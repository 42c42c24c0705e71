"""A remote language model: asked under a spending cap; what goes wrong is a sentence without the key."""

import contextlib
import hashlib
import json
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from agent.remote.answers import Answer
from agent.remote.options import RemoteSettings
from agent.remote.retries import pause
from agent.remote.spending import Reserved, Spending
from retrieval.errors import ModelError, RemoteError

if TYPE_CHECKING:
    from agent.remote.transport import Client

PAUSE = 60.0  # seconds after a failure in which the endpoint is not asked again
RANKING = "remote-rank-v1"  # the prompt by which candidates are scored
OVERHEAD = 256  # tokens that an endpoint may put around what it is sent
T = TypeVar("T")


class Endpoint:
    """One model behind one endpoint. notes: what a person must be told, until `take_notes` takes it."""

    def __init__(self, settings: RemoteSettings, say: Callable[[str], None] = lambda _: None):
        """``say`` is told, once for each purpose, that the model is asked."""
        self.settings = settings
        self.notes: list[str] = []
        self._say = say
        self._told: set[str] = set()
        self._failed: tuple[float, str] | None = None
        self._halted = threading.Event()
        self._made: Client | None = None
        self._lock = threading.Lock()

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the endpoint, what it calls the model, and how that is asked to rank."""
        named = json.dumps([self.settings.base_url, self.settings.model, RANKING])
        return hashlib.sha256(named.encode()).hexdigest()[:16]

    @property
    def spending(self) -> Spending:
        """What was spent.

        Raises:
            RemoteError: there is no workspace to count in.
        """
        if self.settings.spending == "auto":
            raise RemoteError("what a remote model costs is counted in a workspace, and there is none")
        return Spending(self.settings, Path(self.settings.spending).expanduser())

    def ask(
        self, purpose: str, messages: Sequence[Mapping[str, str]], longest: int, options: Mapping[str, Any]
    ) -> Answer:
        """The answer, of at most ``longest`` tokens; options: further ones of a chat completion.

        Raises:
            RemoteError: there is none, or it is none, or it may cost more than is left to spend.
        """
        client = self._client()
        self._pause()
        self._tell(purpose)
        sent = len(json.dumps([*messages, options], ensure_ascii=False).encode("utf-8", "replace"))  # no token is less
        reserve = partial(self.spending.reserve, purpose, sent + OVERHEAD, longest)
        text, reserved = self._tried(reserve, lambda: client.complete(messages, longest, options))
        try:
            answer = Answer.model_validate_json(text)
        except ValidationError:
            raise self._failure("answers something that is no chat completion") from None
        if answer.usage:
            self.spending.settle(reserved, answer.usage.prompt_tokens, answer.usage.completion_tokens)
        return answer

    def _tried(self, reserve: Callable[[], Reserved], send: Callable[[], str]) -> tuple[str, Reserved]:
        """The answer's text, and what is reserved for it. Each try is reserved, and stays so where it was begun."""
        from agent.remote.transport import NoAnswerError

        tries, reserved = 1, reserve()
        while True:
            try:
                return send(), reserved
            except NoAnswerError as error:
                if not error.begun:
                    self.spending.cancel(reserved)
                why = f"{error}, tries: {tries}" if tries > 1 else str(error)
                if error.pause is None or tries > self.settings.retries:
                    raise self._failure(why) from None
                self._wait(max(error.pause, pause(tries)), why)
            try:
                tries, reserved = tries + 1, reserve()
            except RemoteError as refused:
                raise self._failure(f"{why}; it is not tried again: {refused}") from None

    def _wait(self, seconds: float, why: str) -> None:
        """Until the next try; RemoteError: another request failed meanwhile, or all are halted."""
        if self._halted.wait(seconds):
            raise RemoteError(f"the language model {self.settings.name} {why}; it is not tried again, as others failed")
        self._pause()

    @contextlib.contextmanager
    def together(self) -> Iterator[Callable[[], None]]:
        """For requests of several threads: what is called where one failed or Ctrl-C came, so that none is tried again.

        The threads must have ended when the block is left.
        """
        try:
            yield self._halted.set
        finally:
            self._halted.clear()

    def models(self) -> frozenset[str]:
        """The models that the endpoint lists.

        Raises:
            RemoteError: it cannot be asked, or lists none.
        """
        from agent.remote.transport import NoAnswerError

        try:
            listed = json.loads(self._client().models())["data"]
            return frozenset(str(one["id"]) for one in listed)
        except NoAnswerError as error:
            raise RemoteError(f"the language model {self.settings.name} {error}") from None
        except (ValueError, KeyError, TypeError):
            raise RemoteError(f"the language model {self.settings.name} lists no models") from None

    def or_local(self, remote: Callable[[], T], local: Callable[[], T], does: str) -> T:
        """What the remote model gives; where it fails, a note, and what the local one gives.

        Raises:
            RemoteError: it fails, and the settings want no downgrade.
            ModelError: neither gives anything.
        """
        try:
            return remote()
        except RemoteError as error:
            if not self.settings.downgrade:
                raise
            try:
                found = local()
            except ModelError as other:
                raise ModelError(f"{error}; and nothing local takes its place: {other}") from other
            self.notes.append(f"{error}; {does} instead")
            return found

    def take_notes(self) -> list[str]:
        """What a person has not been told yet."""
        taken, self.notes = self.notes, []
        return list(dict.fromkeys(taken))

    def close(self) -> None:
        """Close its connections."""
        if self._made is not None:
            self._made.close()

    def _client(self) -> "Client":
        if find_spec("openai") is None:
            raise RemoteError("a remote language model needs the openai client: pip install 'whyrec[remote]'")
        from agent.remote.transport import Client

        with self._lock:
            if self._made is None:
                self._made = Client(self.settings, self._key())
                weakref.finalize(self, self._made.close)
            return self._made

    def _key(self) -> str:
        variable = self.settings.key_env
        if not variable:
            return ""
        key = os.environ.get(variable, "").strip()
        if not key:
            raise RemoteError(
                f"the environment variable {variable}, which holds the key of the language model {self.settings.name}, "
                'is not set; where no key is needed, set key_env = "" under [remote]'
            )
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise RemoteError(f"what the environment variable {variable} holds is no key: it has blanks or other signs")
        return key

    def _tell(self, purpose: str) -> None:
        with self._lock:
            if purpose not in self._told:
                self._told.add(purpose)
                self._say(f"Asking the language model {self.settings.name}: {purpose}")

    def _pause(self) -> None:
        """Raise the last failure again while it is new."""
        if self._failed is not None and time.monotonic() < self._failed[0]:
            raise RemoteError(self._failed[1])

    def _failure(self, what: str) -> RemoteError:
        message = f"the language model {self.settings.name} {what}"
        self._failed = (time.monotonic() + PAUSE, message)
        return RemoteError(message)
