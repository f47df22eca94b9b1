"""The parameters of a selection, and their allowed names."""

from dataclasses import dataclass
from typing import Literal, get_args

from mrct.dicom.stack import MAX_ANGLE_DEG

RejectRule = Literal[
    "localizer",
    "calibration",
    "timing",
    "derived",
    "fieldmap",
    "phase",
    "body_part",
    "cone_beam",
    "low_dose",
    "tube_voltage",
    "sagittal",
    "coronal",
    "oblique",
    "angiography",
    "swi",
    "perfusion",
    "dwi",
    "epi",
    "flair",
    "t1",
    "pd",
    "fat_suppressed",
    "contrast",
    "sharp_kernel",
    "tse",
    "uneven",
]
#: The rules that `select.reject` and `select.accept` may name; the others always apply.
REJECTABLE: tuple[RejectRule, ...] = get_args(RejectRule)
Preference = Literal[
    "soft_kernel",
    "nearest_date",
    "less_tilt",
    "more_coverage",
    "finer_pixels",
    "more_slices",
    "fewer_gaps",
    "first",
    "last",
]
DEFAULT_PREFER: tuple[Preference, ...] = get_args(Preference)[:-1]


@dataclass(frozen=True)
class Rules:
    """The parameters of a selection: the section `select` of params.yaml.

    Attributes:
        weighting: t2, t1 or any. The rule named like the wanted weighting is not applied: `weighting: t1` works even if
            `reject` holds t1.
        reject: The rules that apply, names of REJECTABLE.
        accept: Exceptions: rules of `reject` that do not apply.
        prefer: Criteria that decide between the series that are left, most important first.
        max_angle_deg: Largest tilt from axial.
        max_days_between: Most days between CT and MR; 0 is no limit.
        min_coverage_mm: Least height of the even slices; 0 is no limit.
        min_field_mm: Least field of view; 0 is no limit.
        max_spacing_mm: Largest distance between slices; 0 is no limit.
    """

    weighting: str = "t2"
    reject: tuple[str, ...] = REJECTABLE
    accept: tuple[str, ...] = ()
    prefer: tuple[str, ...] = DEFAULT_PREFER
    max_angle_deg: float = MAX_ANGLE_DEG
    max_days_between: int = 0
    min_coverage_mm: float = 0.0
    min_field_mm: float = 0.0
    max_spacing_mm: float = 0.0

    def holds(self, name: str) -> bool:
        """Return whether the rule of this name is applied."""
        if name not in REJECTABLE:
            return True
        return name in self.reject and name not in self.accept and name != self.weighting
