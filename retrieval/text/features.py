"""What is known of an item's text: the vectors of several encoders, side by side."""

from collections.abc import Sequence

import numpy as np

from retrieval.contracts import Encoder
from retrieval.ranking import Floats


class JoinedEncoder:
    """Several encoders side by side (`Encoder`); each one's part of a vector has length 1.

    Their dimensions differ in size by orders of magnitude, so the vectors are of use once they are whitened.
    """

    def __init__(self, parts: Sequence[Encoder]):
        if not parts:
            raise ValueError("at least one encoder is needed")
        self._parts = tuple(parts)
        self.fingerprint = "+".join(part.fingerprint for part in parts)
        self.dimension = sum(part.dimension for part in parts)

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, d) float32, each row as long as the root of the number of encoders."""
        return np.concatenate([part.encode(texts) for part in self._parts], axis=1)
