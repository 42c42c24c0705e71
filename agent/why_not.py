"""Why an item is not in somebody's list: where it stands, and what each stage gives it beside the last one listed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from agent.recommender import Recommender
from agent.request import Recommended, Request


@dataclass(frozen=True)
class WhyNot:
    """Where an item stands for a person.

    place: from 1, None where it is not among the candidates. listed: how many items the list has; candidates: how many
    were put in order. had: the value of the person's own event, None without one. last: the last item listed. item,
    other: what each stage gives the item and the last one listed: in that order, or where the item is not in it, by the
    scorers alone, asked about the list and the item. seen, never: whether the person said that they have had it, or
    disliked or hid it.
    """

    item_id: str
    label: str
    place: int | None
    listed: int
    candidates: int
    had: float | None
    last: Recommended
    item: Mapping[str, float]
    other: Mapping[str, float]
    seen: bool = False
    never: bool = False

    @property
    def said(self) -> str:
        """The reason in words."""
        if self.place is not None and self.place <= self.listed:
            return f"{self.label} is in the list, at place {self.place}."
        if self.never:
            return f"{self.label} is left out because the user disliked or hid it."
        if self.seen:
            return f"{self.label} is left out because the user said that they have had it."
        if self.had is not None:
            return f"{self.label} is left out because the user has had it (value {self.had:g})."
        if self.place is not None:
            return f"{self.label} is at place {self.place} of {self.candidates} candidates; the list has {self.listed}."
        return f"{self.label} is not among the {self.candidates} candidates: others are found before it."


def why_not(recommender: Recommender, request: Request, candidates: int, item: str) -> WhyNot:
    """Find out why an item, by id or title, is not in the list that answers the request.

    candidates: how many items are put in order (`ranking.candidates`).

    Raises:
        InputError, WorkspaceError, ModelError: as `Recommender.recommend`.
    """
    item_id = recommender.titles.find(item)
    person = recommender.people.read(request)
    history = person.history
    had = dict(zip(history.items, history.values, strict=True)).get(item_id)
    ordered = recommender.recommend(replace(request, k=max(request.k, candidates))).rows
    place = next((row.place for row in ordered if row.item_id == item_id), None)
    listed = ordered[: request.k]
    last, label = listed[-1], recommender.catalog.label(item_id)
    found = WhyNot(item_id, label, place, len(listed), len(ordered), had, last, {}, last.stages)
    if place is not None:
        return replace(found, item=ordered[place - 1].stages)
    alone = frozenset({item_id, *(row.item_id for row in listed)})
    beside = replace(request, k=len(alone), among=alone, exclude_seen=False, exclude_never=False, alpha=0.0)
    stages = {row.item_id: row.stages for row in recommender.recommend(beside).rows}
    found = replace(found, item=stages[item_id], other=stages[last.item_id])
    return replace(found, seen=item_id in history.seen, never=item_id in history.never)
