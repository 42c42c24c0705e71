"""`whyrec feedback`: what a reaction is worth as an event, and whose it is."""

import math
import re
from typing import TYPE_CHECKING

import polars as pl

from agent.settings import Settings
from retrieval.data.feedback import Reaction, is_text
from retrieval.data.titles import TitleMatcher
from retrieval.data.workspace import Workspace
from retrieval.errors import InputError, UnknownUserError

if TYPE_CHECKING:
    from retrieval.data.feedback import Kind

STARS = 0.5, 5.0  # what a rating may be where all that the events have lie within
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Reactions:
    """Takes reactions of people of a workspace.

    A like is worth what counts as liked from (`events.liked_from`), as ``--like`` is; a dislike the least value of the
    events, which is below it; a rating is worth itself.
    """

    def __init__(self, workspace: Workspace, settings: Settings):
        self._workspace = workspace
        self._liked_from = settings.events.liked_from

    def add(self, user: str, item: str, reaction: str) -> Reaction:
        """Keep what a user, known or new, says of an item, by id or title: like, dislike, seen, hide or a rating.

        Raises:
            InputError: no usable user, item or reaction.
            WorkspaceError: the reaction cannot be kept.
        """
        user_id = checked_user(user)
        kind, value = self._worth(reaction.strip().lower())
        item_id = TitleMatcher(self._workspace.catalog).find(item)
        return self._workspace.feedback.add(user_id, item_id, kind, value)

    def knows(self, user: str) -> bool:
        """Whether there is any event or reaction of a user."""
        try:
            self._workspace.history(checked_user(user))
        except UnknownUserError:
            return False
        return True

    def _worth(self, reaction: str) -> "tuple[Kind, float | None]":
        low, high = self._values()
        words: dict[str, tuple[Kind, float | None]] = {
            "like": ("like", self._liked_from),
            "dislike": ("dislike", low if low < self._liked_from else self._liked_from - 1),
            "seen": ("seen", None),
            "hide": ("hide", None),
        }
        if reaction in words:
            return words[reaction]
        rating = _number(reaction)
        if low == high:
            raise InputError(f"{reaction!r} is not like, dislike, seen or hide; the events here have no ratings")
        least, most = STARS if STARS[0] <= low and high <= STARS[1] else (low, high)
        if rating is None or not least <= rating <= most:
            raise InputError(f"{reaction!r} is not like, dislike, seen, hide or a rating from {least:g} to {most:g}")
        return "rating", rating

    def _values(self) -> tuple[float, float]:
        """The least and the highest value of the events, liked from where there are none."""
        bounds = pl.col("value").min().alias("low"), pl.col("value").max().alias("high")
        low, high = self._workspace.events().select(*bounds).collect(engine="streaming").row(0)
        return (self._liked_from, self._liked_from) if low is None else (low, high)


def checked_user(user: str) -> str:
    """The user's id as an import would have it: without blanks around it.

    Raises:
        InputError: nothing is left, or it is no text.
    """
    found = _CONTROLS.sub(" ", user).strip()
    if not found:
        raise InputError("the user has no name; give an id of the events, or a new one")
    if not is_text(found):
        raise InputError(f"the user's name {found!r} is not valid UTF-8")
    return found


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None
