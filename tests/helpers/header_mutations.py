"""Headers with one odd value, reproducible by their seed: emptied, doubled, huge, negative, NaN, text, other VRs."""

import random
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydicom.datadict import dictionary_VR, tag_for_keyword

ROOT = Path(__file__).parents[2]
#: What an element may hold, as bytes; {0} is its present text.
TEXTS = [
    b"", b" ", b"\0", b"{0}\\{0}", b"{0}\\{0}\\{0}\\{0}", b"\\", b"{0}\\", b"\\{0}", b"{0}{0}", b"-{0}", b"0",
    b"0\\0", b"-1", b"1e308", b"1e400", b"1E-300", b"99999999", b"4294967296", b"nan", b"NaN\\NaN", b"inf", b"-inf",
    b"abc", b"0,5", b"1,024", b"1.5", b"0x10", b"M\xfcller", b"\xff\xfe\xfd", b"\x1b$B;3ED", b"A" * 2000,
    b"1\\2\\3\\4\\5\\6\\7\\8", b"20200231", b"00000000", b"99991231", b"1.2.3", b"None", b"%s%n",
]  # fmt: skip
#: Numbers of US, SS, UL, FL, FD elements, as bytes.
BINARY = [
    b"",
    b"\0\0",
    b"\1\0",
    b"\xff\xff",
    b"\0\x80",
    b"\0" * 4,
    b"\xff" * 8,
    b"\0\0\0\0\0\0\xf8\x7f",
    b"\1",
]
_PREAMBLE, _LONG_VRS = 132, (b"OB", b"OW", b"OF", b"OD", b"SQ", b"UT", b"UN", b"UC", b"UR")
VRS = [
    "DS",
    "IS",
    "CS",
    "LO",
    "UT",
    "UI",
    "US",
    "SS",
    "UL",
    "FD",
    "FL",
    "OB",
    "SH",
    "PN",
    "DA",
    "TM",
    "AT",
    "UN",
]


class Mutation(NamedTuple):
    """One odd value: the keyword, the VR and the bytes of the element, and the slices that hold it (None: all)."""

    modality: str
    keyword: str
    vr: str
    content: bytes
    slices: tuple[int, ...] | None

    def applies(self, modality: str, k: int) -> bool:
        return modality == self.modality and (self.slices is None or k in self.slices)


def used_keywords() -> list[str]:
    """Return the DICOM keywords that the code after de-identification names."""
    found = set()
    for folder in ("dicom", "selection", "inference"):
        for path in sorted((ROOT / "mrct" / folder).glob("*.py")):
            found |= set(re.findall(r"\b[A-Z][A-Za-z]+\b", path.read_text(encoding="utf-8")))
    group_2 = 0x00030000
    return sorted(word for word in found if (tag_for_keyword(word) or 0) >= group_2 and word != "PixelData")


def mutations(seed: int, count: int, slices: int) -> Iterator[Mutation]:
    """Yield mutations of random attributes."""
    rng, keywords = random.Random(seed), used_keywords()
    for _ in range(count):
        keyword = rng.choice(keywords)
        vr = dictionary_VR(tag_for_keyword(keyword)).split(" ")[0]
        vr = rng.choice(VRS) if rng.random() < 0.2 else vr
        content = rng.choice(BINARY if vr in ("US", "SS", "UL", "FD", "FL", "AT") else TEXTS)
        some = tuple(sorted(rng.sample(range(slices), rng.choice([1, 1, slices // 2]))))
        yield Mutation(rng.choice(["CT", "MR"]), keyword, vr, content, rng.choice([None, None, some]))


def mutated(content: bytes, mutation: Mutation) -> bytes:
    """Return a file of explicit VR little endian with the element replaced, or inserted at its place, as raw bytes."""
    tag = tag_for_keyword(mutation.keyword) or 0
    wanted = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    place = _PREAMBLE
    while place < len(content):
        group, number, value, end = _element(content, place)
        if (group << 16) + number >= tag:
            same = content[place : place + 4] == wanted
            present = content[value:end].rstrip(b" \0") if same else b"1"
            return content[:place] + _bytes(wanted, mutation, present) + content[end if same else place :]
        place = end
    return content + _bytes(wanted, mutation, b"1")


def _element(content: bytes, place: int) -> tuple[int, int, int, int]:
    """Return group and number of the element at `place`, and where its value begins and ends (PS3.5 7.1.2)."""
    group, number, vr = struct.unpack_from("<HH2s", content, place)
    if vr in _LONG_VRS:
        (length,) = struct.unpack_from("<I", content, place + 8)
        return group, number, place + 12, place + 12 + length
    (length,) = struct.unpack_from("<H", content, place + 6)
    return group, number, place + 8, place + 8 + length


def _bytes(tag: bytes, mutation: Mutation, present: bytes) -> bytes:
    vr, value = mutation.vr.encode(), mutation.content.replace(b"{0}", present[:60])
    value += b" " * (len(value) % 2)
    if vr in _LONG_VRS:
        return tag + vr + b"\0\0" + struct.pack("<I", len(value)) + value
    return tag + vr + struct.pack("<H", len(value)) + value
