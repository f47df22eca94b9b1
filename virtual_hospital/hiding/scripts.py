"""Names in other character sets: declared, undeclared, or declared wrongly (PS3.3 C.12.1.1.2).

A name is carried letter by letter into another script; that is no transliteration that anyone would use,
but every patient gets his own word in every script.
"""

from functools import partial

from pydicom.dataset import Dataset

from virtual_hospital.hiding.place import Place, Secrets, old_text, put_raw

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

# kind, SpecificCharacterSet, the codec, letters
DECLARED = (
    ("latin_1", "ISO_IR 100", "latin-1", _ACCENTED),
    ("latin_2", "ISO_IR 101", "iso8859_2", _POLISH),
    ("latin_4", "ISO_IR 110", "iso8859_4", _BALTIC),
    ("cyrillic", "ISO_IR 144", "iso8859_5", _CYRILLIC),
    ("arabic", "ISO_IR 127", "iso8859_6", _ARABIC),
    ("greek", "ISO_IR 126", "iso8859_7", _GREEK),
    ("hebrew", "ISO_IR 138", "iso8859_8", _HEBREW),
    ("thai", "ISO_IR 166", "tis_620", _THAI),
    ("katakana", "ISO_IR 13", "shift_jis", _KATAKANA),
    ("kanji_escaped", "\\ISO 2022 IR 87", "iso2022_jp", _KANJI),
    ("hangul_escaped", "\\ISO 2022 IR 149", "euc_kr", _HANGUL),
    ("gb18030", "GB18030", "gb18030", _HANZI),
    ("gbk", "GBK", "gbk", _HANZI),
    ("utf_8", "ISO_IR 192", "utf-8", _HANGUL),
)
UNDECLARED = (
    ("undeclared_utf_8", "", "utf-8", _CYRILLIC),
    ("undeclared_shift_jis", "", "shift_jis", _KANJI),
    ("undeclared_utf_16", "", "utf-16-le", _HANZI),
    ("wrongly_declared", "ISO_IR 192", "gb18030", _HANZI),
    ("unknown_character_set", "ISO_IR 999", "koi8_r", _CYRILLIC),
)


def in_script(word: str, letters: str) -> str:
    """The word's Latin letters as the 26 letters of a script; what is no Latin letter is left out."""
    return "".join(letters[ord(letter) - ord("a")] for letter in word.lower() if "a" <= letter <= "z")


def _put(
    character_set: str, codec: str, letters: str, keyword: str, vr: str, image: Dataset, secrets: Secrets
) -> None:
    put_raw(image, "SpecificCharacterSet", "CS", character_set.encode())
    escape = b"\x1b$)C" if "IR 149" in character_set else b""
    old = f"{old_text(image, keyword)} ".encode() if vr == "LO" else b""
    put_raw(image, keyword, vr, old + escape + in_script(secrets.family, letters).encode(codec))


def _places(keyword: str, vr: str, suffix: str, table: tuple[tuple[str, str, str, str], ...]) -> list[Place]:
    return [
        Place(f"{kind}_{suffix}", f"{keyword}, {codec}", partial(_put, declared, codec, letters, keyword, vr))
        for kind, declared, codec, letters in table
    ]


PLACES = (
    *_places("OtherPatientNames", "PN", "name", DECLARED),
    *_places("SeriesDescription", "LO", "text", (*DECLARED[3:8:4], *DECLARED[11:14:2], *UNDECLARED)),
)
