"""Similarities between items, of which each keeps its nearest neighbours."""

import numpy as np
from scipy.sparse import csc_array, csr_array

AT_ONCE = 2**24  # similarities in memory at a time


def similarities(columns: csr_array, counted: csr_array, neighbours: int, shrink: float) -> csr_array:
    """(m, m) float32; column i has the ``neighbours`` items with the highest cosine to item i, itself left out.

    columns: (n, m) what the cosine is of. counted: (n, m) 1 where an event is: a cosine that rests on c common users
    is multiplied by ``c / (c + shrink)`` (Koren 2010, equation 3). Only positive similarities are kept; of equal ones
    the lower column wins.
    """
    lengths = np.sqrt(np.asarray(columns.multiply(columns).sum(axis=0)).ravel())
    unit = csc_array(columns.multiply(np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)[None, :]))
    counted = csc_array(counted)
    items = unit.shape[1]
    transposed, size = csr_array(unit.T), max(1, AT_ONCE // max(1, items))
    parts = []
    for start in range(0, items, size):
        block = slice(start, min(start + size, items))
        found = np.asarray((transposed @ unit[:, block]).toarray(), dtype=np.float32)
        if shrink > 0:
            common = np.asarray((csr_array(counted.T) @ counted[:, block]).toarray(), dtype=np.float32)
            found *= common / (common + np.float32(shrink))
        found[np.arange(block.start, block.stop), np.arange(block.stop - block.start)] = 0
        parts.append(_nearest(found, neighbours))
    data, rows, lengths = (np.concatenate([part[place] for part in parts]) for place in range(3))
    by_column = csc_array((data, rows, np.concatenate([[0], np.cumsum(lengths)])), shape=(items, items))
    return csr_array(by_column)  # by row: histories are multiplied from the left


def _nearest(found: np.ndarray, neighbours: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, rows and number of the positive entries that each column of ``found`` (m, b) keeps."""
    by = np.argsort(-found, axis=0, kind="stable")[:neighbours]
    kept = np.take_along_axis(found, by, axis=0)
    positive = kept > 0
    return kept.T[positive.T], by.T[positive.T], positive.sum(axis=0)
