"""The record of what happened to each file and attribute, as tables and counts without header values."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mrct.core.contracts import (
    AUDITED_ATTRIBUTES,
    AUDITED_FILES,
    AttributeAction,
    FileAction,
    general_reason,
)
from mrct.core.errors import DataError
from mrct.core.files import write_json
from mrct.deid.allow_list import EDITION
from mrct.deid.cleaner import Change
from mrct.deid.deidentify import CODES, METHOD, Options
from mrct.dicom.archives import advice
from mrct.leaks.evidence import build_index
from mrct.leaks.output_sweep import LeakError
from mrct.leaks.phi_values import PhiValues

_SHOWN_REASONS = 8
# indices, counts and pseudonyms are written by this program; their digits may equal a value by chance
_OURS = re.compile(
    rb"^\d+,|,\d+$|: \d+,?$|\bfile \d+|images/P[0-9a-f]{10}(?:/[0-9a-f]+)*/[a-z0-9.]+$", re.MULTILINE
)


class Verdict(NamedTuple):
    """The result for one file of the source: a row of audit/files.csv (contracts.AuditedFile)."""

    source_index: int
    action: FileAction
    reason: str = ""
    output: str = ""


@dataclass
class Record:
    """The results for some files of the source.

    Attributes:
        verdicts: One per file.
        changes: Number of times that each change of an attribute was made in the images that are kept.
        already_deidentified: Number of kept images that another tool had de-identified.
        bytes: Total size of the kept images.
        leak: Why nothing of these files' patient may be published; "" if all outputs are clean.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    changes: Counter[Change] = field(default_factory=Counter)
    already_deidentified: int = 0
    bytes: int = 0
    leak: str = ""

    @property
    def kept(self) -> list[Verdict]:
        """The verdicts of the files that are kept."""
        return [verdict for verdict in self.verdicts if verdict.action == FileAction.KEPT]

    def add(self, other: "Record") -> None:
        """Add the record of other files."""
        self.verdicts += other.verdicts
        self.changes.update(other.changes)
        self.already_deidentified += other.already_deidentified
        self.bytes += other.bytes
        self.leak = self.leak or other.leak

    def withdrawn(self) -> "Record":
        """Return the record of a patient of whom nothing is published: the files are rejected because of the leak."""
        reason = (
            f"{self.leak}: nothing of this patient was published; report the attribute, or take the file out of the "
            "source"
        )
        published = (FileAction.KEPT, FileAction.DUPLICATE)
        verdicts = [
            Verdict(one.source_index, FileAction.REJECTED, reason) if one.action in published else one
            for one in self.verdicts
        ]
        return Record(verdicts, leak=self.leak)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        return {**vars(self), "changes": [[*change, count] for change, count in sorted(self.changes.items())]}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Record":
        """Return the record that `to_json` converted to `content`."""
        verdicts = [
            Verdict(index, FileAction(action), reason, output)
            for index, action, reason, output in content["verdicts"]
        ]
        changes = Counter(
            {
                Change(tag, keyword, profile, AttributeAction(action)): count
                for tag, keyword, profile, action, count in content["changes"]
            }
        )
        return cls(verdicts, changes, content["already_deidentified"], content["bytes"], content["leak"])


def require_kept(root: Path, record: Record) -> None:
    """Check that at least one file is kept.

    Raises:
        DataError: No file is kept; the message counts the most common reasons.
    """
    if record.kept:
        return
    counts = Counter((verdict.action, general_reason(verdict.reason)) for verdict in record.verdicts)
    reasons = Counter(verdict.reason for verdict in record.verdicts)
    lines = [
        f"  {count} {action}: {reason}" for (action, reason), count in counts.most_common(_SHOWN_REASONS)
    ]
    raise DataError(
        f"{root}: none of its {len(record.verdicts)} files can be used; expected CT and MR images in the layout "
        "named by the key `source_layout` (dicom | synthrad | rire)\n" + "\n".join(lines) + advice(reasons)
    )


def require_distinct(pseudonyms: Iterable[str]) -> None:
    """Check that no two patients share a pseudonym.

    Raises:
        DataError: Two patients got the same pseudonym.
    """
    counts = Counter(pseudonyms)
    if counts and max(counts.values()) > 1:
        raise DataError(
            "two patients got the same pseudonym; use another key (MRCT_KEY or anonymize.key_file)"
        )


def write_manifest(
    folder: Path, layout: Literal["dicom", "volumes"], registered: bool, mr_weighting: str
) -> None:
    """Write manifest.json, which tells the stage `select` what the folder holds."""
    content = {"layout": layout, "registered": registered, "mr_weighting": mr_weighting}
    write_json(folder / "manifest.json", content)


def write_export_audit(
    folder: Path, record: Record, options: Options, joined_patient_ids: int, n_values: int
) -> None:
    """Write the audit of a DICOM export: audit/files.csv, audit/attributes.csv and audit/summary.json.

    Args:
        folder: Output folder of the stage.
        record: What happened to all files.
        options: What the user chose.
        joined_patient_ids: Number of PatientIDs of the export that were joined to another one.
        n_values: Number of different values that were searched for.
    """
    _write_files(folder, record)
    rows = ({**change._asdict(), "count": count} for change, count in sorted(record.changes.items()))
    AUDITED_ATTRIBUTES.write(folder, rows)
    # the options that all images declare; they add Clean Pixel Data if the source says that no text is burned in
    codes = ["113100", "113101", "113105", "113107", *["113108"] * options.retain_age_and_sex]
    summary = {
        "layout": "dicom",
        "method": METHOD,
        "standard": f"DICOM PS3.15 annex E, table E.1-1, edition {EDITION}",
        "method_codes": {code: CODES[code] for code in codes},
        "max_shift_days": options.max_shift_days,
        "retain_age_and_sex": options.retain_age_and_sex,
        "already_deidentified_files": record.already_deidentified,
        "joined_patient_ids": joined_patient_ids,
    }
    _write_summary(folder, summary, record, n_values)


def write_volume_audit(folder: Path, record: Record, layout: str, n_values: int) -> None:
    """Write the audit of a volume layout: audit/files.csv and audit/summary.json."""
    _write_files(folder, record)
    _write_summary(folder, {"layout": layout}, record, n_values)


def _write_files(folder: Path, record: Record) -> None:
    AUDITED_FILES.write(folder, (verdict._asdict() for verdict in sorted(record.verdicts)))


def _write_summary(folder: Path, summary: dict[str, object], record: Record, n_values: int) -> None:
    """Write the summary with the entries that all layouts share; `hits` is 0: what has a hit is not published."""
    files: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    for verdict in record.verdicts:
        files[verdict.action] += 1
        if verdict.action not in (FileAction.KEPT, FileAction.DUPLICATE):
            reasons[verdict.action][general_reason(verdict.reason)] += 1
    summary |= {
        "sweep": {"files": len(record.kept), "bytes": record.bytes, "values": n_values, "hits": 0},
        "patients": len({verdict.output.split("/")[1] for verdict in record.kept}),
        "files": files,
        "reasons": reasons,
    }
    write_json(folder / "audit" / "summary.json", summary)


def sweep_audit(folder: Path, patients: Sequence[PhiValues]) -> None:
    """Search the files outside images/ for the values of all patients.

    Raises:
        LeakError: A file holds a value; the message names the file and the attribute.
    """
    index = build_index(patients)
    for path in sorted([*folder.glob("*.json"), *folder.glob("audit/*")]):
        found = index.find(_OURS.sub(b"", path.read_bytes()), cells=True)
        if found:
            raise LeakError(
                f"{path.relative_to(folder)}: it holds a patient's {min(found)}; nothing was published. "
                "Report the attribute and the file"
            )
