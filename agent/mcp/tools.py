"""The tools: what each takes, what it answers, and how the recommender does it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from agent.mcp.results import ItemExplanation, ItemList, Result
from agent.request import Request

if TYPE_CHECKING:
    from agent.recommender import Recommender

MOST_ITEMS = 100
_LONG = 1_000  # characters of one argument; no title or wish is longer

Arguments = TypeVar("Arguments", bound=BaseModel)
Words = Annotated[str, Field(max_length=_LONG)]
Named = Annotated[str, Field(min_length=1, max_length=_LONG)]
Count = Annotated[int, Field(ge=1, le=MOST_ITEMS, description="how many items")]
Where = Annotated[
    Words, Field(description="keep only items that fit, such as: year >= 1990 and genres ~ Comedy; empty: all")
]


@dataclass(frozen=True)
class Tool(Generic[Arguments]):
    """A tool of the server. read_only: it changes nothing, however often it is called."""

    name: str
    does: str
    arguments: type[Arguments]
    result: type[Result]
    answer: "Callable[[Recommender, Arguments], Result]"
    read_only: bool = True


class ToolArguments(BaseModel):
    """Arguments of a tool; others are refused. Numbers are taken for ids, as some clients send them."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class RecommendArguments(ToolArguments):
    """At least one of user, likes and query is needed; several are put together."""

    user: Words = Field("", description="a user id of the events; empty: nobody known")
    likes: list[Named] = Field([], max_length=MOST_ITEMS, description="titles or ids of items that the person likes")
    query: Words = Field("", description="what the person wants, in words")
    k: Count = 10
    where: Where = ""
    explain: bool = Field(False, description="say why, for each item; takes seconds")


class ExplainArguments(ToolArguments):
    """Who, and which item."""

    user: Named = Field(description="a user id of the events")
    item: Named = Field(description="an item id, or a title")


class SimilarArguments(ToolArguments):
    """Which item, and how many others."""

    item: Named = Field(description="an item id, or a title")
    k: Count = 10
    where: Where = ""


class SearchArguments(ToolArguments):
    """What to look for."""

    query: Named = Field(description="names, rare words, or what the item should be like")
    k: Count = 10
    where: Where = ""


def _recommend(recommender: "Recommender", asked: RecommendArguments) -> ItemList:
    request = Request(asked.user or None, tuple(asked.likes), asked.query, asked.k, asked.where, explain=asked.explain)
    return ItemList.of(recommender.recommend(request))


def _explain(recommender: "Recommender", asked: ExplainArguments) -> ItemExplanation:
    return ItemExplanation.of(recommender.explain(Request(asked.user), asked.item))


def _similar(recommender: "Recommender", asked: SimilarArguments) -> ItemList:
    return ItemList.of(recommender.similar(asked.item, asked.k, asked.where))


def _search(recommender: "Recommender", asked: SearchArguments) -> ItemList:
    return ItemList.of(recommender.recommend(Request(query=asked.query, k=asked.k, where=asked.where)))


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "recommend",
        "Recommend items of the catalog for a known user, for likes, for a wish in words, or for several of these "
        "together; what the user has had is left out.",
        RecommendArguments,
        ItemList,
        _recommend,
    ),
    Tool(
        "explain",
        "Say why an item suits a known user: a sentence that was checked against the data, and the evidence behind it.",
        ExplainArguments,
        ItemExplanation,
        _explain,
    ),
    Tool("similar", "List the items whose text is nearest to an item's.", SimilarArguments, ItemList, _similar),
    Tool("search", "Find items by words and by what the words mean.", SearchArguments, ItemList, _search),
)
