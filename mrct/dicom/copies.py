"""Copies of one image in several files, as a download beside a CD leaves them."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from mrct.dicom.errors import Unreadable
from mrct.dicom.read import read_dataset
from mrct.dicom.series import Instance


class Distinct(NamedTuple):
    """Images without copies, the number of files left out as copies, and of files that contradict each other."""

    instances: list[Instance]
    n_copies: int
    n_contradictory: int


def without_copies(instances: Iterable[Instance]) -> Distinct:
    """Keep one file of each SOPInstanceUID; of files with one UID and different pixels keep none.

    An archive may have rewritten the headers of copies: the file is kept whose description most files of its series
    have, or else the first. Pixels are read only where a UID occurs twice. A file without UID is no copy.

    Args:
        instances: Images in the order of their files.
    """
    holders: dict[str, list[Path]] = defaultdict(list)
    found = list(instances)
    common = Counter((one.series_uid, one.description) for one in found)
    header = {one.path: (one.series_uid, one.description) for one in found}
    for one in found:
        if one.sop_instance_uid and one.path not in holders[one.sop_instance_uid]:
            holders[one.sop_instance_uid].append(one.path)
    left_out: set[Path] = set()
    copies = contradictory = 0
    for paths in holders.values():
        if len(paths) < 2:
            continue
        digests = {path: _digest(path) for path in paths}
        readable = [path for path in paths if digests[path]]
        if len({digests[path] for path in readable}) > 1:
            left_out.update(paths)
            contradictory += len(paths)
        else:
            kept = max(readable or paths, key=lambda path: common[header[path]])
            left_out.update(path for path in paths if path != kept)
            copies += len(paths) - 1
    return Distinct([one for one in found if one.path not in left_out], copies, contradictory)


def _digest(path: Path) -> bytes:
    """Return the hash of the decoded pixels, b"" where they cannot be read."""
    try:
        return hashlib.sha256(read_dataset(path, pixels=True).get("PixelData", b"")).digest()
    except Unreadable:
        return b""
