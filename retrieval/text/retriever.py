"""Candidates from item text: search the index with a profile's queries, score what was found with all of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from retrieval.ranking import Floats, Rankings, order
from retrieval.text.filters import Where
from retrieval.text.index import ItemIndex
from retrieval.text.profile import Profile

if TYPE_CHECKING:
    from retrieval.text.lexical import LexicalIndex


class TextRetriever:
    """Retrieves items whose text is close to what a profile asks for, or has its words where ``lexical`` is given."""

    def __init__(self, index: ItemIndex, lexical: "LexicalIndex | None" = None):
        self._index = index
        self._lexical = lexical

    def retrieve(
        self, profiles: Sequence[Profile], k: int, where: Where | None = None, among: Sequence[str] | None = None
    ) -> Rankings:
        """At most k items for each profile that fit ``where``, none of its excluded ones, best first.

        Scores are `Profile.score`. Each query brings k items, and so do the words: every list has k as long as there
        are so many. Of ``among``, the only ids that may be listed, all are scored without a search; ``where`` does not
        apply then.
        """
        found = [self._one(profile, k, where, among) for profile in profiles]
        return order([ids for ids, _ in found], [scores for _, scores in found], k, "text retrieval")

    def _one(
        self, profile: Profile, k: int, where: Where | None, among: Sequence[str] | None
    ) -> tuple[list[str], Floats]:
        if among is None:
            ids = self._index.search(profile.queries, k, where, profile.exclude)
        else:
            ids = [item_id for item_id in among if item_id not in profile.exclude]
        if self._lexical is None or not profile.words:
            return ids, profile.score(self._index.vectors(ids))
        matches = self._lexical.scores(profile.words)
        if among is None:
            fitting = None if where is None else self._index.ids(where)
            ids = sorted({*ids, *self._lexical.best(matches, k, fitting, profile.exclude)})
        return ids, profile.score(self._index.vectors(ids), self._lexical.of(matches, ids))
