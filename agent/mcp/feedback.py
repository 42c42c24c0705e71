"""A tool that changes something: it takes down what somebody says of an item."""

from collections.abc import Callable
from typing import Any, Protocol

from pydantic import Field

from agent.mcp.results import Result
from agent.mcp.tools import Named, Tool, ToolArguments
from agent.mcp.untrusted import cleaned, quoted


class ReactionStore(Protocol):
    """Keeps reactions."""

    def add(self, user: str, item: str, reaction: str) -> object:
        """Keep what a user says of an item, by id or title.

        Raises:
            WhyrecError: no usable user, item or reaction, or it cannot be kept.
        """


class FeedbackArguments(ToolArguments):
    """Who says what of which item."""

    user: Named = Field(description="a user id of the events, or a new one")
    item: Named = Field(description="an item id, or a title")
    reaction: Named = Field(description="like, dislike, seen, hide, or a rating such as 4.5")


class Noted(Result):
    """What was taken down."""

    user: str
    item: str
    reaction: str

    def as_text(self) -> str:
        """All of it in one line."""
        return f"noted: user {quoted(self.user)}, item {quoted(self.item)}, reaction {quoted(self.reaction)}"


def feedback_tool(store: Callable[[], ReactionStore]) -> Tool[FeedbackArguments]:
    """The tool that gives reactions to a store, which is asked for at each call."""

    def answer(_recommender: Any, asked: FeedbackArguments) -> Noted:
        store().add(asked.user, asked.item, asked.reaction)
        return Noted.model_validate(cleaned(asked.model_dump()))

    return Tool(
        "feedback",
        "Take down what a user says of an item; the next recommendations go by it. Only at the user's own wish.",
        FeedbackArguments,
        Noted,
        answer,
        read_only=False,
    )
