"""The language model as a writer: what it may write, how likely it is, and that the batch makes no difference."""

import math

import pytest
import torch
from tiny_language_model import tiny_language_model

from finetune.wording import Place, Wording, split
from finetune.writer import LMWriter, WritingRequest
from prompts import fill, free, patterns, shapes, wordings

STOP = 0
KNOWN = [
    "You [DID] [CITED], and [ITEM] has [COMMON].",
    "You [DID] [CITED], so [ITEM] has [COMMON], too.",
    "Like [CITED], which you [DID], [ITEM] has [COMMON].",
]


def letters(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def texts(wording: Wording) -> set[str]:
    """All that may be written."""
    found, open_ends = set(), [frozenset({Place()})]
    while open_ends:
        places = open_ends.pop()
        for token in wording.allowed(places):
            if token == STOP:
                found |= {"".join(place.pieces).lstrip() for place in places if not place.begun}
            else:
                open_ends.append(wording.advance(places, token))
    return found


def test_pieces_are_the_sentence():
    for shape in shapes():
        for sentence in wordings(shape):
            assert "".join(split(sentence)) == " " + sentence


def test_known_sentences_alone_may_be_written():
    assert texts(Wording(KNOWN, letters, STOP, free=False)) == set(KNOWN)


def test_free_sentences_are_put_together_anew_within_what_begins_alike():
    assert texts(Wording(KNOWN, letters, STOP, free=True)) - set(KNOWN) == {
        "You [DID] [CITED], and [ITEM] has [COMMON], too.",
        "You [DID] [CITED], so [ITEM] has [COMMON].",
    }


def test_a_slot_that_all_have_is_never_left_out_or_doubled():
    looped = ["A [ITEM] or a [ITEM] and [CITED] end.", "A [ITEM] and [CITED] or a [CITED] end."]
    for text in texts(Wording(looped, letters, STOP, free=True)):
        assert 1 <= text.count("[ITEM]") <= 2
        assert 1 <= text.count("[CITED]") <= 2


def test_pieces_that_begin_with_the_same_tokens_are_told_apart():
    known = ["it is new.", "it is newer.", "it is new here."]
    assert texts(Wording(known, letters, STOP, free=False)) == set(known)


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    return tiny_language_model(tmp_path_factory.mktemp("written"))


def drafts_of(lm, shape, count=6, samples=4):
    requests = [WritingRequest(shape, f"item {number}") for number in range(count)]
    return LMWriter(lm).write(requests, samples)


def test_the_writer_gives_the_models_own_probabilities(lm):
    """Against probabilities worked out token by token, without cache and batch."""
    writer = LMWriter(lm)
    wording, prefix = writer.wording("popular"), writer.prefix("popular")
    found = [draft for drafts in drafts_of(lm, "popular") for draft in drafts]
    assert len({draft.text for draft in found}) > 2
    for draft in found[:5]:
        assert draft.text in wordings("popular")
        places, ids, total = frozenset({Place()}), list(prefix), 0.0
        for token in wording.tokens(draft.text):
            allowed = sorted(wording.allowed(places))
            with torch.inference_mode():
                logits = lm.model(torch.tensor([ids])).logits[0, -1]
            total += float(logits[allowed].float().log_softmax(0)[allowed.index(token)])
            ids.append(token)
            if token != wording.stop:
                places = wording.advance(places, token)
        assert draft.log_probability == pytest.approx(total, abs=1e-3)


def test_what_is_written_depends_on_the_request_alone(lm):
    together = LMWriter(lm).write([WritingRequest(shape, "same") for shape in shapes()], samples=3)
    for shape, drafts in zip(shapes(), together, strict=True):
        alone = LMWriter(lm).write([WritingRequest(shape, "same")], samples=3)[0]
        assert [draft.text for draft in drafts] == [draft.text for draft in alone]
        assert len(drafts) <= 3
        assert [d.log_probability for d in drafts] == sorted((d.log_probability for d in drafts), reverse=True)
        assert all(math.isfinite(draft.log_probability) for draft in drafts)
    assert LMWriter(lm).write([], samples=2) == []


def test_every_slot_is_in_every_draft(lm):
    for shape in shapes():
        needed = set.intersection(*({p for p in split(text) if "[" in p} for text in wordings(shape)))
        for drafts in drafts_of(lm, shape, count=2):
            assert all(needed <= set(split(draft.text)) for draft in drafts)
            assert free(shape) or (drafts and {draft.text for draft in drafts} <= set(wordings(shape)))


def test_a_pattern_spells_out_its_alternatives():
    every = patterns("new")
    assert every[1] == (
        "So far nobody has had [ITEM]: it is new.",
        "So far nobody has had [ITEM], which is new.",
        "Nobody here has had [ITEM]: it is new.",
        "Nobody here has had [ITEM], which is new.",
    )
    assert wordings("new")[0] == every[0][0]


def test_slot_texts_are_taken_literally():
    assert fill("[ITEM] and [CITED]", ITEM="A (x|y) [CITED]", CITED="B") == "A (x|y) [CITED] and B"
    with pytest.raises(KeyError, match="COMMON"):
        fill("[COMMON]", ITEM="A")
