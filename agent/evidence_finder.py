"""Finds why an item fits a person: in their history, in the query, and in what everybody likes."""

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from agent.attribution import Attribution
from agent.evidence import Cited, Evidence, SharedAttribute, Taste, is_plural
from agent.protected import is_protected
from retrieval.data.catalog import WORD, Attribute, Catalog
from retrieval.data.crowd import Crowd
from retrieval.data.events import History
from retrieval.ranking import Floats

MOST_CITED = 2
MOST_ATTRIBUTES = 2
LOOKED_AT = 5
TOGETHER = 5  # people who liked two items, from which on it is worth saying
TIMES = 1.5  # as many as chance would have, from which on it says anything
SAMPLE = 300
NEAR_SHARE = 0.99
_NEGATED = re.compile(
    r"\b(?:no|not|without|except|never|nothing|avoid|hate|\w+n['’]t)\b[^,;.!?]*?(?=[,;.!?]|\bbut\b|$)"
)
_COMMON_WORDS = frozenset(
    "about and any are but can could for from get give good great has have how into item like list liked look looking"
    " me more most movie movies film films game games book books my need one please recommend show some something"
    " than that the their them then there these they this those to top too very want was what when which who why will"
    " with would you your no not without except never nothing avoid hate don".split()
)


class EvidenceFinder:
    """Finds evidence for items of one catalog."""

    def __init__(
        self,
        catalog: Catalog,
        vectors: Callable[[Sequence[str]], Floats],
        attribution: Attribution,
        crowd: Crowd | None = None,
    ):
        """vectors: gives the text vectors (n, d) of item ids. crowd: whose likes are evidence; None: nobody's.

        attribution: tells what in a history speaks for an item.
        """
        self._catalog = catalog
        self._fetch = vectors
        self._fetched: dict[str, Floats] = {}
        self._crowd = crowd
        self._they = crowd.verb if crowd else "liked"
        self._attribution = attribution
        self._count = Counter(a for item_id in catalog.ids for a in set(catalog.attributes(item_id)))

    def find(self, item_id: str, taste: Taste) -> Evidence:
        """The evidence for one item: words of the query that stand in its text, else liked items that speak for it.

        These have something in common with it, or were liked together with it, or are near in text; else it may be
        popular, or new. An item that has a word which the query rules out is called far from it, whatever else it has.
        """
        label = self._catalog.label(item_id)
        wanted, unwanted = split_query(taste.query)
        said = self._catalog.words(item_id)
        if said & set(unwanted):
            return Evidence(item_id, label, "far", "liked", query=taste.query)
        words = tuple(word for word in wanted if word in said)
        if words:
            return Evidence(item_id, label, "words", "liked", words=words, query=taste.query)
        liked = [other for other in taste.liked if other != item_id]
        speaking = self._speaking(item_id, liked, taste.history)
        if speaking:
            found = self._by_likes(
                Evidence(item_id, label, "cited", "liked", query=taste.query, they=self._they), speaking, taste.liked
            )
            if found:
                return found
        if taste.query_vector is not None:
            # An encoder hardly hears a "no": nothing is said of the meaning of a query that has one.
            near = not unwanted and self._fits(item_id, taste.query_vector)
            return Evidence(item_id, label, "meaning" if near else "far", "liked", query=taste.query)
        did = next(iter(taste.liked.values()), "liked")
        return self._by_crowd(Evidence(item_id, label, "unlinked", did, query=taste.query, they=self._they))

    def contrasted(self, evidence: Evidence, item_id: str) -> Evidence:
        """The same in contrast to an item that is listed after it, if that lacks something that speaks for this one."""
        label = self._catalog.label(item_id)
        theirs = {(a.field, a.value) for a in self._catalog.attributes(item_id)}
        attributes = tuple(a for a in evidence.attributes if (a.field, a.value) not in theirs)
        if not attributes or label in (evidence.label, *(cited.label for cited in evidence.cited)):
            return evidence
        return replace(evidence, shape="contrast", attributes=attributes, other=label)

    def _by_likes(self, about: Evidence, speaking: Sequence[Cited], did: Mapping[str, str]) -> Evidence | None:
        """What liked items say for an item, if it can be said."""
        cited, shared = self._sharing(about.item_id, speaking, did)
        attributes = self._most_specific(shared, [other for other in did if other != about.item_id])
        if attributes:
            verb = did[cited[0].item_id]
            return replace(about, shape="cited-common", did=verb, cited=cited, attributes=attributes)
        together = self._together(about.item_id, speaking)
        if together:
            one, people, times = together
            verb = did[one.item_id]
            return replace(about, shape="together", did=verb, cited=(one,), people=people, times=times)
        nearest = max(speaking, key=lambda one: one.similarity)
        if nearest.similarity >= self.near:
            return replace(about, did=did[nearest.item_id], cited=(nearest,))
        return None

    def _together(self, item_id: str, speaking: Sequence[Cited]) -> tuple[Cited, int, float] | None:
        """The first of the liked items that people liked together with the item more often than by chance."""
        if self._crowd is None:
            return None
        own, *others = self._crowd.likers([item_id, *(one.item_id for one in speaking)])
        for one, people in zip(speaking, others, strict=True):
            both = len(own & people)
            if both >= TOGETHER and both * self._crowd.users >= TIMES * len(own) * len(people):
                return one, both, round(both * self._crowd.users / (len(own) * len(people)), 4)
        return None

    def _by_crowd(self, about: Evidence) -> Evidence:
        """That everybody likes the item, or that nobody has had it, or nothing."""
        if self._crowd is None or self._crowd.users == 0:
            return about
        people = len(self._crowd.likers([about.item_id])[0])
        if people >= max(TOGETHER, self._crowd.popular_from):
            return replace(about, shape="popular", people=people)
        return about if about.item_id in self._crowd.had else replace(about, shape="new")

    def _vectors(self, item_ids: Sequence[str]) -> Floats:
        """(n, d); each item's vector is fetched once, for the items of a list are explained from one history."""
        missing = [item_id for item_id in dict.fromkeys(item_ids) if item_id not in self._fetched]
        self._fetched.update(zip(missing, self._fetch(missing), strict=True))
        return np.stack([self._fetched[item_id] for item_id in item_ids])

    @cached_property
    def _drawn(self) -> Floats:
        """The vectors of items drawn by chance: how near is near."""
        return self._vectors(random.Random(0).sample(self._catalog.ids, min(SAMPLE, len(self._catalog))))

    @cached_property
    def near(self) -> float:
        """The cosine from which two items' texts are called close: what 99 % of pairs drawn by chance stay below."""
        cosines = (self._drawn @ self._drawn.T)[np.triu_indices(len(self._drawn), k=1)]
        return float(np.quantile(cosines, NEAR_SHARE)) if len(cosines) else 1.0

    def _fits(self, item_id: str, query: Floats) -> bool:
        """Whether an item is as near to the words as the nearest hundredth of items, and not opposed to them."""
        cosine = float(self._vectors([item_id])[0] @ query)
        return cosine > 0 and cosine >= float(np.quantile(self._drawn @ query, NEAR_SHARE))

    def _speaking(self, item_id: str, liked: list[str], history: History) -> list[Cited]:
        """The liked items without which the item's score would be less, those with the greatest effect first."""
        if not liked:
            return []
        effects = self._attribution.effects(item_id, history, liked)
        speaking = [other for other, effect in effects.items() if effect > 0]
        strongest = sorted(speaking, key=lambda other: (-effects[other], other))[:LOOKED_AT]
        vectors = self._vectors([item_id, *strongest])
        return [
            Cited(other, self._catalog.label(other), round(cosine, 4), round(effects[other], 6))
            for other, cosine in zip(strongest, (vectors[1:] @ vectors[0]).tolist(), strict=True)
        ]

    def _sharing(
        self, item_id: str, speaking: Sequence[Cited], did: Mapping[str, str]
    ) -> tuple[tuple[Cited, ...], list[Attribute]]:
        """The first liked item that shares something with this one, and a second one that shares it with both.

        What is about a protected trait of people is no reason.
        """
        own = [one for one in self._catalog.attributes(item_id) if not is_protected(one.field, one.value)]
        first = next((one for one in speaking if self._shared(own, one.item_id)), None)
        if first is None:
            return (), []
        shared, chosen = self._shared(own, first.item_id), [first]
        for other in speaking:
            fits = len(chosen) < MOST_CITED and other != first and did[other.item_id] == did[first.item_id]
            if fits and self._shared(shared, other.item_id):
                shared = self._shared(shared, other.item_id)
                chosen.append(other)
        return tuple(chosen), shared

    def _shared(self, attributes: list[Attribute], other: str) -> list[Attribute]:
        theirs = set(self._catalog.attributes(other))
        return [attribute for attribute in attributes if attribute in theirs]

    def _most_specific(self, shared: list[Attribute], liked: list[str]) -> tuple[SharedAttribute, ...]:
        """At most two attributes of one field that the person likes more often than chance would."""
        in_liked = Counter(a for item_id in liked for a in set(self._catalog.attributes(item_id)))
        rated = [
            SharedAttribute(
                a.field,
                a.value,
                round(math.log((in_liked[a] / len(liked)) / (self._count[a] / len(self._catalog))), 4),
            )
            for a in shared
        ]
        best = sorted((a for a in rated if a.specificity > 0), key=lambda a: (-a.specificity, a.value))
        same_field = [a for a in best if a.field == best[0].field]
        return tuple(same_field[: MOST_ATTRIBUTES if best and is_plural(best[0].field) else 1])


def split_query(query: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words of a query that are wanted and those that it rules out, without words that say nothing of an item."""
    text = query.casefold()
    ruled_out = " ".join(match[0] for match in _NEGATED.finditer(text))
    wanted, unwanted = (
        tuple(word for word in dict.fromkeys(WORD.findall(part)) if word not in _COMMON_WORDS)
        for part in (_NEGATED.sub(" ", text), ruled_out)
    )
    return wanted, tuple(word for word in unwanted if word not in wanted)
