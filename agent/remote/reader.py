"""A remote language model as a reader of intents: one tool that it must call, whose arguments are checked."""

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.intent import LISTED, Comparison, Intent
from agent.mcp.untrusted import cleaned
from agent.remote.answers import Answer
from agent.remote.endpoint import Endpoint
from prompts import render
from retrieval.errors import RemoteError

TOOL = "understood"
LONGEST = 400  # tokens of a call
MOST = 99  # of count and ask
_LIMIT = 1_000_000  # bounds on numbers stay below, as in the local grammar
Phrases = Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=20)]


class Bound(BaseModel):
    """A bound on a number of an item."""

    model_config = ConfigDict(extra="forbid", strict=True)

    field: str
    operator: Literal[">=", "<=", ">", "<", "="]
    value: float = Field(gt=-_LIMIT, lt=_LIMIT, allow_inf_nan=False)


class Understood(BaseModel):
    """The arguments of the one tool: the slots of an intent."""

    model_config = ConfigDict(extra="forbid", strict=True)

    like: Phrases = []
    unlike: Phrases = []
    want: Phrases = []
    avoid: Phrases = []
    more: Phrases = []
    less: Phrases = []
    drop: Phrases = []
    range: Annotated[list[Bound], Field(max_length=20)] = []
    count: Annotated[int, Field(ge=1, le=MOST)] | None = None
    ask: Annotated[int, Field(ge=1, le=MOST)] | None = None


class RemoteIntentReader:
    """Reads one utterance at a time. It is sent the utterance and the names of numbers, and nothing else.

    The model can do nothing but fill the slots of an intent: calls of other tools are left out, and so is a phrase that
    is not some words of the utterance in a row, or a bound on a number that items do not have. Each is noted, without
    the model's words.
    """

    def __init__(self, endpoint: Endpoint, fields: Sequence[str], note: Callable[[str], None]):
        """``fields``: those of numbers that an item has. note: is told what is left out."""
        self._endpoint = endpoint
        self._fields = tuple(fields)
        self._note = note

    def read(self, said: str) -> Intent:
        """What the person means.

        Raises:
            RemoteError: there is no answer, or none in the form that was asked for.
        """
        plain = " ".join(str(cleaned(said)).split())
        if not plain:
            return Intent()
        task = render("remote-intent-v1", tool=TOOL, fields=", ".join(self._fields) or "none")
        messages = [{"role": "system", "content": task}, {"role": "user", "content": plain}]
        options = {"tools": [self._tool()], "tool_choice": {"type": "function", "function": {"name": TOOL}}}
        answer = self._endpoint.ask("reading what you say", messages, LONGEST, {**options, "temperature": 0})
        return self._checked(self._called(answer), plain)

    def _tool(self) -> dict[str, Any]:
        schema = Understood.model_json_schema()
        if self._fields:
            schema["$defs"]["Bound"]["properties"]["field"]["enum"] = list(self._fields)
        function = {"name": TOOL, "description": "say what the person wants", "parameters": schema}
        return {"type": "function", "function": function}

    def _called(self, answer: Answer) -> Understood:
        """The first call of the tool."""
        calls = [call.function for call in answer.message.tool_calls or ()]
        named = [call.arguments for call in calls if call and call.name == TOOL]
        others = len(calls) - len(named[:1])
        if others:
            self._note(f"the remote model made {others} tool calls that were not asked for; they were ignored")
        try:
            return Understood.model_validate_json(named[0])
        except (IndexError, ValidationError):
            name = self._endpoint.settings.name
            raise RemoteError(f"the language model {name} did not answer in the form that was asked for") from None

    def _checked(self, found: Understood, plain: str) -> Intent:
        """With each phrase as the person spelt it."""
        slots = {slot: [_said(phrase, plain) for phrase in getattr(found, slot)] for slot in LISTED}
        bounds = [Comparison(one.field, one.operator, one.value) for one in found.range if one.field in self._fields]
        wrong = sum(phrases.count("") for phrases in slots.values())
        if wrong:
            self._note(f"the remote model understood {wrong} phrases that you did not say; they were left out")
        if len(bounds) < len(found.range):
            self._note("the remote model bounded numbers that the items do not have; these bounds were left out")
        kept: dict[str, Any] = {slot: tuple(filter(None, phrases)) for slot, phrases in slots.items()}
        return Intent(**kept, range=tuple(bounds), count=found.count, ask=found.ask)


def _said(phrase: str, plain: str) -> str:
    """The words of the utterance that a phrase is, in small letters or not; empty where they are not in it in a row."""
    words = " ".join(phrase.split())
    found = re.search(rf"(?<!\w){re.escape(words)}(?!\w)", plain, re.IGNORECASE) if words else None
    return found[0] if found else ""
