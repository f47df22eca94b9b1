"""Open documents: PDF and mail."""

import logging
import re
import zlib
from collections.abc import Iterator
from email import message_from_bytes
from email.header import decode_header
from email.message import Message
from typing import IO, TYPE_CHECKING

from mrct.leaks.blocks import LARGEST_IN_MEMORY, Block, Inside

if TYPE_CHECKING:
    from pypdf import PdfReader

# PDF 32000-1 section 7.3.8: the data of a stream follow this keyword and one end of line.
_STREAM = re.compile(rb"(?<!end)stream\r?\n")
# Letters that stand alone at equal distances, as letter-spaced text is extracted, and a hyphen that ends a line.
_SPACED_LETTERS = re.compile(r"(?<!\S)\S(\s{1,4})\S(?!\S)(?:\1\S(?!\S))*")
_HYPHEN = re.compile(r"(?<=\w)[-\u00ad\u2010]\n\s*(?=\w)")
# Names of glyphs that are only numbered. Names with a code of Unicode, and afii10017, name a character.
_NUMBERED_GLYPH = re.compile(r"/(?!u(?:ni)?[0-9A-F]{4}|afii)[A-Za-z]{0,5}[0-9]+")
_FLATE = ("/FlateDecode", ["/FlateDecode"])
_HEADER = re.compile(
    rb"^(?:mime-version|content-type|content-transfer-encoding|message-id|received|return-path|subject|from|to|date):",
    re.IGNORECASE | re.MULTILINE,
)
_FIRST_LINE = re.compile(rb"\s*(?:[!-9;-~]+:|From )")
_MAILBOX_LINE = re.compile(rb"^From [^\r\n]*\r?\n", re.MULTILINE)


def open_pdf(source: IO[bytes], inside: Inside) -> Iterator[Block]:
    """Extract the text of all pages, the strings of all objects, and all streams.

    The compressed streams are found in the bytes of the file as well, because a document that was changed may still
    hold the pages that were replaced.
    """
    yield from _flate_streams(source.read(LARGEST_IN_MEMORY), inside)
    from pypdf import PdfReader

    # Its warnings quote the file.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    reader = PdfReader(source)
    if reader.is_encrypted and not reader.decrypt(""):
        inside.note("an encrypted PDF document was not searched")
        return
    for page in reader.pages:
        with inside.attempt("a page of a PDF document"):
            text = page.extract_text()
            joined = _joined(text)
            yield from inside.values(one.encode(errors="replace") for one in dict.fromkeys((text, joined)))
    yield from _objects(reader, inside)


def _joined(text: str) -> str:
    """Return a text without the spaces inside its letter-spaced words and without its hyphens at the ends of lines."""
    joined = _SPACED_LETTERS.sub(lambda match: "".join(match[0].split()), text)
    return _HYPHEN.sub("", joined)


def _flate_streams(content: bytes, inside: Inside) -> Iterator[Block]:
    """Inflate every stream that zlib can inflate, also those of earlier revisions. The others are left to pypdf."""
    for match in _STREAM.finditer(content):
        end = content.find(b"endstream", match.end())
        try:
            unpacker = zlib.decompressobj()
            data = unpacker.decompress(
                memoryview(content)[match.end() : end if end >= 0 else None], LARGEST_IN_MEMORY
            )
        except zlib.error:
            continue
        yield from inside.unpack(data)


def _objects(reader: "PdfReader", inside: Inside) -> Iterator[Block]:
    """Extract the strings of all objects (metadata, annotations, form fields), and the streams of other filters."""
    from pypdf.generic import IndirectObject, StreamObject

    known = {(number, generation) for generation, numbers in reader.xref.items() for number in numbers}
    known |= {(number, 0) for number in reader.xref_objStm}
    strings: list[bytes] = []
    hides_text = False
    for number, generation in sorted(known):
        with inside.attempt("an object of a PDF document"):
            found = reader.get_object(IndirectObject(number, generation, reader))
            strings += _strings(found)
            hides_text = hides_text or _hides_text(found)
            if isinstance(found, StreamObject) and (
                reader.is_encrypted or found.get("/Filter") not in _FLATE
            ):
                yield from inside.unpack(found.get_data(), repeats=True)
    if hides_text:
        inside.note(
            "a PDF document has a font that does not tell its characters: text in it was not searched"
        )
    yield from inside.values(strings)


def _hides_text(found: object) -> bool:
    """Return whether an object is, or directly holds, a font whose codes cannot be mapped to characters.

    PDF 32000-1 section 9.10.2: a code is mapped by the ToUnicode of the font, or by a known name of the glyph.
    A composite font has no names of glyphs, and neither has a TrueType font without an encoding.
    """
    if isinstance(found, list):
        return any(map(_hides_text, found))
    if not isinstance(found, dict):
        return False
    if found.get("/Type") == "/Font" and "/ToUnicode" not in found:
        if found["/Subtype"] == "/Type0" or (found["/Subtype"] == "/TrueType" and "/Encoding" not in found):
            return True
        # Indexing follows a reference to another object; get() does not.
        encoding = "/Encoding" in found and found["/Encoding"]
        names = isinstance(encoding, dict) and "/Differences" in encoding and encoding["/Differences"]
        return any(_NUMBERED_GLYPH.fullmatch(str(name)) for name in names or [])
    return any(map(_hides_text, found.values()))


def _strings(found: object) -> Iterator[bytes]:
    """Yield the strings of an object, without those of the objects to which it refers."""
    from pypdf.generic import ByteStringObject, TextStringObject

    if isinstance(found, dict):
        for value in found.values():
            yield from _strings(value)
    elif isinstance(found, list):
        for value in found:
            yield from _strings(value)
    elif isinstance(found, TextStringObject):
        yield found.encode(errors="replace")
    elif isinstance(found, ByteStringObject):
        yield bytes(found)


def is_mail(head: bytes) -> bool:
    """Return whether a content starts with the headers of a message (RFC 5322), or of a mailbox (RFC 4155)."""
    return bool(_FIRST_LINE.match(head) and _HEADER.search(head[:8192]))


def open_mail(source: IO[bytes], inside: Inside) -> Iterator[Block]:
    """Decode the headers and the parts of all messages. Their encoded parts may be found as encoded text as well."""
    content = source.read(LARGEST_IN_MEMORY)
    starts = (
        [match.start() for match in _MAILBOX_LINE.finditer(content)] if content.startswith(b"From ") else []
    )
    for start, end in zip([0, *starts[1:]], [*starts[1:], len(content)], strict=True):
        message = message_from_bytes(content[start:end])
        for part in message.walk():
            with inside.attempt("a part of a mail"):
                yield from _part(part, inside)


def _part(part: Message, inside: Inside) -> Iterator[Block]:
    """Yield the headers of a part, its name, its content, and its text in UTF-8."""
    lines = [_decoded_header(str(value)) for value in part.values()]
    lines.append((part.get_filename() or "").encode(errors="replace"))
    payload = part.get_payload(decode=True)
    if isinstance(payload, bytes):
        charset = part.get_content_charset()
        if charset is not None:
            try:
                lines.append(payload.decode(charset, "replace").encode(errors="replace"))
            except LookupError:
                inside.note("a part of a mail has an unknown character set: only its bytes were searched")
        yield from inside.unpack(payload, repeats=True)
    yield from inside.values(lines)


def _decoded_header(value: str) -> bytes:
    """Decode the encoded words of a header (RFC 2047)."""
    text = ""
    for word, charset in decode_header(value):
        if isinstance(word, str):
            text += word
            continue
        try:
            text += word.decode(charset or "latin-1", "replace")
        except LookupError:
            text += word.decode("latin-1")
    return text.encode(errors="replace")
