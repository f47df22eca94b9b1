"""Keyed pseudonyms: the same key gives the same names for ever, and without the key nobody leads them back.

All are HMAC-SHA256 (RFC 2104) of the original value; a label keeps patients, UIDs, folders and shifts apart.
"""

import hmac
import os
import secrets
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydicom._uid_dict import UID_dictionary

from mrct.core.errors import DataError

# Published on purpose: the virtual cohort holds no person, and clones agree byte for byte
DEMONSTRATION_KEY = "mrct demonstration key: published, for the virtual cohort only"
KEY_VARIABLE = "MRCT_KEY"
_SHORTEST_KEY = 32


def strip(text: str) -> str:
    """Without the blanks and NUL with which DICOM pads to an even length."""
    return text.strip(" \0\t\r\n")


class KeyRefusedError(DataError):
    """The key, or the table that undoes it, is missing, weak, published, or lies where it would be shared."""


@dataclass(frozen=True)
class Pseudonyms:
    """The mapping of one key; `repr` hides the key. `same_person` leads a PatientID to the one it is joined to."""

    key: bytes = field(repr=False)
    same_person: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    def digest(self, label: str, value: str) -> bytes:
        """32 bytes of HMAC-SHA256 under the key."""
        return hmac.digest(self.key, f"{label}\0{value}".encode(), "sha256")

    def person(self, patient_id: str) -> str:
        """The PatientID under which this one's person is known: without padding, and joined by the table alone."""
        patient_id = strip(patient_id)
        return self.same_person.get(patient_id, patient_id)

    def patient(self, patient_id: str) -> str:
        """PatientID -> "P" + 10 hex digits. Blanks around the id do not count; everything else does:
        one person under two ids is never guessed to be one."""
        return "P" + self.digest("patient", self.person(patient_id)).hex()[:10]

    def uid(self, uid: str) -> str:
        """Any UID -> 2.25.<128 bits> (PS3.5 B.2); UIDs that the standard itself defines stay."""
        uid = strip(uid)
        if not uid or uid in UID_dictionary:
            return uid
        return f"2.25.{uuid.UUID(bytes=self.digest('uid', uid)[:16], version=4).int}"

    def short(self, label: str, value: str, length: int = 10) -> str:
        """`length` hex digits for folder and file names."""
        return self.digest(label, strip(value)).hex()[:length]

    def shift_days(self, patient_id: str, max_days: int) -> int:
        """One date shift a patient, in [-max_days, max_days], never 0; each value about equally likely."""
        number = int.from_bytes(self.digest("dates", self.person(patient_id))[:8]) % (2 * max_days)
        return number - max_days if number < max_days else number - max_days + 1


def demonstration() -> Pseudonyms:
    """The published mapping of the virtual cohort."""
    return Pseudonyms(DEMONSTRATION_KEY.encode())


def from_secret(
    key_file: Path, forbidden: Iterable[Path], environment: Mapping[str, str] = os.environ
) -> tuple[Pseudonyms, str]:
    """The mapping of MRCT_KEY, else of `key_file` (made on first use, mode 0600), and which of them.

    `forbidden`: folders that must not hold the key (the project, its data). Raises KeyRefusedError.
    """
    if KEY_VARIABLE in environment:
        return Pseudonyms(_checked(environment[KEY_VARIABLE], f"the variable {KEY_VARIABLE}")), KEY_VARIABLE
    path = key_file.expanduser()
    require_private_place(path, forbidden, "the key", "anonymize.key_file")
    if not path.exists():
        _create(path)
        return Pseudonyms(_checked(path.read_text(), "the new key file")), "new key file"
    if path.stat().st_mode & 0o077:
        raise KeyRefusedError(f"{path}: others may read the key; run  chmod 600 {path}")
    return Pseudonyms(_checked(path.read_text(), str(path))), "key file"


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


def require_private_place(path: Path, forbidden: Iterable[Path], what: str, parameter: str) -> None:
    """KeyRefusedError where `path` lies in one of the folders or in any git repository."""
    resolved = path.resolve()
    places = [folder for folder in forbidden if resolved.is_relative_to(folder.resolve())]
    if places:
        raise KeyRefusedError(f"{path}: {what} would lie inside {places[0]}; change the key `{parameter}`")
    if any((parent / ".git").exists() for parent in resolved.parents):
        raise KeyRefusedError(
            f"{path}: {what} would lie inside a git repository; change the key `{parameter}`"
        )


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(secrets.token_hex(32) + "\n")
