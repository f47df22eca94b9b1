"""An invented audit in the format of the stage anonymize: 100 files of 11 patients."""

from pathlib import Path
from typing import Any

import pandas as pd

from mrct.core.contracts import AUDITED_ATTRIBUTES, AUDITED_FILES
from mrct.core.files import write_json

#: (action, reason, how many)
VERDICTS = (
    ("kept", "", 90),
    ("rejected", "not a CT or MR image: Secondary Capture Image Storage", 3),
    ("rejected", "no PatientID: CT and MR cannot be assigned to a patient", 1),
    ("quarantined", "text is burned into the pixels (BurnedInAnnotation YES)", 1),
    ("skipped", "not DICOM", 2),
)
#: (tag, keyword, profile, action, count)
ATTRIBUTES = (
    ("(0008,0018)", "SOPInstanceUID", "U", "changed", 90),
    ("(0008,0020)", "StudyDate", "Z", "changed", 80),
    ("(0008,0020)", "StudyDate", "Z", "emptied", 10),
    ("(0008,0060)", "Modality", "", "kept", 90),
    ("(0008,1030)", "StudyDescription", "X", "changed", 60),
    ("(0008,103e)", "SeriesDescription", "X", "kept", 30),
    ("(0008,1090)", "ManufacturerModelName", "", "dropped", 90),
    ("(0010,0010)", "PatientName", "Z", "changed", 90),
    ("(0010,1040)", "PatientAddress", "X", "dropped", 88),
    ("private", "", "X", "dropped", 400),
    ("unknown", "", "", "dropped", 5),
)


def write_audit(anonymized: Path, dicom: bool = True) -> None:
    """Write the audit into the stage's output folder; that of image volumes has no attributes."""
    files = [{"action": action, "reason": reason} for action, reason, n in VERDICTS for _ in range(n)]
    files += [{"action": "duplicate", "reason": f"the same image as file {n}"} for n in range(3)]
    rows = []
    for n, file in enumerate(files):
        output = f"images/P/{n}.dcm" if file["action"] == "kept" else ""
        rows.append({"source_index": n, **file, "output": output})
    AUDITED_FILES.write(anonymized, rows)
    write_json(anonymized / "audit/summary.json", summary(dicom))
    if dicom:
        columns = ["tag", "keyword", "profile", "action", "count"]
        AUDITED_ATTRIBUTES.write(anonymized, pd.DataFrame(ATTRIBUTES, columns=columns))


def summary(dicom: bool) -> dict[str, Any]:
    """Return the content of summary.json that agrees with VERDICTS."""
    common = {
        "layout": "dicom" if dicom else "synthrad",
        "patients": 11,
        "files": {"kept": 90, "rejected": 4, "quarantined": 1, "skipped": 2, "duplicate": 3},
        "sweep": {"files": 92, "bytes": 47_300_000, "values": 1234, "hits": 0},
    }
    if not dicom:
        return common
    return common | {
        "method": "mrct allow-list after DICOM PS3.15 annex E",
        "standard": "DICOM PS3.15 annex E, table E.1-1, edition 2026c",
        "method_codes": {
            "113100": "Basic Application Confidentiality Profile",
            "113105": "Clean Descriptors Option",
        },
        "max_shift_days": 365,
        "retain_age_and_sex": False,
        "already_deidentified_files": 7,
        "joined_patient_ids": 2,
    }
