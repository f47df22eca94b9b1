"""Recognize content that is compressed, encrypted or scattered, and that this program does not open.

Nothing is known about such content beyond its plain bytes, and the search must say so. A format is recognized by its
magic number. Data of an unknown format are recognized by their entropy: compressed and encrypted bytes are nearly
uniform.
"""

import re

import numpy as np

#: Bytes at the beginning of a content in which the magic numbers lie; the volume descriptor of ISO 9660 is the last.
HEAD_BYTES = 33 << 10
#: Bytes at the end of a content in which the magic numbers of disk images and prefixed archives lie.
TAIL_BYTES = 512
#: Bytes in the middle of a content whose entropy is measured.
SAMPLE_BYTES = 1 << 16
_SHORTEST_SAMPLE = 4096
# Bits per byte. Compressed text has at least 7.92 in samples of 4 KiB and more, normally distributed numbers of type
# float64 have 7.62.
_UNIFORM_BITS = 7.9


def _magic(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern, re.DOTALL)


_FORMATS = {
    "a RAR archive": _magic(rb"Rar!\x1a\x07|RE~\^"),
    "a cabinet": _magic(rb"MSCF\0|ISc\("),
    "an LHA, ARC or ACE archive": _magic(rb"..-l[hz][0-9a-z]-|.{7}\*\*ACE\*\*"),
    "an ar, cpio or xar archive": _magic(rb"!<arch>\n|07070[127]|xar!|\xed\xab\xee\xdb"),
    "a compress stream": _magic(rb"\x1f\x9d[\x89-\x90\x09-\x10]"),
    "an lz4 stream": _magic(rb"\x04\x22\x4d\x18|\x02\x21\x4c\x18"),
    "an lzip, lzop or Snappy stream": _magic(rb"LZIP[\0\1]|\x89LZO\0\r\n\x1a\n|\xff\x06\0\0sNaPpY"),
    "a disk image": _magic(
        rb".{32769}CD001|MSWIM\0|hsqs|sqsh|QFI\xfb|KDMV|COWD|conectix|vhdxfile|EVF\x09\r\n\xff\0|EVF2\r\n\x81\0"
    ),
    "an Office document or message of the older kind (OLE)": _magic(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    "an Outlook folder": _magic(rb"!BDN"),
    "an attachment of Outlook (winmail.dat)": _magic(rb"\x78\x9f\x3e\x22"),
    "a help file (CHM)": _magic(rb"ITSF"),
    "an HDF5 file": _magic(rb"(?:.{512})?\x89HDF\r\n\x1a\n"),
    "a Parquet, Feather or ORC table": _magic(rb"PAR1|PARE|ARROW1|FEA1|ORC"),
    # They draw letter by letter. EPS may have a binary header (Adobe TN 5002), and a print job begins with PJL.
    "a PostScript, DVI, PCL or DjVu document": _magic(
        rb"\x04?%!PS|\xc5\xd0\xd3\xc6|\x1b%-12345X|\xf7\x02\x01\x83\x92\xc0|AT&TFORM"
    ),
    "a pack or bundle of git": _magic(rb"PACK\0\0\0|# v[23] git bundle\n"),
    "an encrypted file": _magic(
        rb"-----BEGIN PGP MESSAGE-----|Salted__|age-encryption\.org/|LUKS\xba\xbe|\x03\xd9\xa2\x9a|AES[\1\2]\0"
        rb"|\x84\x5e\x03|\x85[\1\2]\x0c\x03|\x8c\x0d\x04|\x30[\x80-\x84].{0,4}?\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03"
    ),
}
_ANY = _magic(b"|".join(magic.pattern for magic in _FORMATS.values()))
# Pixels, sound and numbers may be nearly uniform; the texts of these files stand in plain bytes.
_PLAIN = _magic(
    rb"\xff\xd8\xff|GIF8|II\*\0|MM\0\*|II\+\0|MM\0\+|RIFF|\0\0\0\x0cj[PX]|\xff\x4f\xff\x51|\xff\x0a|....ftyp|OggS|ID3"
    rb"|fLaC|\x1aE\xdf\xa3|\x93NUMPY|.{6}\0\0\{[\"}]"
)


def recognize(head: bytes, tail: bytes) -> str | None:
    """Return the name of a format that is not opened, or None."""
    if _ANY.match(head):
        return next(name for name, magic in _FORMATS.items() if magic.match(head))
    # The last sector of an Apple disk image (UDIF).
    return "a disk image" if tail[-512:-508] == b"koly" else None


def looks_compressed(head: bytes, sample: bytes) -> bool:
    """Return whether a content of unknown format is compressed or encrypted."""
    return len(sample) >= _SHORTEST_SAMPLE and not _PLAIN.match(head) and entropy_bits(sample) > _UNIFORM_BITS


def entropy_bits(sample: bytes) -> float:
    """Return the entropy of the distribution of bytes, from 0 to 8 bits (Shannon 1948)."""
    counts = np.bincount(np.frombuffer(sample, dtype=np.uint8))
    shares = counts[counts > 0] / len(sample)
    return float(-(shares * np.log2(shares)).sum())
