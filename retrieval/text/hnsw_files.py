"""The files that hnswlib keeps a graph in."""

import struct
from pathlib import Path


def check_hnsw_files(folder: Path) -> bool:
    """Refuse cut files of vectors below ``folder``, and say whether there are any files at all.

    Chroma would answer from what is left of them, or crash the process, when it is first asked anything. Damage that
    keeps the sizes is not found.

    Raises:
        OSError: one is missing, or shorter than the header says.
    """
    headers = list(folder.glob("*/header.bin"))
    for header in headers:
        # hnswlib: version, first offset, room, items, bytes for each item
        version, _, _, items, size = struct.unpack("<i4q", header.read_bytes()[:36].ljust(36, b"\0"))
        least = {
            "header.bin": 100,
            "data_level0.bin": items * size,
            "length.bin": 4 * items,
            "link_lists.bin": 4 * items,
        }
        known = least if version <= 1 else {"header.bin": 100}  # a later format has other rules
        if any((header.parent / name).stat().st_size < known[name] for name in known):
            raise OSError("its vectors are cut short")
    return bool(headers)
