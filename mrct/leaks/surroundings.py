"""A find and what stands around it: a word of its own, readable text, a whole cell; or part of a code."""

from mrct.leaks.matching import Hit

SHORTEST_IN_BINARY = 8
_SHORTEST_IN_CODE = 12
_EDGES = frozenset([b"", *(bytes([edge]) for edge in b'\n\r\t,;"|\0\\')])
_HEXADECIMAL = frozenset(b"0123456789abcdef")
_BASE64 = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789+/=")
_REACH = 256


def is_readable(lowered: bytes, hit: Hit) -> bool:
    """Whether the find is a word or number of its own, in text rather than in numbers or code."""
    text, start, end = _window(lowered, hit)
    if isinstance(hit.text, bytes) or not hit.text.isascii():
        # a name of two characters is four bytes, which occur by chance in every gigabyte of numbers
        is_long = hit.end - hit.start >= SHORTEST_IN_BINARY
        return is_long or is_cell(lowered, hit) or _is_text(_beside(text, start, end))
    before, after = text[max(start - 1, 0) : start], text[end : end + 1]
    is_short = len(hit.text) < SHORTEST_IN_BINARY
    for edge, beside in ((hit.text[0], before), (hit.text[-1], after)):
        if edge.isdigit() and beside.isdigit():
            return False
        if is_short and edge.isalnum() and beside.isalnum():
            return False
    if is_short and not _is_text(_beside(text, start, end)):
        return False
    return len(hit.text) >= _SHORTEST_IN_CODE or not _is_in_code(text, start, end)


def _beside(text: bytes, start: int, end: int) -> bytes:
    return text[max(start - 16, 0) : start] + b" " + text[end : end + 16]


def _is_text(around: bytes) -> bool:
    """Three quarters of it, NULs apart, are characters that are seen."""
    characters = around.replace(b"\0", b"").decode("utf-8", "replace")
    seen = sum((c.isprintable() or c.isspace()) and c != "\ufffd" for c in characters)
    return seen >= 0.75 * len(characters)


def _is_in_code(text: bytes, start: int, end: int) -> bool:
    """Inside at least 200 characters of base64 without a gap, or a hash of at least 16 hexadecimal digits."""
    for alphabet, least in ((_BASE64, 200), (_HEXADECIMAL, 16)):
        first, last = start, end
        while first > 0 and text[first - 1] in alphabet:
            first -= 1
        while last < len(text) and text[last] in alphabet:
            last += 1
        if last - first >= least and set(text[first:last]) <= alphabet:
            return True
    return False


def is_cell(lowered: bytes, hit: Hit) -> bool:
    """Whether delimiters, or the ends of the content, stand on both sides."""
    text, start, end = _window(lowered, hit)
    return text[max(start - 1, 0) : start] in _EDGES and text[end : end + 1] in _EDGES


def _window(lowered: bytes, hit: Hit) -> tuple[bytes, int, int]:
    """The find and its surroundings as 8-bit text, and where in it the find lies."""
    reach = _REACH * hit.step
    first = max(hit.start - reach, hit.start % hit.step)
    text = lowered[first : hit.end + reach : hit.step]
    start = (hit.start - first) // hit.step
    return text, start, start + (hit.end - hit.start + hit.step - 1) // hit.step
