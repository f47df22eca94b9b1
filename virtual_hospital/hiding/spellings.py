"""Text that is written so that a search for the plain word does not find it: spellings, VRs and character sets.

A name in another script is the Latin name with each letter replaced by one of 26 letters of that script. It is not a
transliteration in use, but each patient has a different word in each script. The character set (PS3.3 C.12.1.1.2) is
declared, not declared, or declared wrongly.
"""

import base64
import struct
from collections.abc import Callable
from functools import partial
from typing import NamedTuple
from urllib.parse import quote

from pydicom.dataset import Dataset

from virtual_hospital.elements import put_raw, text_of
from virtual_hospital.hiding.place import PhiValues, Place, family_bytes

Spelling = Callable[[PhiValues], bytes]


def _append(keyword: str, vr: str, spell: Spelling, image: Dataset, phi: PhiValues) -> None:
    """Put the spelling after what the attribute held before."""
    put_raw(image, keyword, vr, text_of(image, keyword).encode() + spell(phi))


def _replace(keyword: str, vr: str, spell: Spelling, image: Dataset, phi: PhiValues) -> None:
    put_raw(image, keyword, vr, spell(phi))


def _appended(kind: str, keyword: str, vr: str, spell: Spelling) -> Place:
    return Place(kind, keyword, partial(_append, keyword, vr, spell))


def _replaced(kind: str, keyword: str, vr: str, spell: Spelling) -> Place:
    return Place(kind, keyword, partial(_replace, keyword, vr, spell))


def _put_utf_8(image: Dataset, keyword: str, text: str) -> None:
    image.SpecificCharacterSet = "ISO_IR 192"
    put_raw(image, keyword, "LO", text.encode())


def _put_full_width(image: Dataset, phi: PhiValues) -> None:
    """Use the full-width letters of the block U+FF00."""
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in phi.family if letter.isascii())
    _put_utf_8(image, "ProtocolName", f"{text_of(image, 'ProtocolName')} {wide}")


def _put_zero_width(image: Dataset, phi: PhiValues) -> None:
    divided = "\u200b".join(phi.family)
    _put_utf_8(image, "SeriesDescription", f"{text_of(image, 'SeriesDescription')} {divided}")


def _put_soft_hyphen(image: Dataset, phi: PhiValues) -> None:
    divided = f"{phi.family[:3]}\u00ad{phi.family[3:]}"
    _put_utf_8(image, "StudyDescription", f"MR Brain {divided}")


def _put_in_character_set(image: Dataset, phi: PhiValues) -> None:
    """Use the attribute that declares the character set of the others; its second value is no character set."""
    image.SpecificCharacterSet = "ISO_IR 100"
    put_raw(image, "SpecificCharacterSet", "CS", b"ISO_IR 100\\" + phi.family.upper().encode())


def _entities(phi: PhiValues) -> bytes:
    """Write each letter as a numeric character reference of HTML."""
    return "".join(f"&#{ord(letter)};" for letter in phi.family).encode()


def _numbers(phi: PhiValues, size: int) -> bytes:
    """Return the bytes of the name, filled with blanks to whole binary numbers of `size` bytes."""
    name = phi.family.encode()
    return name.ljust(-(-len(name) // size) * size)


def _three_groups(phi: PhiValues) -> bytes:
    return b"=".join([f"{phi.family}^{phi.given}".encode()] * 3)


def _five_components(phi: PhiValues) -> bytes:
    return f"{phi.family}^{phi.given}^X^Dr^MD".encode()


PLACES = (
    _appended("text_behind_nul", "SeriesDescription", "LO", lambda phi: b"\0\0" + family_bytes(phi)),
    _appended("text_behind_blanks", "SeriesDescription", "LO", lambda phi: b" " * 30 + family_bytes(phi)),
    _appended("text_behind_line_break", "ProtocolName", "LO", lambda phi: b"\r\n\x0c" + family_bytes(phi)),
    _appended("text_behind_escape", "SeriesDescription", "LO", lambda phi: b" \x1b" + family_bytes(phi)),
    _appended("second_value", "SeriesDescription", "LO", lambda phi: b"\\" + family_bytes(phi)),
    _appended("fortieth_value", "ImageType", "CS", lambda phi: b"\\P" * 40 + b"\\" + family_bytes(phi).upper()),
    _appended("spaced_letters", "ProtocolName", "LO", lambda phi: b" " + " ".join(phi.family).encode()),
    _appended("mixed_case", "SeriesDescription", "LO", lambda phi: b" t2" + phi.family.swapcase().encode()),
    _appended("hyphened", "SeriesDescription", "LO", lambda phi: f" {phi.family[:4]}-{phi.family[4:]}".encode()),
    _appended("dotted_initial", "StudyDescription", "LO", lambda phi: f" {phi.given[0]}.{phi.family}".encode()),
    _appended("reversed_letters", "SeriesDescription", "LO", lambda phi: b" " + family_bytes(phi)[::-1]),
    _appended("base64", "SeriesDescription", "LO", lambda phi: b" " + base64.b64encode(family_bytes(phi))),
    _appended("hexadecimal", "ProtocolName", "LO", lambda phi: b" " + family_bytes(phi).hex().encode()),
    _appended("percent_escaped", "ProtocolName", "LO", lambda phi: b" " + quote(phi.relative).encode()),
    _appended("character_entities", "SeriesDescription", "LO", _entities),
    _appended("telephone_digits", "SeriesDescription", "LO", lambda phi: b" 00 " + phi.phone.encode()),
    _appended("slashed_date", "StudyDescription", "LO", lambda phi: f" *{phi.birth:%d/%m/%Y}".encode()),
    _appended("month_in_words", "StudyDescription", "LO", lambda phi: f" {phi.birth:%d %b %Y}".encode()),
    _appended("utf_16_in_text", "ProtocolName", "LO", lambda phi: b" " + phi.family.encode("utf-16-le")),
    _appended("overlong_text", "ImageComments", "LT", lambda phi: b"word " * 2400 + family_bytes(phi)),
    _replaced("single_letter_codes", "ScanOptions", "CS", lambda phi: "\\".join(phi.family.upper()).encode()),
    _replaced("all_name_groups", "OtherPatientNames", "PN", _three_groups),
    _replaced("five_name_components", "PhysiciansOfRecord", "PN", _five_components),
    _replaced("seven_name_groups", "OtherPatientNames", "PN", lambda phi: b"=" * 6 + family_bytes(phi)),
    _replaced("name_in_uint16", "AcquisitionMatrix", "US", lambda phi: _numbers(phi, 8)[:8]),
    _replaced("name_in_uint32", "DimensionIndexValues", "UL", lambda phi: _numbers(phi, 4)),
    _replaced("name_in_doubles", "SlabOrientation", "FD", lambda phi: _numbers(phi, 24)),
    _replaced("name_in_tags", "FrameIncrementPointer", "AT", lambda phi: _numbers(phi, 4)),
    _replaced("id_in_double", "TablePosition", "FD", lambda phi: struct.pack("<d", float(phi.patient_id))),
    _replaced("id_as_exponent", "TableHeight", "DS", lambda phi: f"{phi.patient_id}E-6".encode()),
    _replaced("date_in_decimal", "DistanceSourceToPatient", "DS", lambda phi: f"{phi.birth:%Y%m%d}".encode()),
    _replaced("date_in_numeric_code", "LossyImageCompressionMethod", "CS", lambda phi: f"{phi.birth:%Y%m%d}".encode()),
    _replaced("text_under_sequence_tag", "ReferencedSeriesSequence", "LO", family_bytes),
    _replaced("text_under_uid_tag", "ConcatenationUID", "LT", family_bytes),
    Place("full_width_letters", "ProtocolName", _put_full_width),
    Place("zero_width_letters", "SeriesDescription", _put_zero_width),
    Place("soft_hyphen", "StudyDescription", _put_soft_hyphen),
    Place("character_set_name", "SpecificCharacterSet", _put_in_character_set),
)  # fmt: skip

_CYRILLIC = "абвгдежзийклмнопрстуфхцчшщ"
_GREEK = "αβγδεζηθικλμνξοπρστυφχψωάέ"
_ARABIC = "ابتثجحخدذرزسشصضطظعغفقكلمنه"
_HEBREW = "אבגדהוזחטיכלמנסעפצקרשתךםןף"
_THAI = "กขคงจฉชซญดตถทธนบปผพฟมยรลวส"
_KATAKANA = "ｱｲｳｴｵｶｷｸｹｺｻｼｽｾｿﾀﾁﾂﾃﾄﾅﾆﾇﾈﾉﾊ"
_KANJI = "山田太郎花子佐藤鈴木高橋伊東中村小林加吉川本松井清水"
_HANZI = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐"
_HANGUL = "김이박최정강조윤장임한오서신권황안송류전홍고문양손배"
_ACCENTED = "àáâãäåæçèéêëìíîïðñòóôõöøùú"
_POLISH = "ąćęłńśźżĄĆĘŁŃŚŹŻáâăäĺçéëíî"
_BALTIC = "āčēģīķļņšūžĀČĒĢĪĶĻŅŠŪŽõäöü"


class Script(NamedTuple):
    """A way to write a name: what SpecificCharacterSet declares, the codec in use, and 26 letters."""

    kind: str
    declared: str
    codec: str
    letters: str


DECLARED = (
    Script("latin_1", "ISO_IR 100", "latin-1", _ACCENTED),
    Script("latin_2", "ISO_IR 101", "iso8859_2", _POLISH),
    Script("latin_4", "ISO_IR 110", "iso8859_4", _BALTIC),
    Script("cyrillic", "ISO_IR 144", "iso8859_5", _CYRILLIC),
    Script("arabic", "ISO_IR 127", "iso8859_6", _ARABIC),
    Script("greek", "ISO_IR 126", "iso8859_7", _GREEK),
    Script("hebrew", "ISO_IR 138", "iso8859_8", _HEBREW),
    Script("thai", "ISO_IR 166", "tis_620", _THAI),
    Script("katakana", "ISO_IR 13", "shift_jis", _KATAKANA),
    Script("kanji_escaped", "\\ISO 2022 IR 87", "iso2022_jp", _KANJI),
    Script("hangul_escaped", "\\ISO 2022 IR 149", "euc_kr", _HANGUL),
    Script("gb18030", "GB18030", "gb18030", _HANZI),
    Script("gbk", "GBK", "gbk", _HANZI),
    Script("utf_8", "ISO_IR 192", "utf-8", _HANGUL),
)
UNDECLARED = (
    Script("undeclared_utf_8", "", "utf-8", _CYRILLIC),
    Script("undeclared_shift_jis", "", "shift_jis", _KANJI),
    Script("undeclared_utf_16", "", "utf-16-le", _HANZI),
    Script("wrongly_declared", "ISO_IR 192", "gb18030", _HANZI),
    Script("unknown_character_set", "ISO_IR 999", "koi8_r", _CYRILLIC),
)


def in_script(word: str, letters: str) -> str:
    """Replace the Latin letters of a word by the 26 letters of a script; leave other letters out."""
    return "".join(letters[ord(letter) - ord("a")] for letter in word.lower() if "a" <= letter <= "z")


def _put_in_script(script: Script, keyword: str, vr: str, image: Dataset, phi: PhiValues) -> None:
    """Put the name under the keyword, in a text after what the attribute held before."""
    put_raw(image, "SpecificCharacterSet", "CS", script.declared.encode())
    escape = b"\x1b$)C" if "IR 149" in script.declared else b""
    old = f"{text_of(image, keyword)} ".encode() if vr == "LO" else b""
    put_raw(image, keyword, vr, old + escape + in_script(phi.family, script.letters).encode(script.codec))


def _in_scripts(keyword: str, vr: str, suffix: str, scripts: tuple[Script, ...]) -> list[Place]:
    return [
        Place(f"{one.kind}_{suffix}", f"{keyword}, {one.codec}", partial(_put_in_script, one, keyword, vr))
        for one in scripts
    ]


CHARACTER_SET_PLACES = (
    *_in_scripts("OtherPatientNames", "PN", "name", DECLARED),
    *_in_scripts("SeriesDescription", "LO", "text", (*DECLARED[3:8:4], *DECLARED[11:14:2], *UNDECLARED)),
)
