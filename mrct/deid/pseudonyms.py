"""The mapping of identities: keyed pseudonyms, the source of the key, joined PatientIDs, and re-identification.

Pseudonyms, UIDs, folder names and date shifts are HMAC-SHA256 (RFC 2104) of the original value, with a different label
for each use. The same key always gives the same names, and they cannot be inverted without the key.
"""

import csv
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from pydicom import Dataset
from pydicom._uid_dict import UID_dictionary

from mrct.core.errors import DataError
from mrct.core.files import atomic_file, write_private_rows
from mrct.dicom.identity import strip
from mrct.dicom.uids import uid_from_digest

#: Published on purpose: the virtual cohort holds no real person, and all clones of the repository get the same bytes.
DEMONSTRATION_KEY = "mrct demonstration key: published, for the virtual cohort only"
#: Environment variable that holds a key; it takes precedence over the key file.
KEY_VARIABLE = "MRCT_KEY"
_SHORTEST_KEY = 32
_SAME_PERSON_COLUMNS = ["patient_id", "same_as"]
_REIDENTIFICATION_COLUMNS = ["patient", "patient_id", "shift_days"]


class KeyRefusedError(DataError):
    """The key or the table of re-identification is missing, weak or published, or others could read it."""


class SamePersonError(DataError):
    """The table of same persons is missing, or one of its rows is ambiguous."""


@dataclass(frozen=True)
class SamePersons:
    """Rows of the hospital's table about its PatientIDs.

    Attributes:
        joined: PatientID -> the PatientID at the end of its chain, which stands for the same person.
        confirmed: PatientIDs that belong to one person each, whatever the names and birth dates say.
    """

    joined: Mapping[str, str] = field(default_factory=dict, repr=False)
    confirmed: frozenset[str] = field(default=frozenset(), repr=False)


def stripped(dataset: Dataset, keyword: str) -> str:
    """Return the value of an attribute as text without padding; "" if it is absent or empty."""
    return strip(str(dataset.get(keyword, "") or ""))


@dataclass(frozen=True)
class Pseudonyms:
    """The mapping of identities under one key.

    Attributes:
        key: The secret; `repr` hides it.
        same_persons: The PatientIDs that the hospital's table joins or confirms.
        same_person_table: The file of the export from which `same_persons` was read, if there is one.
    """

    key: bytes = field(repr=False)
    same_persons: SamePersons = field(default=SamePersons(), repr=False, hash=False)
    same_person_table: Path | None = field(default=None, repr=False, hash=False)

    def joined(self, root: Path, name: str) -> "Pseudonyms":
        """Return this mapping with the PatientIDs joined and confirmed by the table `name` in the export `root`.

        Raises:
            SamePersonError: There is no such table inside `root`, or one of its rows is ambiguous.
        """
        table = _find_same_person_table(root, name)
        return replace(self, same_persons=read_same_persons(table), same_person_table=table)

    def digest(self, label: str, value: str) -> bytes:
        """Return 32 bytes of HMAC-SHA256 under the key."""
        text = f"{label}\0{value}".encode("utf-8", "surrogatepass")  # of file names that are not UTF-8
        return hmac.digest(self.key, text, "sha256")

    def person(self, patient_id: str) -> str:
        """Return the PatientID that stands for the person, without padding; only the table joins ids."""
        patient_id = strip(patient_id)
        return self.same_persons.joined.get(patient_id, patient_id)

    def patient(self, patient_id: str) -> str:
        """Map a PatientID to "P" and 10 hexadecimal digits.

        Blanks around the id are ignored; any other difference counts. Two ids are one person only if the table says so.
        """
        return "P" + self.digest("patient", self.person(patient_id)).hex()[:10]

    def uid(self, uid: str) -> str:
        """Map a UID to 2.25.<128 bits> (PS3.5 B.2); UIDs that the standard itself defines are kept."""
        uid = strip(uid)
        if not uid or uid in UID_dictionary:
            return uid
        return uid_from_digest(self.digest("uid", uid))

    def short(self, label: str, value: str, length: int = 10) -> str:
        """Map a value to `length` hexadecimal digits, for file and folder names."""
        return self.digest(label, strip(value)).hex()[:length]

    def shift_days(self, patient_id: str, max_days: int) -> int:
        """Return the date shift of a patient: in [-max_days, max_days], never 0, each value about equally likely."""
        number = int.from_bytes(self.digest("dates", self.person(patient_id))[:8]) % (2 * max_days)
        return number - max_days if number < max_days else number - max_days + 1


def demonstration() -> Pseudonyms:
    """Return the published mapping of the virtual cohort."""
    return Pseudonyms(DEMONSTRATION_KEY.encode())


class SecretKey(NamedTuple):
    """The mapping of a secret key, and whether the key was newly made."""

    pseudonyms: Pseudonyms
    is_new: bool


def from_secret(
    key_file: Path, forbidden: Iterable[Path], environment: Mapping[str, str] = os.environ
) -> SecretKey:
    """Return the mapping under the key in MRCT_KEY, or else under the key in `key_file`.

    Args:
        key_file: If it does not exist, it is created with a random key and mode 0600.
        forbidden: Folders that must not hold the key: the project and its data.
        environment: The environment variables.

    Raises:
        KeyRefusedError: The key is weak or published, or others could read it.
    """
    if KEY_VARIABLE in environment:
        key = _checked(environment[KEY_VARIABLE], f"the variable {KEY_VARIABLE}")
        return SecretKey(Pseudonyms(key), is_new=False)
    path = key_file.expanduser()
    _require_private_place(path, forbidden, "the key", "anonymize.key_file")
    if not path.exists():
        _create_key(path)
        return SecretKey(Pseudonyms(_checked(path.read_text(), "the new key file")), is_new=True)
    _require_owner_only(path, "the key")
    return SecretKey(Pseudonyms(_checked(path.read_text(), str(path))), is_new=False)


def _checked(text: str, where: str) -> bytes:
    text = text.strip()
    if text == DEMONSTRATION_KEY:
        raise KeyRefusedError(
            f"{where} holds the published demonstration key; it serves the virtual cohort alone. "
            "Remove it, and a random key is made"
        )
    if len(text) < _SHORTEST_KEY:
        raise KeyRefusedError(
            f"{where}: the key has {len(text)} characters, expected at least {_SHORTEST_KEY}; if the key was "
            "lost, a new one gives every patient a new pseudonym"
        )
    return text.encode()


def _require_private_place(path: Path, forbidden: Iterable[Path], what: str, parameter: str) -> None:
    """Raise KeyRefusedError for a path in one of the folders or in a git repository."""
    resolved = path.resolve()
    places = [folder for folder in forbidden if resolved.is_relative_to(folder.resolve())]
    if places:
        raise KeyRefusedError(f"{path}: {what} would lie inside {places[0]}; change the key `{parameter}`")
    if any((parent / ".git").exists() for parent in resolved.parents):
        raise KeyRefusedError(
            f"{path}: {what} would lie inside a git repository; change the key `{parameter}`"
        )


def _require_owner_only(path: Path, what: str) -> None:
    if path.stat().st_mode & 0o077:
        raise KeyRefusedError(f"{path}: others may read {what}; run  chmod 600 {path}")


def _create_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(secrets.token_hex(32) + "\n")


def is_new_key(memory: Path, pseudonyms: Pseudonyms, source: Path) -> bool:
    """Return whether the last run on the same source folder used another key, and remember this one.

    The folder `memory` holds one file per source. Its content is a keyed hash, from which the key cannot be computed.
    """
    place = hashlib.sha256(os.fsencode(source.resolve())).hexdigest()[:16]
    record, mark = memory / f"key-{place}", pseudonyms.digest("key", "").hex()
    before = record.read_text() if record.is_file() else mark
    with atomic_file(record) as partial:
        partial.write_text(mark)
    return before != mark


def _find_same_person_table(root: Path, name: str) -> Path:
    """Find the table, which must lie in the export, so that DVC tracks it and its ids stay where the images are."""
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise SamePersonError(f"anonymize.same_person: {name} is not inside the source {root}; put it there")
    if not path.is_file():
        raise SamePersonError(f"anonymize.same_person: the source {root} holds no file {name}")
    return root / name


class _Target(NamedTuple):
    """The PatientID to which another one is joined, and the row of the table that says so."""

    patient_id: str
    row: int


def read_same_persons(path: Path) -> SamePersons:
    r"""Read the table of same persons: CSV in UTF-8, patient_id and same_as.

    A row joins two PatientIDs of one person. A row that names one id twice confirms that its files show one person. An
    id that is no text is written as `mrct.dicom.identity.read_patient_id` spells it, with \xNN for a byte.

    Raises:
        SamePersonError: The table is not such a CSV, or a row is ambiguous. The message names the row (the header is
            row 1) and never an id.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            found, rows = reader.fieldnames or [], [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error):
        raise SamePersonError(
            "anonymize.same_person: the table is no CSV in UTF-8; save it as such"
        ) from None
    if sorted(found) != sorted(_SAME_PERSON_COLUMNS):
        unknown = len(set(found) - set(_SAME_PERSON_COLUMNS))
        raise SamePersonError(
            f"anonymize.same_person, row 1: expected the columns {','.join(_SAME_PERSON_COLUMNS)} alone, got "
            f"{len(found)}, {unknown} of them unknown; correct the table's first row"
        )
    targets: dict[str, _Target] = {}
    confirmed = set()
    for number, row in rows:
        patient_id, same_as = _two_ids(row, number)
        if patient_id == same_as:
            confirmed.add(patient_id)
        else:
            _add_join(targets, patient_id, same_as, number)
    joined = {patient_id: _end_of_chain(patient_id, targets) for patient_id in targets}
    return SamePersons(joined, frozenset(confirmed))


def _two_ids(row: Mapping[str | None, object], number: int) -> tuple[str, str]:
    patient_id, same_as = (strip(str(row[column] or "")) for column in _SAME_PERSON_COLUMNS)
    if None in row or not patient_id or not same_as:
        raise SamePersonError(f"anonymize.same_person, row {number}: expected two ids")
    return patient_id, same_as


def _add_join(targets: dict[str, _Target], patient_id: str, same_as: str, number: int) -> None:
    target = targets.setdefault(patient_id, _Target(same_as, number))
    if target.patient_id != same_as:
        raise SamePersonError(
            f"anonymize.same_person, row {number}: its patient_id is joined to another id in row {target.row}; "
            "keep one of them"
        )


def _end_of_chain(patient_id: str, targets: Mapping[str, _Target]) -> str:
    rows: list[int] = []
    while patient_id in targets:
        patient_id, number = targets[patient_id]
        if number in rows:
            cycle = sorted(rows[rows.index(number) :])
            raise SamePersonError(
                f"anonymize.same_person, rows {', '.join(map(str, cycle))}: the ids lead back to themselves; "
                "remove one of the rows"
            )
        rows.append(number)
    return patient_id


def require_reidentification_place(path: Path, forbidden: Iterable[Path]) -> None:
    """Check, before any other work, that the table of re-identification may be written to `path`.

    Raises:
        KeyRefusedError: Others could read the table, or it would be shared with the project.
    """
    what, parameter = "the table that leads pseudonyms back to patients", "anonymize.reidentification_table"
    _require_private_place(path, forbidden, what, parameter)
    if path.exists():
        _require_owner_only(path, "the table")


def write_reidentification(
    path: Path, patient_ids: Iterable[str], pseudonyms: Pseudonyms, max_shift_days: int
) -> None:
    """Write the table that maps pseudonyms to PatientIDs: one row per PatientID, sorted, mode 0600.

    It is as secret as the export itself and is written only on request. It lies outside the project, and DVC does not
    track it: a run whose results DVC takes from its cache does not write it.
    """
    rows = [
        (pseudonyms.patient(patient_id), patient_id, pseudonyms.shift_days(patient_id, max_shift_days))
        for patient_id in patient_ids
    ]
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private_rows(path, _REIDENTIFICATION_COLUMNS, sorted(rows))
