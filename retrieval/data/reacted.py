"""One user's history, made of events and of what they have said since."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from retrieval.data.events import History, history_of
from retrieval.data.feedback import Reaction


def reacted(events: pl.DataFrame, reactions: Sequence[Reaction], *, timed: bool) -> History:
    """The history of a user with these events (item_id, value, timestamp; oldest first) and reactions (oldest first).

    What was said last of an item counts, but ``seen`` says nothing beside anything else. Values go by time, reactions
    after all events unless these are ``timed`` (milliseconds since 1970). What is hidden has no value; a dislike has
    one only below something that the user values more, as the best of dislikes is no preference.
    """
    last: dict[str, Reaction] = {}
    for one in reactions:
        if one.kind != "seen" or one.item_id not in last:
            last[one.item_id] = one
    valued = [one for one in last.values() if one.value is not None]
    said = {
        "item_id": [one.item_id for one in valued],
        "value": [one.value for one in valued],
        "timestamp": [one.timestamp for one in valued],
    }
    later = pl.DataFrame(said, schema=events.schema).sort("timestamp", maintain_order=True)
    both = pl.concat([events, later])
    if timed:
        both = both.sort("timestamp", maintain_order=True, nulls_last=False)
    hidden, disliked = (frozenset(i for i, one in last.items() if one.kind == kind) for kind in ("hide", "dislike"))
    known = history_of(both.filter(~pl.col("item_id").is_in(list(hidden))))
    seen = frozenset(i for i, one in last.items() if one.kind == "seen") - set(known.items)
    return replace(_less(known, disliked), seen=seen, never=hidden | disliked)


def _less(history: History, disliked: frozenset[str]) -> History:
    """The history without those of ``disliked`` that are worth as much as all else."""
    pairs = list(zip(history.items, history.values, strict=True))
    best = max((value for item_id, value in pairs if item_id not in disliked), default=float("-inf"))
    kept = [(item_id, value) for item_id, value in pairs if item_id not in disliked or value < best]
    return History(tuple(item_id for item_id, _ in kept), tuple(value for _, value in kept))
