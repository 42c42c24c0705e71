"""What is known of an item's text: the vectors of several encoders, side by side."""

from collections.abc import Sequence

import numpy as np

from retrieval.contracts import Encoder
from retrieval.ranking import Floats


class JoinedEncoder:
    """Several encoders as one (`Encoder`); each has the same share of a vector's length.

    Their dimensions differ in size by orders of magnitude, so the vectors are of use once they are whitened.
    """

    def __init__(self, parts: Sequence[Encoder]):
        if not parts:
            raise ValueError("at least one encoder is needed")
        self._parts = tuple(parts)
        self.fingerprint = "+".join(part.fingerprint for part in parts)
        self.dimension = sum(part.dimension for part in parts)

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, d) float32, each row of length 1."""
        share = np.float32(len(self._parts) ** -0.5)
        return np.concatenate([part.encode(texts) * share for part in self._parts], axis=1)
