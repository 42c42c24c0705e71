"""The `openai` client: how it is set up, and what its errors are called here. No other module imports it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import openai
from httpx2 import ConnectError, ConnectTimeout, ReadError, ReadTimeout, Response, SyncByteStream

from agent.mcp.untrusted import cleaned, quoted
from agent.remote.options import RemoteSettings
from agent.remote.retries import SERVER_FAILS, pause_after

MOST_BYTES = 2**20  # of an answer
LOOKED_AT = 5.0  # seconds that a look at the list of models may take
_SAID = 150  # characters of a server's own words that are repeated


class NoAnswerError(Exception):
    """Why there is none, as a clause about the endpoint.

    begun: one may have been begun, and have to be paid. pause: seconds after which another try may help; None: it will
    not.
    """

    def __init__(self, why: str, *, begun: bool, pause: float | None):
        super().__init__(why)
        self.begun = begun
        self.pause = pause


class _UnreadError(ReadError):
    """The answer is not read: it is too long, or compressed."""


class Client:
    """Sends requests to one endpoint, each once, as each may have to be paid.

    Nothing is sent anywhere else, whatever the endpoint answers: redirects are not followed. An answer is at most a
    mebibyte and comes within the time-out, also where it comes byte by byte.
    """

    def __init__(self, settings: RemoteSettings, key: str):
        self._settings = settings
        self._key = key
        unsent = {name: openai.Omit() for name in ("OpenAI-Organization", "OpenAI-Project")}
        self._options: Any = {} if key else {"headers": {"Authorization": openai.Omit()}}
        self._client = openai.OpenAI(
            api_key=key or "none",
            base_url=settings.base_url,
            timeout=settings.timeout,
            max_retries=0,
            default_headers={"Accept-Encoding": "identity", **unsent},  # type: ignore[dict-item]
            http_client=openai.DefaultHttpxClient(follow_redirects=False, event_hooks={"response": [self._bound]}),
        )

    def complete(self, messages: Sequence[Mapping[str, str]], longest: int, options: Mapping[str, Any]) -> str:
        """The answer's JSON.

        Raises:
            NoAnswerError: there is none.
        """
        body = {"model": self._settings.model, "messages": messages, self._settings.limit: longest, **options}
        return self._sent(self._client, "/chat/completions", body)

    def models(self) -> str:
        """The list of models, as JSON.

        Raises:
            NoAnswerError: there is none.
        """
        return self._sent(self._client.with_options(timeout=LOOKED_AT), "/models", None)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def _sent(self, client: openai.OpenAI, path: str, body: Mapping[str, Any] | None) -> str:
        # Errors are raised without their cause: the library's hold the request, whose headers hold the key.
        try:
            if body is None:
                raw = client.get(path, cast_to=Response, options=self._options)
            else:
                raw = client.post(path, cast_to=Response, body=body, options=self._options)
        except openai.APIConnectionError as error:  # time-outs are among them
            begun = not isinstance(error.__cause__, ConnectError | ConnectTimeout)
            if isinstance(error.__cause__, _UnreadError):
                raise NoAnswerError(
                    f"gives no answer that is read: {error.__cause__}", begun=True, pause=None
                ) from None
            why = f"cannot be reached or breaks off ({type(error.__cause__).__name__})"
            if isinstance(error, openai.APITimeoutError):
                why = f"gave no answer in time ({client.timeout} s)"
            raise NoAnswerError(why, begun=begun, pause=0.0) from None
        except openai.APIStatusError as error:
            status = error.status_code
            pause = pause_after(status, error.response.headers)
            begun = status >= SERVER_FAILS  # a gateway that gives up waiting says so, too
            raise NoAnswerError(self._refusal(status, error.message), begun=begun, pause=pause) from None
        except (openai.OpenAIError, ValueError, UnicodeError) as error:
            why = f"answers nothing that can be read ({type(error).__name__})"
            raise NoAnswerError(why, begun=True, pause=None) from None
        return raw.text

    def _refusal(self, status: int, said: str) -> str:
        """What a refusal means; the server's own words stand in quotes, without the key."""
        named = f"the key in {self._settings.key_env}" if self._key else "requests without a key"
        means = {401: f"refuses {named}", 403: f"refuses {named}", 429: "has too many requests or too little credit"}
        words = self._scrubbed(str(cleaned(said)))[:_SAID]  # what is invisible could hide the key, were it left in
        return f"{means.get(status, 'refuses the request')} (status {status}: {quoted(words)})"

    def _scrubbed(self, text: str) -> str:
        return text.replace(self._key, "…") if self._key else text

    def _bound(self, response: Response) -> None:
        response.stream = _Bounded(response.stream, time.monotonic() + self._settings.timeout)  # type: ignore[arg-type]
        if response.headers.get("content-encoding", "identity") != "identity":
            raise _UnreadError("it is compressed, which was not asked for")


class _Bounded(SyncByteStream):
    """A body that ends with an error where it is too long or takes too long."""

    def __init__(self, stream: SyncByteStream, until: float):
        self._stream = stream
        self._until = until

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for part in self._stream:
            size += len(part)
            if size > MOST_BYTES:
                raise _UnreadError("it is too long")
            if time.monotonic() > self._until:
                raise ReadTimeout("the answer takes too long")
            yield part

    def close(self) -> None:
        self._stream.close()
