r"""Decode what a text holds in encoded form.

- Runs of base64 (RFC 4648, also the alphabet for URLs, and over several lines as in mail) and of hexadecimal digits.
- Lines of uuencode.
- Escapes: quoted-printable (RFC 2045), percent signs (RFC 3986), entities of HTML and XML, `\u00fc`, `\u{fc}`, `\xfc`,
  `\'fc` and `\u252?` of RTF, and octal bytes, as git quotes file names (`\303\274`).
- Tags, which may stand in the middle of a word, as in documents of Word. Tags that end a line or a cell separate.

No header has to announce an encoding: whatever has its form is decoded and searched as well. A text that only looks
encoded becomes noise, in which no value is found.
"""

import base64
import binascii
import codecs
import html
import re
import sys
from collections.abc import Iterator
from io import BytesIO
from typing import IO
from urllib.parse import unquote_to_bytes

import numpy as np

from mrct.leaks.blocks import LARGEST_IN_MEMORY, Block, Inside, plain_blocks

# Shortest run that is decoded: twelve bytes in base64, eight in hexadecimal digits.
_SHORTEST_RUN = 16
# Encoders break lines at 64 or 76 characters. Shorter lines are separate runs.
_SHORTEST_LINE = 40
# A shorter decoded text is searched, and nothing is decoded again in it.
_SHORTEST_TEXT = 64
# Context that is kept on both sides of an escape: more than the distance of two values that prove a leak together.
_REACH = 128
_BREAK = re.compile(rb"={0,2}(?:\r?\n[ \t>]*|(?:\\r)?\\n)")
_HEXADECIMAL = re.compile(rb"(?:[0-9A-Fa-f]{2})+")
# Base64 of both alphabets. A run without a digit is base64 only if it has whole groups of four; otherwise it is a name
# in a program, as a run with letters of one case only.
_BASE64 = re.compile(
    rb"(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])(?:(?=[^0-9]*[0-9])(?:[A-Za-z0-9+/]+|[A-Za-z0-9_-]+)|(?:[A-Za-z+/]{4})+)"
)
_DATA_URI = re.compile(rb"data:[\w/+.-]*(?:;[\w=.+-]+)*;base64,([A-Za-z0-9+/=%\s]{16,})")
_UUENCODED = re.compile(
    rb"^begin [0-7]{3,4} [^\r\n]*\r?\n((?:[ -`]{1,61}\r?\n)+?)[` ]?\r?\n?end", re.MULTILINE
)
_ESCAPE = re.compile(
    rb"%(?P<percent>[0-9A-Fa-f]{2})|=(?P<printable>[0-9A-F]{2})|(?P<soft>=[ \t]*\r?\n)|\\[x'](?P<byte>[0-9A-Fa-f]{2})"
    # RTF 1.9.1: a signed number of 16 bits, then a space that ends it, or a character for readers without Unicode. Four
    # digits and a space may be JSON as well: there, Chinese characters begin with 3 to 9.
    rb"|\\u(?P<signed>-[0-9]{1,5}|[1-9][0-9]{0,4})(?: ?(?:\?|\\'[0-9A-Fa-f]{2})|(?<!\\u[3-9][0-9]{3}) )"
    rb"|(?P<skip>\\uc[0-9](?![0-9A-Fa-f]) ?)|\\(?P<octal>[0-3][0-7]{2})"
    rb"|\\(?:U(?=[0-9A-Fa-f]{8})|u\{)(?P<point>[0-9A-Fa-f]{1,8})\}?"
    rb"|\\u(?P<unit>[0-9A-Fa-f]{4})|(?P<entity>&#?\w{2,31};)|</?(?P<tag>[A-Za-z][\w:.-]*)[^<>]{0,500}>"
)
# The characters with which escapes and tags begin, and those that may follow them.
_ESCAPE_STARTS = {
    b"%": b"0123456789ABCDEFabcdef",
    b"=": b"0123456789ABCDEF \t\r\n",
    b"\\": b"x'uU0123",
    b"&": b"#ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
    b"<": b"/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
}
# Local names of the tags that end a line or a cell: HTML, Word, Excel, PowerPoint and OpenDocument.
_SEPARATING = frozenset(
    b"p br div li tr td th h1 h2 h3 h4 h5 h6 dt dd pre option title body tc tab si c v row h table-cell".split()
)
_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def _byte_sets(*sets: bytes) -> np.ndarray:
    """Return for each byte the sets to which it belongs, as bits of uint8."""
    table = np.zeros(256, dtype=np.uint8)
    for bit, members in enumerate(sets):
        table[list(members)] |= 1 << bit
    return table


_LOWER, _UPPER, _OTHER = 1, 2, 4
_ALPHABET = _byte_sets(
    b"abcdefghijklmnopqrstuvwxyz",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    b"GHIJKLMNOPQRSTUVWXYZghijklmnopqrstuvwxyz+/-_",
    b"0123456789+/-_",
)
_FIRST, _SECOND = _byte_sets(*_ESCAPE_STARTS), _byte_sets(*_ESCAPE_STARTS.values())


def is_text(head: bytes) -> bool:
    """Return whether a content may be text: it has no NUL, or begins with the byte order mark of UTF-16."""
    return bool(head) and (b"\0" not in head[:512] or head[:2] in _MARKS)


def open_text(source: IO[bytes], inside: Inside) -> Iterator[Block]:
    """Decode the runs and the escapes in a text."""
    content = source.read(LARGEST_IN_MEMORY)
    if source.read(1):
        inside.note("a large text: encoded data after its first 128 MB were not decoded")
    if content[:2] in _MARKS:
        content = content.decode(_MARKS[content[:2]], "replace").encode()
    noise = []
    for decoded in _runs(content):
        is_text = len(decoded) >= _SHORTEST_TEXT and _is_printable(decoded)
        if is_text or (len(decoded) >= _SHORTEST_RUN and inside.is_container(decoded)):
            yield from inside.unpack(decoded)
        else:
            noise.append(decoded)
    for decoded in (b"\n".join(noise), _unescaped(content)):
        for block in plain_blocks(BytesIO(decoded).read, inside.budget, unpacked=True):
            yield block._replace(cells=False, repeats=True)


def _is_printable(content: bytes) -> bool:
    return all(byte >= 0x20 or byte in b"\t\n\r\f\x1b" for byte in content[:512])


def _runs(content: bytes) -> Iterator[bytes]:
    """Yield the decoded data URIs, runs of base64 and hexadecimal digits, and uuencoded files."""
    ends = {}
    for match in _DATA_URI.finditer(content):
        yield _from_base64(re.sub(rb"\s", b"", unquote_to_bytes(match[1])))
        ends[match.start(1)] = match.end()
    for match in _UUENCODED.finditer(content):
        yield b"".join(_from_uuencode(line) for line in match[1].splitlines())
    done = 0
    for start, run in _encoded_runs(content):
        done = max(done, ends.pop(start, 0))
        if start < done:
            continue
        if _HEXADECIMAL.fullmatch(run):
            yield bytes.fromhex(run.decode())
        elif _BASE64.fullmatch(run):
            yield _from_base64(run)


def _encoded_runs(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the place and the characters of each run; lines that follow each other are one run."""
    kinds = np.zeros(len(content) + 2, dtype=np.uint8)
    kinds[1:-1] = _ALPHABET[np.frombuffer(content, dtype=np.uint8)]
    edges = np.flatnonzero((kinds[1:] > 0) != (kinds[:-1] > 0))
    if not len(edges):
        return
    starts, ends = edges[::2], edges[1::2]
    lengths, kinds = ends - starts, np.bitwise_or.reduceat(kinds, edges + 1)[::2]
    is_mixed = (kinds & _LOWER > 0) & (kinds & _UPPER > 0)
    may_begin = (lengths >= _SHORTEST_RUN) & (is_mixed | (kinds & _OTHER == 0))
    may_go_on = np.concatenate([[False], lengths[:-1] >= _SHORTEST_LINE])
    chosen = np.flatnonzero(may_begin | may_go_on)
    lines: list[bytes] = []
    first = last = -1
    for start, end in zip(starts[chosen].tolist(), ends[chosen].tolist(), strict=True):
        is_next = bool(lines) and len(lines[-1]) >= _SHORTEST_LINE and not content.startswith(b"--", start)
        if not (is_next and _BREAK.fullmatch(content, last, start)):
            if first >= 0 and last - first >= _SHORTEST_RUN:
                yield first, b"".join(lines)
            lines, first = [], start
        lines.append(content[start:end])
        last = end
    if first >= 0 and last - first >= _SHORTEST_RUN:
        yield first, b"".join(lines)


def _from_base64(run: bytes) -> bytes:
    run = run.translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
    # Whole groups of four characters, and a rest of two or three. A rest of one character encodes no byte.
    length = len(run) // 4 * 4 + (len(run) % 4 > 1) * 4
    return base64.b64decode(run[:length] + b"===")


def _from_uuencode(line: bytes) -> bytes:
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:
        return b""


def _unescaped(content: bytes) -> bytes:
    """Return the surroundings of all escapes and tags, with their meaning in their place."""
    codes = np.frombuffer(content, dtype=np.uint8)
    starts = np.flatnonzero(_FIRST[codes[:-1]] & _SECOND[codes[1:]])
    parts: list[bytes] = []
    last = -1
    for start in starts.tolist():
        match = _ESCAPE.match(content, start) if start >= last else None
        if match is None:
            continue
        if last < 0 or start - last > 2 * _REACH:
            if last >= 0:
                parts += [content[last : last + _REACH], b"\n"]
            last = max(start - _REACH, 0)
        parts += [content[last:start], _meaning(match)]
        last = match.end()
    if last >= 0:
        parts.append(content[last : last + _REACH])
    return b"".join(parts)


def _meaning(escape: re.Match[bytes]) -> bytes:
    kind, value = escape.lastgroup, escape[escape.lastgroup or 0]
    if kind in ("percent", "printable", "byte"):
        return bytes.fromhex(value.decode())
    if kind == "octal":
        return bytes([int(value, 8)])
    if kind in ("unit", "point", "signed"):
        code = int(value) % 0x10000 if kind == "signed" else int(value, 16)
        return chr(min(code, sys.maxunicode)).encode(errors="replace")
    if kind == "entity":
        return html.unescape(value.decode()).encode(errors="replace")
    if kind == "tag":
        return b"\n" if value.rpartition(b":")[2].lower() in _SEPARATING else b""
    return b""
