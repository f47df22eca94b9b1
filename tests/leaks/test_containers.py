"""Whatever holds a text is opened, or is listed: no container is passed over in silence."""

import base64
import binascii
import builtins
import bz2
import gzip
import html
import io
import json
import lzma
import quopri
import sys
import tarfile
import unicodedata
import urllib.parse
import zipfile
import zlib
from email.message import EmailMessage

import matplotlib.pyplot as plt
import numpy as np
import py7zr
import pypdf
import pytest
import scipy.io
from hypothesis import example, given
from hypothesis import strategies as st
from pypdf.generic import DictionaryObject, NameObject, StreamObject, TextStringObject

from helpers.phi_factory import person_dataset
from mrct.leaks import containers, encodings
from mrct.leaks.blocks import Budget
from mrct.leaks.evidence import build_index
from mrct.leaks.phi_values import PhiValues

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

NAME = "Quenneville"
NOBODY = "Abernethy"


def index():
    phi_values = PhiValues()
    phi_values.add_dataset(person_dataset())
    return build_index([phi_values])


INDEX = index()


def search(content, budget=None):
    """Return the attributes that are found in a content, and the notes on what was not searched."""
    budget = budget or Budget()
    found = set()
    for block in containers.unpack(io.BytesIO(content), budget):
        found |= INDEX.find(block.content, block.start, block.end, block.cells).keys()
    return found, budget.notes


def note(name):
    return f"Patient {name}, seen again\n".encode() * 3


def seven_zip(name, **options):
    stream = io.BytesIO()
    with py7zr.SevenZipFile(stream, "w", **options) as archive:
        archive.writestr(bytes(300), "empty/a.bin")
        archive.writestr(note(name), "b.txt")
    return stream.getvalue()


def seven_zip_name(name):
    stream = io.BytesIO()
    with py7zr.SevenZipFile(stream, "w") as archive:
        for number in range(9):  # a compressed header
            archive.writestr(b"nothing", f"{name}_scans/{number}.txt")
    return stream.getvalue()


def zstandard(name):
    return zstd.compress(gzip.compress(note(name)))


def zstandard_frames(name):
    """Two frames, and a skippable frame before them, as pzstd writes them (RFC 8878 section 3.1.2)."""
    return (
        b"\x50\x2a\x4d\x18\4\0\0\0abcd"
        + zstd.compress(b"\x1f\x8b")
        + zstd.compress(gzip.compress(note(name))[2:])
    )


def lzma_alone(name):
    return lzma.compress(note(name), lzma.FORMAT_ALONE)


def tar(name, **options):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", **options) as archive:
        content = gzip.compress(note(name))
        member = tarfile.TarInfo("a.gz")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def tar_without_magic_number(name):
    """The archives of Unix version 7 have a checksum and no magic number."""
    content = bytearray(tar(name, format=tarfile.USTAR_FORMAT))
    content[257:265] = bytes(8)
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    return bytes(content)


def archive_in_program(name):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", note(name))
    return b"#!/usr/bin/env python3\n" + stream.getvalue()


def figure(name, fonttype):
    stream = io.BytesIO()
    with plt.rc_context({"pdf.fonttype": fonttype}):
        plotted = plt.figure(figsize=(6, 1))
        plotted.text(0.05, 0.5, f"of {name} and others")
        plotted.savefig(stream, format="pdf")
        plt.close(plotted)
    return stream.getvalue()


def figure_with_type_3_fonts(name):
    return figure(name, 3)


def figure_with_truetype_fonts(name):
    return figure(name, 42)


def page(draw, **font):
    """Return a document whose page draws text in a font."""

    def change(writer):
        contents = StreamObject()
        contents.set_data(zlib.compress(b"BT /F1 12 Tf 10 50 Td " + draw + b" ET"))
        contents[NameObject("/Filter")] = NameObject("/FlateDecode")
        entries = {"Type": "/Font", "Subtype": "/Type1", "BaseFont": "/Helvetica", **font}
        fonts = DictionaryObject(
            {NameObject(f"/{k}"): NameObject(v) if isinstance(v, str) else v for k, v in entries.items()}
        )
        resources = DictionaryObject({NameObject("/Font"): DictionaryObject({NameObject("/F1"): fonts})})
        writer.pages[0][NameObject("/Contents")] = writer._add_object(contents)
        writer.pages[0][NameObject("/Resources")] = resources

    return document(change)


def pdf_letter_by_letter(name):
    return page(b" ".join(b"(%c) Tj 15 0 Td" % letter for letter in f"of {name} and".encode()))


def pdf_broken_word(name):
    return page(f"(of {name[:5]}-) Tj 0 -15 Td ({name[5:]} and) Tj".encode())


def document(change, **options):
    writer = pypdf.PdfWriter()
    writer.add_blank_page(100, 100)
    change(writer)
    stream = io.BytesIO()
    writer.write(stream)
    return stream.getvalue()


def pdf_metadata(name):
    """A character that PDFDocEncoding lacks makes the string UTF-16 with octal escapes."""
    return document(lambda writer: writer.add_metadata({"/Author": f"{name} 张"}))


def pdf_annotation(name):
    def change(writer):
        words = {
            NameObject("/Subtype"): NameObject("/Text"),
            NameObject("/Contents"): TextStringObject(f"{name} 张"),
        }
        writer.add_annotation(0, DictionaryObject(words))

    return document(change)


def pdf_attachment(name):
    return document(lambda writer: writer.add_attachment("a.gz", gzip.compress(note(name))))


def pdf_ascii85(name):
    def change(writer):
        stream = StreamObject()
        stream.set_data(base64.a85encode(zlib.compress(note(name))) + b"~>")
        stream[NameObject("/Filter")] = pypdf.generic.ArrayObject(
            [NameObject("/ASCII85Decode"), NameObject("/FlateDecode")]
        )
        writer._add_object(stream)

    return document(change)


def pdf_for_readers_only(name):
    """Encrypted with an empty password for readers: every viewer opens it."""

    def change(writer):
        writer.add_metadata({"/Author": name})
        writer.encrypt("", "owner", algorithm="AES-256")

    return document(change)


def pdf_replaced_page(name):
    """A page that a later revision replaces is still in the file."""
    old = zlib.compress(b"BT (Patient %b) Tj ET" % name.encode())
    first = document(lambda writer: None)
    end = first.index(b"startxref")
    return (
        first[:end] + b"9 0 obj\n<< /Filter /FlateDecode >>\nstream\n" + old + b"\nendstream\n" + first[end:]
    )


def mail(name, cte, charset="utf-8"):
    message = EmailMessage()
    message["Subject"], message["From"] = "news", "a@b.c"
    message.set_content(f"Žižka: {note(name).decode()}", cte=cte, charset=charset)
    return message.as_bytes()


def mail_base64(name):
    return mail(name, "base64")


def mail_utf16(name):
    return mail(name, "base64", "utf-16")


def mail_ebcdic(name):
    """A character set that the search does not know; the header names it."""
    body = base64.encodebytes(note(name).decode().encode("cp500"))
    return (
        b"Subject: x\nContent-Type: text/plain; charset=cp500\nContent-Transfer-Encoding: base64\n\n" + body
    )


def mail_quoted_printable(name):
    broken = name[:4].encode() + b"=\n" + name[4:].encode()
    return b"Content-Transfer-Encoding: quoted-printable\n\nPatient " + broken + b"=2C again\n"


def mail_header(name):
    encoded = base64.b64encode(f"Ž {name}".encode()).decode()
    return f"Subject: =?utf-8?B?{encoded}?=\nFrom: a@b.c\n\nhello\n".encode()


def mail_attachment(name):
    message = EmailMessage()
    message["Subject"] = "scan"
    message.set_content("see there")
    message.add_attachment(zstandard(name), maintype="application", subtype="zstd", filename="a.zst")
    return message.as_bytes()


def mailbox(name):
    return (
        b"From a@b.c Mon Jan  1 00:00:00 2024\n"
        + mail_base64(NOBODY)
        + b"\n\nFrom b Tue\n"
        + mail_attachment(name)
    )


def page_of_base64(name):
    return (
        b"These are the data:\n\n"
        + base64.encodebytes(zlib.compress(note(name) + bytes(range(256))))
        + b"\nend\n"
    )


def base64_in_json(name):
    return json.dumps({"a": [1, base64.b64encode(note(name)).decode()]}).encode()


def base64_for_urls(name):
    return b"token=" + base64.urlsafe_b64encode(b"\xff\xef\xbe" + note(name)) + b"&x=1"


def notebook(name):
    """Jupyter breaks base64 with escaped line feeds."""
    return json.dumps({"data": base64.encodebytes(note(name) * 3).decode()}).encode()


def hexadecimal(name):
    return b"INSERT INTO t VALUES (X'" + note(name).hex().encode() + b"');"


def uuencoded(name):
    content = note(name)
    lines = b"".join(binascii.b2a_uu(content[i : i + 45]) for i in range(0, len(content), 45))
    return b"hello\nbegin 644 a.txt\n" + lines + b"`\nend\n"


def percent_encoded(name):
    return b"x?q=" + "".join(f"%{ord(c):02X}" for c in f"of {name}").encode()


def runs_of_word(name):
    """Word breaks a text where its spelling was checked or its language changes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        runs = "</w:t></w:r><w:proofErr w:type='x'/><w:r><w:rPr><w:b/></w:rPr><w:t>".join(
            (name[:5], name[5:])
        )
        archive.writestr("word/document.xml", f"<w:p><w:r><w:t>of {runs}</w:t></w:r></w:p>")
    return stream.getvalue()


def matlab(name):
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"x": np.zeros(50), "who": note(name).decode()}, do_compression=True)
    return stream.getvalue()


def dicom_with_document(name):
    image = person_dataset(PatientName="", PixelData=b"", EncapsulatedDocument=figure(name, 3))
    for element in list(image):
        if element.keyword not in ("SOPClassUID", "SOPInstanceUID", "EncapsulatedDocument"):
            del image[element.tag]
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    image.file_meta.SourceApplicationEntityTitle, image.preamble = "A", bytes(128)
    stream = io.BytesIO()
    image.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def damaged_member_before(name):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", bytes(1000))
        archive.writestr("b.txt", note(name))
    content = stream.getvalue()
    return content.replace(zlib.compress(bytes(1000))[2:-4], b"\xff" * 11, 1)


OPENED = [
    *(seven_zip, seven_zip_name, zstandard, zstandard_frames, lzma_alone, tar, tar_without_magic_number),
    *(archive_in_program, figure_with_type_3_fonts, figure_with_truetype_fonts, pdf_metadata, pdf_annotation),
    *(
        pdf_attachment,
        pdf_ascii85,
        pdf_for_readers_only,
        pdf_replaced_page,
        pdf_letter_by_letter,
        pdf_broken_word,
        mail_base64,
        mail_utf16,
        mail_ebcdic,
    ),
    *(mail_quoted_printable, mail_header, mail_attachment, mailbox, page_of_base64, base64_in_json),
    *(
        base64_for_urls,
        notebook,
        hexadecimal,
        uuencoded,
        percent_encoded,
        runs_of_word,
        matlab,
        dicom_with_document,
    ),
]


@pytest.mark.parametrize("write", OPENED)
def test_a_name_that_no_plain_byte_shows_is_found(write):
    content = write(NAME)
    assert NAME.lower().encode() not in content.lower()
    assert search(content) == ({"PatientName"}, [])
    assert search(write(NOBODY)) == (set(), [])


def test_a_damaged_member_is_noted_and_does_not_hide_the_next_one():
    found, notes = search(damaged_member_before(NAME))
    assert found == {"PatientName"}
    assert notes == ["a part of a zip archive cannot be read to its end (error)"]


LISTED = {
    "RAR": b"Rar!\x1a\x07\x01\x00",
    "RAR of version 4": b"Rar!\x1a\x07\x00",
    "cabinet": b"MSCF\0\0\0\0",
    "LHA": b"\x24\x00-lh5-",
    "Debian package": b"!<arch>\ndebian-binary",
    "compress": b"\x1f\x9d\x90",
    "lz4": b"\x04\x22\x4d\x18\x64\x40",
    "lzip": b"LZIP\x01",
    "Snappy": b"\xff\x06\0\0sNaPpY",
    "ISO 9660": bytes(32769) + b"CD001",
    "virtual disk": b"KDMV\1\0\0\0",
    "Word 97": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    "Outlook folder": b"!BDN",
    "winmail.dat": b"\x78\x9f\x3e\x22",
    "HDF5": b"\x89HDF\r\n\x1a\n",
    "MATLAB 7.3": b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n",
    "Parquet": b"PAR1\x15\x04",
    "Feather": b"ARROW1\0\0",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n/F findfont 9 scalefont setfont (F) show (e) show\n",
    "EPS with a preview": b"\xc5\xd0\xd3\xc6\x1e\0\0\0",
    "print job": b"\x1b%-12345X@PJL\n",
    "DVI": b"\xf7\x02\x01\x83\x92\xc0",
    "DjVu": b"AT&TFORM",
    "git pack": b"PACK\0\0\0\2",
    "PGP": b"-----BEGIN PGP MESSAGE-----\n\nhQEM",
    "PGP, binary": b"\x85\x01\x0c\x03",
    "openssl": b"Salted__\1\2\3\4",
    "S/MIME": b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03\xa0",
}


@pytest.mark.parametrize("kind", LISTED)
def test_a_format_that_is_not_opened_is_listed_wherever_it_lies(kind):
    content = LISTED[kind] + b"x" * 600
    reasons = search(content)[1]
    assert len(reasons) == 1
    assert "only its plain bytes were searched" in reasons[0]
    assert search(gzip.compress(content))[1] == reasons
    assert search(b"data:\n" + base64.encodebytes(content))[1] == reasons
    assert search(LISTED[kind] + b"x" * 600 + note(NAME))[0] == {"PatientName"}


def test_an_apple_disk_image_is_known_by_its_end():
    assert "disk image" in search(bytes(9000) + b"koly" + bytes(508))[1][0]


@given(st.binary(max_size=300))
def test_any_content_is_searched_to_its_end_without_an_error(content):
    assert "PatientName" in search(content + b"\n\n" + note(NAME))[0]


@pytest.mark.parametrize("size", [4096, 40_000, 1 << 20])
def test_bytes_that_are_nearly_uniform_are_listed_as_compressed_or_encrypted(size):
    """AES and every good compressor of an unknown format give such bytes."""
    noise = np.random.default_rng(size).bytes(size)
    assert search(b"head" + noise)[1] == [
        "compressed or encrypted data of an unknown kind: only the plain bytes were searched"
    ]


def test_numbers_pixels_and_texts_are_not_taken_for_compressed_data():
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=1 << 15).astype(kind) for kind in ("f2", "f4", "f8")]
    arrays += [rng.integers(0, 4096, 1 << 15).astype("u2"), rng.normal(128, 30, 1 << 15).astype("u1")]
    for array in arrays:
        assert search(array.tobytes())[1] == []
    weights = (2).to_bytes(8, "little") + b'{"' + rng.bytes(1 << 15)
    saved = io.BytesIO()
    np.save(saved, np.frombuffer(rng.bytes(1 << 15), np.uint8))
    for content in (
        weights,
        saved.getvalue(),
        b"\xff\xd8\xff" + rng.bytes(1 << 15),
        base64.encodebytes(rng.bytes(9999)),
    ):
        assert search(content)[1] == []


def test_what_is_locked_with_a_password_is_listed():
    def lock(writer):
        writer.add_metadata({"/Author": NAME})
        writer.encrypt("secret", algorithm="AES-256")

    assert search(document(lock)) == (set(), ["an encrypted PDF document was not searched"])
    locked = seven_zip(NAME, password="secret")
    assert search(locked) == (set(), ["an encrypted 7z archive was not searched, except for the names in it"])
    locked = seven_zip(NAME, password="secret", header_encryption=True)
    assert search(locked) == (set(), ["an encrypted 7z archive was not searched"])


def _numbered(*names):
    differences = pypdf.generic.ArrayObject([pypdf.generic.NumberObject(65), *map(NameObject, names)])
    return DictionaryObject({NameObject("/Differences"): differences})


@pytest.mark.parametrize(
    ("font", "is_listed"),
    [
        ({"Subtype": "/Type0", "Encoding": "/Identity-H"}, True),
        ({"Subtype": "/Type0", "Encoding": "/90ms-RKSJ-V"}, True),
        ({"Subtype": "/TrueType"}, True),
        ({"Subtype": "/TrueType", "Encoding": "/WinAnsiEncoding"}, False),
        ({"Subtype": "/Type3", "Encoding": _numbered("/g17", "/g4")}, True),
        ({"Subtype": "/Type3", "Encoding": _numbered("/Q", "/uni00E9", "/afii10017", "/space")}, False),
        ({}, False),
    ],
)
def test_a_pdf_document_whose_font_does_not_tell_its_characters_is_listed(font, is_listed):
    found, notes = search(page(b"<00340102> Tj", **font))
    assert (found, len(notes)) == (set(), int(is_listed))
    assert all("text in it was not searched" in note for note in notes)


@pytest.mark.parametrize(("module", "write"), [("py7zr", seven_zip), ("pypdf", figure_with_type_3_fonts)])
def test_without_its_package_a_format_is_listed_with_what_to_install(monkeypatch, module, write):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name.partition(".")[0] == module:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return real(name, *arguments, **options)

    content = write(NAME)
    monkeypatch.setattr(builtins, "__import__", without)
    found, notes = search(content)
    assert found == set()
    assert f"the package {module} is not installed (pip install -e '.[sweep]'" in notes[0]


@pytest.mark.parametrize(
    "write", [seven_zip, zstandard, lzma_alone, figure_with_type_3_fonts, matlab, runs_of_word]
)
def test_a_file_that_was_cut_short_is_noted_and_costs_no_error(write):
    content = write(NAME)
    for length in (len(content) - 30, len(content) // 2, 60):
        assert search(content[:length])[0] in (set(), {"PatientName"})
    assert search(content[: len(content) - 30])[1] != []


@pytest.mark.parametrize("kind", ["zstd", "lzma", "7z", "pdf", "base64"])
def test_bombs_of_every_kind_stop_at_the_budget(kind):
    size = 8 << 20
    if kind == "7z":
        stream = io.BytesIO()
        with py7zr.SevenZipFile(stream, "w") as archive:
            archive.writestr(bytes(size), "a")
        bomb = stream.getvalue()
    elif kind == "pdf":
        data = zlib.compress(bytes(size))
        bomb = b"%PDF-1.4\n1 0 obj\n<< /Filter /FlateDecode >>\nstream\n" + data + b"\nendstream\n"
    elif kind == "base64":
        bomb = b"a:\n" + base64.encodebytes(zlib.compress(bytes(size)))
    else:
        bomb = zstd.compress(bytes(size)) if kind == "zstd" else lzma.compress(bytes(size), lzma.FORMAT_ALONE)
    budget = Budget(bytes_left=2 << 20)
    read = sum(block.end - block.start for block in containers.unpack(io.BytesIO(bomb), budget))
    assert read < 3 << 20
    assert any("more than may be unpacked" in one for one in budget.notes)


FOREIGN = "Müllerová-Żak"


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: html.escape(text).encode("ascii", "xmlcharrefreplace"),
        lambda text: (
            text.replace("ü", "&uuml;").replace("á", "&aacute;").encode("ascii", "xmlcharrefreplace")
        ),
        lambda text: json.dumps(text).encode(),
        lambda text: repr(text.encode()).encode(),
        lambda text: urllib.parse.quote(text).encode(),
        lambda text: quopri.encodestring(text.encode()),
        lambda text: "".join(c if c.isascii() else f"\\u{ord(c)}?" for c in text).encode(),
        lambda text: "".join(c if c.isascii() else f"\\u{ord(c) - 65536}\\'3f" for c in text).encode(),
        lambda text: "".join(c if c.isascii() else f"\\uc0\\u{ord(c)} " for c in text).encode(),
        lambda text: "".join(c if c.isascii() else f"\\u{{{ord(c):x}}}" for c in text).encode(),
        lambda text: "".join(c if c.isascii() else f"\\U{ord(c):08x}" for c in text).encode(),
        lambda text: "".join(chr(b) if b < 128 else f"\\{b:o}" for b in text.encode()).encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-32"),
        lambda text: text.encode().hex().encode(),
        lambda text: base64.b64encode(text.encode()),
    ],
)
def test_a_name_with_accents_is_found_in_every_usual_encoding(encode):
    phi_values = PhiValues()
    phi_values.add_dataset(person_dataset(SpecificCharacterSet="ISO_IR 192", PatientName=f"{FOREIGN}^Zoë"))
    accented = build_index([phi_values])
    blocks = containers.unpack(io.BytesIO(encode(f"the patient {FOREIGN} came")), Budget())
    assert any(accented.find(block.content, block.start, block.end, block.cells) for block in blocks)
    blocks = containers.unpack(io.BytesIO(encode("the patient Mühlhäusser came")), Budget())
    assert not any(accented.find(block.content, block.start, block.end, block.cells) for block in blocks)


@example("\uc0a0", False)
@example("\u5320\u4f1f", True)
@given(
    st.text(st.characters(min_codepoint=0x3000, max_codepoint=0xD7A3), min_size=1, max_size=6), st.booleans()
)
def test_escapes_of_json_keep_their_meaning_beside_those_of_rtf(text, is_spaced):
    text = (" " if is_spaced else "").join(text)
    escaped = json.dumps(f"{text} seen")
    assert f"{text} seen".encode() in encodings._unescaped(escaped.encode())


@pytest.mark.parametrize(
    ("written", "is_found"),
    [
        ("Joergfried Luedenscheidt", True),
        ("JOERGFRIED", True),
        ("jorgfried", True),
        ("Weissenborn", True),
        ("Soerensgaard", True),
        ("Sorensgard", True),
        ("Sørensgård", True),
        ("Juergfried Loedenscheidt", False),
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_is_found_in_the_usual_transliteration_of_its_letters(written, is_found, form):
    phi_values = PhiValues()
    name = unicodedata.normalize(form, "Lüdenscheidt^Jörgfried^Weißenborn^Sørensgård")
    phi_values.add_dataset(person_dataset(SpecificCharacterSet="ISO_IR 192", PatientName=name))
    content = f"the patient {written} came".encode()
    assert (build_index([phi_values]).find(content, 0, len(content), False) != {}) == is_found


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60), st.integers(0, 8))
def test_a_name_in_base64_is_found_at_any_offset_and_among_any_text(before, shift):
    encoded = base64.encodebytes(before.encode() + b" " + b"." * shift + f" {NAME} ".encode() * 3 + bytes(20))
    assert "PatientName" in search(b"x:\n" + encoded + b"\n")[0]


def test_a_name_in_two_compressions_of_each_kind_counts_in_every_order():
    wrap = [zstd.compress, gzip.compress, bz2.compress, lzma.compress, zlib.compress]
    for outer in wrap:
        for inner in wrap:
            assert search(outer(inner(note(NAME)))) == ({"PatientName"}, [])


def test_a_tar_archive_with_a_damaged_header_says_so():
    content = bytearray(tar(NOBODY)[:1024] + tar(NAME))
    content[1024 + 20] ^= 1
    assert search(bytes(content))[1] == [
        "a tar archive goes on after its end: of the rest only the plain bytes were searched"
    ]
