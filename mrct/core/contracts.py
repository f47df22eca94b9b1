"""Declarations of the tables that pass between the stages: every column of every CSV file, with its unit.

Conventions: `patient` is a pseudonym (`P` and 10 hex digits), `series` a name within the patient, `k` the index of a
slice from the feet up, starting at 0. Positions are in mm in the patient's coordinate system (LPS).
"""

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from mrct.core.tables import MetricRow, Row, Table

#: HU of a CT where nothing was scanned, in every volume from `select` on.
AIR_HU = -1024.0
#: Text that may be empty: an empty cell is read as "".
Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]


class FileAction(StrEnum):
    """Outcome for a file of the source."""

    KEPT = "kept"
    REJECTED = "rejected"
    QUARANTINED = "quarantined"
    DUPLICATE = "duplicate"
    SKIPPED = "skipped"


class AttributeAction(StrEnum):
    """Outcome for an attribute of an image."""

    KEPT = "kept"
    CHANGED = "changed"
    EMPTIED = "emptied"
    DROPPED = "dropped"


class SeriesVerdict(StrEnum):
    """Decision on a series."""

    KEPT = "kept"
    REJECTED = "rejected"


class SelectionStatus(StrEnum):
    """Outcome of the selection for a patient."""

    PAIRED = "paired"
    UNPAIRED = "unpaired"
    LEFT_OUT = "left_out"


class RegistrationStatus(StrEnum):
    """Outcome of the registration for a patient."""

    REGISTERED = "registered"
    FAILED = "failed"


class Split(StrEnum):
    """Use of a patient's pairs."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class PairRule(StrEnum):
    """Rule that rejects a slice."""

    INCOMPLETE = "incomplete"
    EMPTY = "empty"
    POOR_MATCH = "poor_match"
    NEAR_DUPLICATE = "near_duplicate"
    BEYOND_QUOTA = "beyond_quota"


class Direction(StrEnum):
    """Direction of a translation."""

    MR_TO_CT = "mr_to_ct"
    CT_TO_MR = "ct_to_mr"


class VirtualPatient(Row):
    patient_id: str = Field(description="PatientID in the export")
    ct_series_uid: Text = Field(description="SeriesInstanceUID of the wanted CT; empty: there is none")
    mr_series_uid: Text = Field(description="SeriesInstanceUID of the wanted MR; empty: there is none")


class VirtualSeries(Row):
    patient_id: str = Field(description="PatientID in the export")
    series_uid: str = Field(description="SeriesInstanceUID")
    modality: str = Field(description="CT, MR or PT")
    kind: str = Field(description="clean, or the kind of unwanted series (virtual_hospital/contamination)")
    wanted: Literal["yes", "acceptable", "no"] = Field(description="whether a selection should use it")
    te_ms: int | None = Field(
        description="echo time to which `wanted` applies, where a series has several echoes, ms"
    )


class HidingPlace(Row):
    kind: str = Field(description="kind of hiding place (virtual_hospital/hiding)")
    where: str = Field(description="path of attributes, or a part of the file")
    n_images: int = Field(
        description="number of images that hide a value there; of a non-image file, such files"
    )


class VirtualPair(Row):
    mr_position_mm: float = Field(description="position of the MR slice along its normal, mm")
    inside_ct: bool = Field(description="whether the CT covers the head in this slice")


def general_reason(reason: str) -> str:
    """Replace `file 12` in a reason by `another file`, so that equal reasons are counted as one."""
    return re.sub(r"\bfile \d+", "another file", reason)


class AuditedFile(Row):
    source_index: int = Field(
        description="place in the sorted listing of the source; file names may hold names"
    )
    action: FileAction = Field(description="what happened to the file")
    reason: Text = Field(description="why it was not kept")
    output: Text = Field(description="path of the output below data/anonymized")


class AuditedAttribute(Row):
    tag: str = Field(description="(gggg,eeee)")
    keyword: Text = Field(description="DICOM keyword; empty for private attributes")
    profile: Text = Field(
        description="code of the Basic Profile (PS3.15 table E.1-1); empty: not in the table"
    )
    action: AttributeAction = Field(description="what happened to the attribute")
    count: int = Field(description="number of occurrences")


class SelectedSeries(Row):
    patient: str = Field(description="pseudonym")
    series: str = Field(
        description="name of the series; parts of it end in a letter and a number, such as -e1 (echo) or -s1 (scan)"
    )
    modality: Text = Field(description="CT or MR; empty if the header names none")
    description: Text = Field(description="known words of SeriesDescription")
    manufacturer: Text = Field(description="short name of a known vendor, or other")
    plane: Text = Field(description="axial, coronal, sagittal or oblique")
    angle_deg: float | None = Field(
        description="angle between the slices' normal and the patient's long axis, degrees"
    )
    weighting: Text = Field(description="t1, t2, pd, flair, stir, t2star, dwi or unknown")
    n_slices: int | None = Field(description="number of images in the series")
    spacing_mm: Text = Field(description="pixel spacing, between rows x between columns, mm")
    slice_spacing_mm: float | None = Field(description="distance between neighboring slices, mm")
    te_ms: float | None = Field(description="echo time, ms")
    tr_ms: float | None = Field(description="repetition time, ms")
    ti_ms: float | None = Field(description="inversion time, ms")
    echo_train_length: int | None = Field(description="echoes per excitation")
    decision: SeriesVerdict = Field(description="whether the series is used")
    rule: Text = Field(description="rule that rejected it (docs/reference/selection-rules.md)")
    reason: Text = Field(description="why it was rejected; for a kept series, what was corrected")


class SelectedPatient(Row):
    patient: str = Field(description="pseudonym")
    status: SelectionStatus = Field(description="whether the patient has both images")
    days_between: int | None = Field(description="days between CT and MR; empty: a date is unknown")
    same_frame: bool = Field(description="whether both headers name one frame of reference")
    reason: Text = Field(description="why the patient is not paired, or a remark")


class RegisteredPatient(Row):
    patient: str = Field(description="pseudonym")
    status: RegistrationStatus = Field(description="whether CT and MR lie on one grid")
    similarity: float | None = Field(default=None, description="Mattes mutual information in the head, nats")
    overlap: float | None = Field(
        default=None, description="share of the smaller head that both images show, 0 to 1"
    )
    residual_edge_mm: float | None = Field(
        default=None, description="90th percentile of the distance from the skin in CT to the skin in MR, mm"
    )
    spread_mm: float | None = Field(
        default=None,
        description="mean distance over the head between the result and where a half of the head ends that is "
        "registered alone from another start; median of six halves, mm; empty: registered already",
    )
    rotation_deg: float | None = Field(
        default=None, description="rotation of the CT by the registration, degrees"
    )
    translation_mm: float | None = Field(
        default=None, description="displacement of the center of the CT's head, mm"
    )
    removed_face_percent: float | None = Field(
        default=None, description="volume of the head that defacing removed, %; empty: not defaced"
    )
    reason: Text = Field(description="why registration failed, or what to check")


class Pair(Row):
    patient: str = Field(description="pseudonym")
    k: int = Field(description="index of the slice, from 0")
    split: Split = Field(description="what the pair is for")
    position_mm: float = Field(description="position of the slice along its normal, mm")
    head_area_cm2: float = Field(description="area of the head in the slice, cm²")
    coverage: float = Field(description="share of the head that both images cover, 0 to 1")
    quality: float | None = Field(description="normalized mutual information of CT and MR, 0 to 1")
    mask_overlap: float | None = Field(description="Dice coefficient of the heads in CT and MR, 0 to 1")
    edge_agreement: float | None = Field(description="agreement of the gradients' directions, 0 to 1")


class RejectedSlice(Row):
    patient: str = Field(description="pseudonym")
    k: int = Field(description="index of the slice, from 0")
    rule: PairRule = Field(description="rule that rejected it")
    reason: str = Field(description="why it was rejected, with the decisive number")


class PatientSplit(Row):
    patient: str = Field(description="pseudonym")
    split: Split = Field(description="use of the patient's pairs")
    n_pairs: int = Field(description="number of pairs")


class NormalizedPair(Row):
    patient: str = Field(description="pseudonym")
    k: int = Field(description="index of the slice in the arrays of data/normalized, from 0")
    split: Split = Field(description="what the pair is for")


class TrainedEpoch(MetricRow):
    """One further column per loss term (unweighted) and per validation error."""

    epoch: int = Field(description="epoch, from 1")


class SliceMetrics(MetricRow):
    """One further column per metric."""

    direction: Direction = Field(description="what was translated")
    patient: str = Field(description="pseudonym of a test patient")
    k: int = Field(description="index of the slice, from 0")


class PatientMetrics(MetricRow):
    """One further column per metric: its value for the volume if defined, else its mean over the slices."""

    direction: Direction = Field(description="what was translated")
    patient: str = Field(description="pseudonym of a test patient")


VIRTUAL_PATIENTS = Table(
    "cohort", "data/cohort_truth", "patients.csv", VirtualPatient, "one row per virtual patient"
)
VIRTUAL_SERIES = Table(
    "cohort", "data/cohort_truth", "series.csv", VirtualSeries, "one row per exported series"
)
HIDING_PLACES = Table(
    "cohort", "data/cohort_truth", "hiding_places.csv", HidingPlace, "one row per hiding place"
)
VIRTUAL_PAIRS = Table(
    "cohort", "data/cohort_truth/<n>", "pairs.csv", VirtualPair, "one row per slice of the wanted MR"
)
AUDITED_FILES = Table(
    "anonymize", "data/anonymized", "audit/files.csv", AuditedFile, "one row per file of the source"
)
AUDITED_ATTRIBUTES = Table(
    "anonymize",
    "data/anonymized",
    "audit/attributes.csv",
    AuditedAttribute,
    "one row per attribute and action",
)
SELECTED_SERIES = Table("select", "data/selected", "series.csv", SelectedSeries, "one row per series")
SELECTED_PATIENTS = Table("select", "data/selected", "patients.csv", SelectedPatient, "one row per patient")
REGISTERED_PATIENTS = Table(
    "register", "data/registered", "patients.csv", RegisteredPatient, "one row per patient with both images"
)
PAIRS = Table("pair", "data/pairs", "pairs.csv", Pair, "one row per pair of slices")
REJECTED_SLICES = Table(
    "pair", "data/pairs", "rejected.csv", RejectedSlice, "one row per slice that is no pair"
)
PATIENT_SPLITS = Table("pair", "data/pairs", "splits.csv", PatientSplit, "one row per patient with pairs")
NORMALIZED_PAIRS = Table(
    "normalize", "data/normalized", "pairs.csv", NormalizedPair, "one row per pair of slices"
)
HISTORY = Table("train", "models/<method>", "history.csv", TrainedEpoch, "one row per epoch")
SLICE_METRICS = Table(
    "evaluate",
    "reports/metrics/<method>",
    "slices.csv",
    SliceMetrics,
    "one row per direction, test patient and slice",
)
PATIENT_METRICS = Table(
    "evaluate",
    "reports/metrics/<method>",
    "patients.csv",
    PatientMetrics,
    "one row per direction and test patient",
)
#: All tables, in the order of the pipeline.
TABLES = tuple(value for value in globals().values() if isinstance(value, Table))
