"""Every kind of hiding place of the virtual hospital, each with its own canary, through the whole stage.

The search is implemented in this file: a literal search of all output bytes and file names for all spellings that the
hospital uses. A canary that is found in the input proves that its place hides something.
"""

import base64
import datetime as dt
import io
import random
import re
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mrct.deid.pseudonyms import demonstration
from stages.anonymize import Params, Source, run
from virtual_hospital.elements import save
from virtual_hospital.export import instance_path
from virtual_hospital.geometry import stack
from virtual_hospital.headers import Acquisition
from virtual_hospital.hiding.other_files import OTHER_FILES
from virtual_hospital.hiding.place import PhiValues, Place
from virtual_hospital.hiding.registry import EVERY_HEADER, IN_TURN
from virtual_hospital.hiding.spellings import DECLARED, UNDECLARED, in_script
from virtual_hospital.images import make_images
from virtual_hospital.persona import draw_persona
from virtual_hospital.scanners import GE_CT, PHILIPS_MR, SIEMENS_CT, Scanner
from virtual_hospital.series import Series

PLACES = {place.kind: place for place in (*EVERY_HEADER, *IN_TURN)}
FILES = {file.kind: file for file in OTHER_FILES}
KINDS = [*PLACES, *FILES]
SCANNERS = (SIEMENS_CT, GE_CT)
SIZE = 16
HEAD = 6  # bytes of a spelling that are looked up first
DATE_FORMS = (
    "%Y%m%d",
    "%d%m%Y",
    "%m%d%Y",
    "%d.%m.%Y",
    "%Y.%m.%d",
    "%Y-%m-%d",
    "%d/%m/%Y",
    "%d %b %Y",
    "%d%b%Y",
)
FIRST_BIRTH, FIRST_STUDY = dt.date(1000, 1, 1), dt.date(2100, 1, 1)
FOREIGN = {(script.codec, script.letters) for script in (*DECLARED, *UNDECLARED)}


def canary(kind: str) -> tuple[str, str, dt.timedelta]:
    """Return a word, a number and a time that no other kind has; shifts of up to a year keep the times distinct."""
    rng, index = random.Random(kind), KINDS.index(kind)
    word = "Zq" + "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(6))
    return word, f"3{rng.randrange(10**8):08d}1", dt.timedelta(days=800 * index + 13)


def phi_of(kind: str) -> PhiValues:
    word, number, time = canary(kind)
    name = f"{word}^{word}"
    return PhiValues(
        name=name, family=word, given=word, hangul="", patient_id=number, birth=FIRST_BIRTH + time,
        address=f"{word} Row", phone=number, relative=name, referring=name, performing=name,
        institution=word, station=word, serial=number, accession=number,
        study_date=FIRST_STUDY + time, study_uid=f"1.2.3.{number}",
    )  # fmt: skip


def spellings(kind: str) -> list[bytes]:
    """Return the spellings in lower case: letters and digits alone, usual dates, and encodings without ASCII."""
    word, number, time = canary(kind)
    found = [word.encode(), word.encode().hex().encode(), ".".join(str(ord(c)) for c in word).encode()]
    for date in (FIRST_BIRTH + time, FIRST_STUDY + time):
        found += [f"{date:{form}}".encode() for form in DATE_FORMS]
    # 10 characters that do not depend on their neighbors, for each of three alignments
    found += [base64.b64encode(b"\0" * k + word.encode() + b"\0")[(0, 2, 3)[k] :][:10] for k in range(3)]
    found += [word.encode("cp500"), "".join(chr(ord(c) + 0xFEE0) for c in word).encode()]
    for codec, letters in FOREIGN:
        found.append(re.sub(rb"\x1b..?[A-Z]", b"", in_script(word, letters).encode(codec)))
    found += [number.encode(), np.array(float(number), "<f8").tobytes()]
    return [spelling.lower() for spelling in found]


def readings(content: bytes) -> list[bytes]:
    """Return the bytes as they are, unpacked, in the other byte order, and as ASCII letters and digits alone.

    Adjacent numbers are kept apart, because joined ones could form dates by chance.
    """
    unpacked = [content, *_unpacked(content), _high_bits(content)]
    swapped = [np.frombuffer(c[start : len(c) - (len(c) - start) % 2], "<u2").byteswap().tobytes()
               for c in unpacked[:1] for start in (0, 1)]  # fmt: skip
    lowered = [part.lower() for part in (*unpacked, *swapped)]
    parted = [re.sub(rb"(?<=[0-9])[^a-z0-9]+(?=[0-9])", b".", part) for part in lowered]
    letters = [re.sub(rb"[^a-z0-9.]|(?<![0-9])\.|\.(?![0-9])", b"", part) for part in parted]
    return [*lowered, *letters, letters[0][::-1]]


def _unpacked(content: bytes) -> list[bytes]:
    """Return the contents of zip, gzip, zlib and DICOM's deflated transfer syntax."""
    parts = []
    for magic, bits in ((b"\x1f\x8b\x08", 31), (b"\x78\x9c", 15)):
        for match in re.finditer(re.escape(magic), content):
            parts.append(_inflated(content[match.start() :], bits))
    if content[128:132] == b"DICM" and b"1.2.840.10008.1.2.1.99" in content[:1000]:
        end = 144 + int.from_bytes(content[140:144], "little")
        parts.append(_inflated(content[end:], -15))
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts += [name.encode() + archive.read(name) for name in archive.namelist()]
    return parts


def _inflated(content: bytes, bits: int) -> bytes:
    try:
        return zlib.decompressobj(bits).decompress(content)
    except zlib.error:
        return b""


def _high_bits(content: bytes) -> bytes:
    """Return bits 12 to 15 of the 16-bit pixels at the end of the file, two pixels per byte."""
    at = content.rfind(b"\xe0\x7f\x10\x00OW")
    if at < 0:
        return b""
    pixels = content[at + 12 : at + 12 + 2 * SIZE * SIZE]
    nibbles = np.frombuffer(pixels[: len(pixels) // 4 * 4], "<u2") >> 12
    return (nibbles[::2] << 4 | nibbles[1::2]).astype(np.uint8).tobytes()


def _acquisition(kind: str, scanner: Scanner) -> Acquisition:
    """Make a one-slice series; a dozen kinds share a patient, except for kinds that change the identity."""
    index = KINDS.index(kind)
    patient = 1000 + index if kind in ("patient_name", "birth_date") else index // 12
    grid = stack(np.eye(3), np.zeros(3), (1, SIZE, SIZE), 8.0, 5.0, 5.0)
    values = np.random.default_rng(index).uniform(0, 1000, (1, SIZE, SIZE))
    image_type = ("ORIGINAL", "PRIMARY", "AXIAL")
    series = Series("clean", scanner.modality, "AX T2 SE", "T2W_SE_AX", (values,), (grid,), image_type)
    persona = draw_persona(patient, np.random.default_rng(patient))
    return Acquisition(series, persona, scanner, 7, patient, 1 + index)


def _write_image(place: Place, scanner: Scanner, root: Path) -> Path:
    """Write an image with the canaries in that place, of a patient whose header otherwise holds no canary."""
    acquisition = _acquisition(place.kind, scanner)
    image = next(iter(make_images(acquisition)))
    path = root / instance_path(acquisition, 1, image.SOPInstanceUID)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        place.put(image, phi_of(place.kind))
        save(image, path)
    return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Write the export; return it and {kind: files that hide it}: a CT and an MR image, or one file of another kind."""
    root = tmp_path_factory.mktemp("export") / "raw"
    written = {
        kind: [_write_image(place, scanner, root) for scanner in (SCANNERS[index % 2], PHILIPS_MR)]
        for index, (kind, place) in enumerate(PLACES.items())
    }
    for kind, file in FILES.items():
        path = file.path(root / kind, phi_of(kind))
        path.parent.mkdir()
        path.write_bytes(file.content(phi_of(kind)))
        written[kind] = [path]
    return root, written


@pytest.fixture(scope="module")
def outputs(inputs, tmp_path_factory):
    """Run the stage; return the output folder and all of its names and contents in every reading."""
    out = tmp_path_factory.mktemp("out") / "anonymized"
    params = {"key_file": "unused", "max_shift_days": 365, "retain_age_and_sex": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MRCT_WORKERS", "1")
        source = Source(source=str(inputs[0]), source_layout="dicom")
        run(Params(**params), source, out, out.parent / "work", demonstration())
    said = [str(path.relative_to(out)).encode() for path in out.rglob("*")]
    said += [path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()]
    return out, b"\n".join(text for content in said for text in readings(content))


@pytest.fixture(scope="module")
def found(outputs):
    """Return {kind: spellings that the output holds}, found in one pass over the output for all kinds."""
    kinds = {spelling: kind for kind in KINDS for spelling in spellings(kind)}
    heads = np.unique([int.from_bytes(spelling[:HEAD], "little") for spelling in kinds])
    by_head: dict[bytes, list[bytes]] = {}
    for spelling in kinds:
        by_head.setdefault(spelling[:HEAD], []).append(spelling)
    text = outputs[1]
    values = np.frombuffer(text, np.uint8).astype(np.int64)
    windows = sum(values[i : len(values) - HEAD + 1 + i] << 8 * i for i in range(HEAD))
    hits: dict[str, list[bytes]] = {}
    for at in np.flatnonzero(np.isin(windows, heads)).tolist():
        for spelling in by_head[text[at : at + HEAD]]:
            if _is_at(text, at, spelling):
                hits.setdefault(kinds[spelling], []).append(spelling)
    return hits


def _is_at(text: bytes, at: int, spelling: bytes) -> bool:
    """Return whether a spelling occurs; a date must not be part of a longer number, such as the 39 digits of a UID."""
    end = at + len(spelling)
    around = text[max(at - 1, 0) : at] + text[end : end + 1]
    is_date = len(spelling) == 8 and spelling.isdigit()
    return text[at:end] == spelling and not (is_date and re.search(rb"[0-9]", around))


def _holds(texts: list[bytes], kind: str) -> bool:
    return any(spelling in text for spelling in spellings(kind) for text in texts)


@pytest.mark.parametrize("kind", KINDS)
def test_what_hides_there_is_in_the_input_and_in_no_byte_of_the_output(kind, inputs, found):
    for path in inputs[1][kind]:
        read = [*readings(path.read_bytes()), path.name.lower().encode()]
        assert _holds(read, kind), f"{kind} hides nothing"
    assert kind not in found, f"{kind} leaks"


def test_no_hiding_place_costs_a_wanted_image(inputs, outputs):
    table = pd.read_csv(outputs[0] / "audit" / "files.csv", keep_default_na=False)
    files = sorted(path for path in inputs[0].rglob("*") if path.is_file())
    verdicts = {files[row.source_index]: (row.action, row.reason) for row in table.itertuples()}
    lost = {kind: verdicts[p] for kind in PLACES for p in inputs[1][kind] if verdicts[p][0] != "kept"}
    assert lost == {}
    assert [kind for kind in FILES for path in inputs[1][kind] if verdicts[path][0] == "kept"] == []


def test_there_are_more_than_a_hundred_kinds():
    assert len(set(KINDS)) == len(KINDS) > 300
