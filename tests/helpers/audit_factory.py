"""An invented audit as the stage anonymize writes it: 100 files of 11 patients."""

from pathlib import Path
from typing import Any

import pandas as pd

from mrct.core.files import write_json, write_table

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


def write_audit(folder: Path, dicom: bool = True) -> None:
    """files.csv, summary.json and, for DICOM, attributes.csv."""
    rows = [(action, reason, "") for action, reason, n in VERDICTS for _ in range(n)]
    rows += [("duplicate", f"the same image as file {n}", "") for n in range(3)]
    files = pd.DataFrame(rows, columns=["action", "reason", "output"])
    files.insert(0, "source_index", range(len(files)))
    kept = files["action"] == "kept"
    files.loc[kept, "output"] = [f"images/P/{n}.dcm" for n in range(kept.sum())]
    write_table(folder / "files.csv", files)
    write_json(folder / "summary.json", summary(dicom))
    if dicom:
        columns = ["tag", "keyword", "profile", "action", "count"]
        write_table(folder / "attributes.csv", pd.DataFrame(ATTRIBUTES, columns=columns))


def summary(dicom: bool) -> dict[str, Any]:
    """What summary.json holds, in agreement with VERDICTS."""
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
