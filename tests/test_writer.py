"""The language model as a writer: what it may write, how likely it is, and that the batch makes no difference."""

import math

import llguidance.numpy
import pytest
import torch
from tiny_language_model import tiny_language_model

from finetune.constrained import ConstrainedWriter
from finetune.wording import WritingRequest, fitting, grammar, split
from finetune.writer import LMWriter
from prompts import fill, free, patterns, shapes, wordings


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    return tiny_language_model(tmp_path_factory.mktemp("written"))


KNOWN = [
    "You [DID] [CITED], and [ITEM] has [COMMON].",
    "You [DID] [CITED], so [ITEM] has [COMMON], too.",
    "Like [CITED], which you [DID], [ITEM] has [COMMON].",
]
ANEW = ["You [DID] [CITED], and [ITEM] has [COMMON], too.", "You [DID] [CITED], so [ITEM] has [COMMON]."]
NEVER = [
    "You [DID] [CITED], and [ITEM] has.",
    "You [DID] [CITED], which you [DID], [ITEM] has [COMMON].",
    "Like [CITED], which you [DID], [ITEM] has [COMMON], too.",
    "You [DID] [CITED], and [ITEM] has [COMMON]. You [DID] [CITED].",
    "You [DID] Titanic, and [ITEM] has [COMMON].",
]


def test_pieces_are_the_sentence():
    for shape in shapes():
        for sentence in wordings(shape):
            assert "".join(split(sentence)) == " " + sentence


@pytest.mark.parametrize("is_free", [False, True])
def test_what_may_be_written(lm, is_free):
    matcher = ConstrainedWriter(lm).matcher(grammar(KNOWN, free=is_free))

    def fits(text):
        trial, tokens = matcher.deep_copy(), lm.text_ids(f" {text}")
        return trial.try_consume_tokens(tokens) == len(tokens) and trial.is_accepting()

    assert all(fits(text) for text in KNOWN)
    assert [fits(text) for text in ANEW] == [is_free] * len(ANEW)
    assert not any(fits(text) for text in NEVER)
    afterwards = fitting(KNOWN, free=is_free)
    odd = ["", " ", "You", f"{KNOWN[0]} ", f"{KNOWN[0]}\n", KNOWN[0].replace(" ", "  "), KNOWN[0].lower()]
    for text in (*KNOWN, *ANEW, *NEVER, *odd):
        assert afterwards(text) == fits(text), text


@pytest.mark.parametrize("shape", [shape for shape in shapes() if free(shape)])
def test_a_text_never_ends_without_a_slot_that_all_have(lm, shape):
    needed = set.intersection(*({p for p in split(text) if "[" in p} for text in wordings(shape)))
    requests = [WritingRequest(shape, str(number)) for number in range(40)]
    found = [draft.text for drafts in LMWriter(lm).write(requests, 1) for draft in drafts]
    assert set(found) - set(wordings(shape))  # an untuned model writes what is not known
    assert all(needed <= set(split(text)) for text in found)


def test_a_grammar_that_is_none_is_refused(lm):
    with pytest.raises(ValueError, match="Expected value"):
        ConstrainedWriter(lm).matcher("begin: 1")


def drafts_of(lm, shape, count=6, samples=4):
    requests = [WritingRequest(shape, f"item {number}") for number in range(count)]
    return LMWriter(lm).write(requests, samples)


def test_the_writer_gives_the_models_own_probabilities(lm):
    """Against probabilities worked out token by token, without cache and batch."""
    prefix, stop = LMWriter(lm).prefix("popular"), lm.tokenizer.eos_token_id
    writer = ConstrainedWriter(lm)
    matcher = writer.matcher(grammar(wordings("popular"), free=False))
    likeliest = writer.write(prefix, matcher, [None, None], 200)
    assert likeliest[0].text == likeliest[1].text
    assert likeliest[0].log_probability == pytest.approx(likeliest[1].log_probability, abs=1e-4)
    found = {one.text: one for one in [*likeliest, *writer.write(prefix, matcher, [(1, n) for n in range(30)], 200)]}
    assert len(found) > 2
    alike = 0
    for text, one in found.items():
        assert one.ended
        assert text in wordings("popular")
        ids, total, trial = list(prefix), 0.0, matcher.deep_copy()
        for token in [*lm.text_ids(f" {text}"), stop]:
            mask = llguidance.numpy.allocate_token_bitmask(1, lm.model.config.vocab_size)
            llguidance.numpy.fill_next_token_bitmask(trial, mask)
            allowed = [t for t in range(lm.model.config.vocab_size) if mask[0, t // 32] >> (t % 32) & 1]
            with torch.inference_mode():
                logits = lm.model(torch.tensor([ids])).logits[0, -1]
            total += float(logits[allowed].float().log_softmax(0)[allowed.index(token)])
            ids.append(token)
            trial.consume_token(token)
        alike += one.log_probability == pytest.approx(total, abs=1e-3)
    assert alike >= len(found) // 2  # some texts were written in other tokens than the tokenizer would choose


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
