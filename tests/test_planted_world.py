"""Retrieval finds what was planted."""

import pytest
from conftest import WordEncoder

from retrieval.text.profile import Profile, interest_in
from retrieval.text.retriever import TextRetriever


@pytest.mark.parametrize("user", range(6))
def test_withheld_items_of_the_liked_topic_come_first(planted, planted_index, user):
    history = planted.history(f"user-{user}")
    liked = [item for item, value in zip(history.items, history.values, strict=True) if value >= 5]
    topic = liked[0].split("-")[0]
    profile = Profile((interest_in(planted_index.vectors(liked)),), frozenset(history.items))
    found = TextRetriever(planted_index).retrieve([profile], 2)
    assert set(found.ids[0]) == {f"{topic}-4", f"{topic}-5"}


def test_a_query_finds_its_words(planted_index):
    profile = Profile((interest_in(WordEncoder().encode(["garlic road"])),))
    assert TextRetriever(planted_index).retrieve([profile], 1).ids[0, 0] == "cooking-5"
