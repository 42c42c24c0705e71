"""Packing many continuations behind one prefix."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.packing import batches, collate, pack

TOKENS = st.lists(st.integers(0, 5), min_size=1, max_size=4)


def test_a_continuation_sees_the_prefix_and_itself_only():
    packed = pack([7, 8], [[1, 2], [3]])
    assert packed.ids == [7, 8, 1, 2, 3]
    assert packed.positions() == [0, 1, 2, 3, 2]
    assert packed.paths == [[2, 3], [4]]
    assert packed.visible().astype(int).tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]


def test_continuations_that_begin_alike_share_these_tokens():
    packed = pack([7], [[1, 2], [1, 3], [1, 2]])
    assert packed.ids == [7, 1, 2, 3]
    assert packed.paths == [[1, 2], [1, 3], [1, 2]]


@given(TOKENS, st.lists(TOKENS, min_size=1, max_size=5))
@settings(deadline=None)
def test_what_the_last_token_sees_is_its_own_text(prefix, continuations):
    packed = pack(prefix, continuations)
    visible, positions = packed.visible(), packed.positions()
    for continuation, path in zip(continuations, packed.paths, strict=True):
        seen = [place for place in range(len(packed.ids)) if visible[path[-1], place]]
        assert [packed.ids[place] for place in seen] == prefix + continuation
        assert [positions[place] for place in seen] == list(range(len(seen)))


def test_padding_sees_itself_only_and_nobody_sees_it():
    batch = collate([pack([1], [[2]]), pack([1, 2, 3], [[4]])], torch.device("cpu"))
    assert batch.ids.tolist() == [[1, 2, 0, 0], [1, 2, 3, 4]]
    assert batch.mask.shape == (2, 1, 4, 4)
    assert batch.mask.dtype == torch.bool
    assert batch.mask[0, 0, 2:].int().tolist() == [[0, 0, 1, 0], [0, 0, 0, 1]]
    assert not batch.mask[0, 0, :2, 2:].any()


@pytest.mark.parametrize(("prefix", "continuations"), [([], [[1]]), ([1], [[]])])
def test_nothing_to_pack_is_refused(prefix, continuations):
    with pytest.raises(ValueError, match="at least one token"):
        pack(prefix, continuations)


@given(st.lists(st.integers(1, 50), max_size=20))
@settings(deadline=None)
def test_batches_hold_each_sequence_once_and_stay_small(lengths):
    groups = batches(lengths, 100)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    assert all(len(group) * max(lengths[i] for i in group) <= 100 for group in groups)
