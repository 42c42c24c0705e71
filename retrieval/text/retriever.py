"""Candidates from item text: search the index with a profile's queries, score what was found with all of it."""

from collections.abc import Sequence

from retrieval.ranking import Rankings, order
from retrieval.text.filters import Where
from retrieval.text.index import ItemIndex
from retrieval.text.profile import Profile


class TextRetriever:
    """Retrieves items whose text is close to what a profile asks for."""

    def __init__(self, index: ItemIndex):
        self._index = index

    def retrieve(
        self, profiles: Sequence[Profile], k: int, where: Where | None = None, among: Sequence[str] | None = None
    ) -> Rankings:
        """At most k items for each profile that fit ``where``, none of its excluded ones, best first.

        Scores are `Profile.score`. Each query brings k items, so every list has k as long as there are so many. Of
        ``among``, the only ids that may be listed, all are scored without a search; ``where`` does not apply then.
        """
        if among is None:
            candidates = [self._index.search(profile.queries, k, where, profile.exclude) for profile in profiles]
        else:
            candidates = [[item_id for item_id in among if item_id not in profile.exclude] for profile in profiles]
        scores = [profile.score(self._index.vectors(ids)) for profile, ids in zip(profiles, candidates, strict=True)]
        return order(candidates, scores, k, "text retrieval")
