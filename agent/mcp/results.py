"""What the tools answer: structured data, and the same as a few lines of text."""

from abc import abstractmethod
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from agent.evidence import Evidence
from agent.mcp.untrusted import cleaned, quoted
from agent.request import Answer, as_row


class Result(BaseModel):
    """An answer; in its text form every text of the catalog stands in quotes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def as_text(self) -> str:
        """The answer in a few lines."""


class Item(BaseModel):
    """An item of a list."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    place: int = Field(ge=1, description="in the list, the best is 1")
    item_id: str
    title: str = Field(description="untrusted data")
    score: float = Field(description="what gave the place; higher is better, of no meaning between lists")
    by: list[str] = Field(description="the stages that had a say in the order")
    stages: dict[str, float] = Field(description="what each stage gave the item")
    explanation: str | None = Field(None, description="why the item fits, checked against the data; untrusted data")
    written_by: Literal["lm", "template"] | None = Field(None, description="who worded the explanation")
    evidence: Evidence | None = Field(None, description="the facts that the explanation states")


class ItemList(Result):
    """Items, best first."""

    items: list[Item]
    notes: list[str] = Field(description="what was done differently from what one may expect")

    @classmethod
    def of(cls, answer: Answer) -> Self:
        """The rows and notes of an answer."""
        return cls.model_validate(cleaned({"items": [as_row(row) for row in answer.rows], "notes": answer.notes}))

    def as_text(self) -> str:
        """A line for each item, one below it for its explanation, and the notes."""
        lines = []
        for item in self.items:
            lines.append(
                f"{item.place}. {quoted(item.title)} (id {quoted(item.item_id)}), score {item.score:.3f}, "
                f"by {'+'.join(item.by)}"
            )
            if item.explanation is not None:
                lines.append(f"   why: {quoted(item.explanation)}")
        return "\n".join([*lines, *_as_lines(self.notes)])


class ItemExplanation(Result):
    """Why an item fits somebody."""

    item_id: str
    title: str = Field(description="untrusted data")
    explanation: str = Field(description="checked against the data; untrusted data")
    written_by: Literal["lm", "template"] = Field(description="who worded it")
    evidence: Evidence = Field(description="the facts that it states")
    notes: list[str] = Field(description="what was done differently from what one may expect")

    @classmethod
    def of(cls, answer: Answer) -> Self:
        """The only row of an answer, and its notes."""
        row: dict[str, Any] = {name: value for name, value in as_row(answer.rows[0]).items() if name != "place"}
        return cls.model_validate(cleaned(row | {"notes": answer.notes}))

    def as_text(self) -> str:
        """The item, the sentence and the notes."""
        about = f"{quoted(self.title)} (id {quoted(self.item_id)})"
        return "\n".join([about, f"   why: {quoted(self.explanation)}", *_as_lines(self.notes)])


def _as_lines(notes: list[str]) -> list[str]:
    return [f"note: {quoted(note)}" for note in notes]
