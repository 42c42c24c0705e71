"""Who is asking: what they like and ask for, as titles for people and as vectors for the index."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from agent.evidence import Taste
from agent.evidence_finder import split_query
from agent.request import Request
from agent.settings import Settings
from retrieval.data.events import History, preferred
from retrieval.data.titles import TitleMatcher
from retrieval.data.workspace import Workspace
from retrieval.errors import InputError
from retrieval.ranking import Floats
from retrieval.text.profile import Interest, Profile, interest_in
from retrieval.text.scorers import SoftKnnConfig
from retrieval.text.spread import Spread
from retrieval.text.tower import Tower


@dataclass(frozen=True)
class Person:
    """What the person likes (taste), what to search with (profile), what they did, and what should be said about it.

    tower: what to search with where the tower has a say. history holds the likes of the request, too.
    """

    taste: Taste
    profile: Profile
    history: History
    notes: tuple[str, ...]
    tower: Profile | None = None

    def without(self, items: frozenset[str]) -> "Person":
        """The same, and these items must not be retrieved."""
        profile = replace(self.profile, exclude=self.profile.exclude | items)
        tower = self.tower and replace(self.tower, exclude=self.tower.exclude | items)
        return replace(self, profile=profile, tower=tower)


class PersonReader:
    """Makes a `Person` of a request.

    vectors: gives the vectors of items by id; spread: how far they spread; encode: gives that of words. text: how a
    history is scored; None: by what was liked. tower: what was learnt about texts; None where it has no say.
    """

    def __init__(
        self,
        workspace: Workspace,
        settings: Settings,
        titles: TitleMatcher,
        vectors: Callable[[Sequence[str]], Floats],
        spread: Callable[[], Spread],
        encode: Callable[[Sequence[str]], Floats],
        text: SoftKnnConfig | None,
        tower: Tower | None,
    ):
        self._workspace = workspace
        self._settings = settings
        self._titles = titles
        self._vectors = vectors
        self._spread = spread
        self._encode = encode
        self.text = text or SoftKnnConfig(positive_from=settings.events.liked_from)
        self._tower = tower

    def read(self, request: Request) -> Person:
        """Read the history and encode the query.

        Raises:
            InputError: unknown user or title, or nothing to go on.
            ModelError: the encoder is needed and cannot be loaded.
        """
        named = tuple(dict.fromkeys(self._titles.find(title) for title in request.likes))
        history = self._history(request)
        liked, did, notes = self._liked(history)
        query = request.query.strip()
        asked = self._encode([query]) if query else None
        _, unwanted = split_query(query)
        if unwanted:
            ruled_out = ", ".join(unwanted)
            notes.append(f"a query cannot rule out yet ({ruled_out}); use --where, as in 'genres !~ Horror'")
        searched = history.items if self.text.positive_from is None else liked
        leaning = tuple(item_id for item_id in history.items if item_id not in history.never or item_id in searched)
        interests = [self._interest(*items) for items in ((searched, leaning), (named, named)) if items[0]]
        if not interests and asked is None:
            raise InputError(request.nothing_to_go_on)
        kept_out = history.excluded(had=request.exclude_seen) if request.exclude_never else frozenset()
        exclude = kept_out | set(named)
        verbs = {**dict.fromkeys(liked, did), **dict.fromkeys(named, "liked")}
        known = history.then(History(named, (self._settings.events.liked_from,) * len(named)))
        taste = Taste(verbs, query, None if asked is None else asked[0], known)
        tower = None
        if self._tower is not None:
            had = history.items if self._tower.config.positive_from is None else liked
            items = tuple(dict.fromkeys((*had, *named)))
            tower = Profile((self._tower.direction(self._vectors(items)),), exclude) if items else None
        meant = None if asked is None else interest_in(asked)
        profile = Profile(tuple(interests), exclude, query, meant)
        return Person(taste, profile, known, tuple(notes), tower)

    def _interest(self, liked: Sequence[str], leaning: Sequence[str]) -> Interest:
        """In what is like ``liked``, and lies where ``leaning`` does, which are these items and others."""
        lean = self.text.direction(self._spread(), self._vectors(leaning), np.isin(leaning, liked))
        return interest_in(self._vectors(liked), self.text.sharpness, lean)

    def _history(self, request: Request) -> History:
        if request.history is not None:
            return request.history
        return self._workspace.history(request.user) if request.user is not None else History((), ())

    def _liked(self, history: History) -> tuple[tuple[str, ...], str, list[str]]:
        """The items to go by, what the person did with them, and a note where nothing was rated well."""
        if len(history) == 0:
            return (), "liked", []
        threshold = self._settings.events.liked_from
        keep, how = preferred(np.array(history.values), threshold)
        items = tuple(item_id for item_id, kept in zip(history.items, keep, strict=True) if kept)
        if how == "liked":
            return items, self._settings.events.verb, []
        by = "everything they rated" if how == "rated" else "what they rated above their own mean"
        return items, how, [f"no event of this user reaches {threshold:g} (events.liked_from); going by {by}"]
