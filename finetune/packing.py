"""Put one prefix and many continuations into one sequence in which the continuations cannot see one another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray


@dataclass(frozen=True)
class Packed:
    """A tree of T tokens in one row: a token sees its ancestors and itself, nothing else.

    parents: for each token the place of the token before it, -1 for the first. paths: for each continuation the
    places of its tokens, so the last entry is where its score is read.
    """

    ids: list[int]
    parents: list[int]
    paths: list[list[int]]

    def positions(self) -> list[int]:
        """The depth of each token, which restarts behind the prefix for every continuation."""
        depths: list[int] = []
        for parent in self.parents:
            depths.append(depths[parent] + 1 if parent >= 0 else 0)
        return depths

    def visible(self) -> NDArray[np.bool_]:
        """(T, T) True where the row's token may attend to the column's."""
        mask = np.eye(len(self.ids), dtype=np.bool_)
        for place, parent in enumerate(self.parents):
            if parent >= 0:
                mask[place] |= mask[parent]
        return mask


def pack(prefix: Sequence[int], continuations: Sequence[Sequence[int]]) -> Packed:
    """Join a prefix of P tokens and N continuations of l tokens: P + N·l tokens instead of N·(P + l).

    Continuations that begin alike share these tokens too. Scoring a packed sequence equals scoring each
    continuation behind the prefix alone, in any order.
    """
    if not prefix:
        raise ValueError("a packed sequence needs a prefix of at least one token")
    ids, parents = list(prefix), list(range(-1, len(prefix) - 1))
    children: dict[tuple[int, int], int] = {}
    paths = []
    for continuation in continuations:
        if not continuation:
            raise ValueError("a continuation needs at least one token")
        path, place = [], len(prefix) - 1
        for token in continuation:
            step = (place, token)
            if step not in children:
                children[step] = len(ids)
                ids.append(token)
                parents.append(place)
            place = children[step]
            path.append(place)
        paths.append(path)
    return Packed(ids, parents, paths)


@dataclass(frozen=True)
class PackedBatch:
    """Several packed sequences padded to the longest, T tokens.

    ids, positions: (B, T) int64. mask: (B, 1, T, T) bool, True = attend; padding sees itself only, so that no row
    of the mask is empty.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor


def collate(sequences: Sequence[Packed], device: torch.device) -> PackedBatch:
    """Make the tensors of a batch. The mask must be boolean: a float mask of ones and zeros is silently wrong."""
    longest = max(len(sequence.ids) for sequence in sequences)
    ids = torch.zeros(len(sequences), longest, dtype=torch.int64)
    positions = torch.zeros_like(ids)
    mask = torch.eye(longest, dtype=torch.bool).repeat(len(sequences), 1, 1)
    for row, sequence in enumerate(sequences):
        length = len(sequence.ids)
        ids[row, :length] = torch.tensor(sequence.ids)
        positions[row, :length] = torch.tensor(sequence.positions())
        mask[row, :length, :length] = torch.from_numpy(sequence.visible())
    return PackedBatch(ids.to(device), positions.to(device), mask[:, None].to(device))


def batches(lengths: Sequence[int], most_tokens: int) -> list[list[int]]:
    """Group sequences of like length: lists of indices whose padded batch has at most ``most_tokens`` tokens."""
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if groups and (len(groups[-1]) + 1) * lengths[index] <= most_tokens:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups
