"""All rarer kinds of unwanted series, and which of them a patient has.

The development kinds were listed before any selection rule was tried on them. The held-out kinds were listed when the
rules handled all others. A rule that fails on a kind is corrected in general terms; the kind is not changed.
"""

from collections.abc import Callable, Mapping

from virtual_hospital.contamination import ct_series, mr_series
from virtual_hospital.series import Series, Session

#: The function that makes each kind.
MAKERS: Mapping[str, Callable[[Session], Series]] = {**mr_series.MAKERS, **ct_series.MAKERS}

DEVELOPMENT_PER_PATIENT = 3
HELD_OUT_PER_PATIENT = 1

# Each line is a patient, from 0. In the default cohort of 18, patient 5 has no MR and patient 7 no CT: their kinds
# are of the other modality
DEVELOPMENT_KINDS = (
    "dwi_b0", "dwi_b1000", "epi_t2",
    "tof", "swi", "swi_phase",
    "t2_star", "t1_contrast", "t2_contrast",
    "mprage_sagittal", "spgr_axial", "sagittal_t2",
    "coronal_named_axial", "oblique_35", "oblique_15",
    "ct_bone", "ct_angiography", "ct_contrast_tag",
    "single_shot", "blade", "stir",
    "balanced", "calibration", "field_map",
    "ct_contrast_name", "aborted", "no_timing",
    "ct_thin", "neck", "knee",
    "ct_missing_slices", "adc", "t2_map",
    "ct_two_thicknesses", "motion_repeat", "duplicated_slices",
    "ct_duplicated_slices", "same_instance_number", "missing_slices",
    "ct_reformat_original", "follow_up", "multiframe",
    "ct_perfusion", "mosaic", "dual_echo",
    "ct_bolus_tracking", "perfusion", "localizer_named_axial",
    "topogram", "screenshot", "pet",
    "ct_sinus", "ct_mip",
)  # fmt: skip
HELD_OUT_KINDS = (
    "t2_fat_saturated",
    "ct_attenuation",
    "csf_flow",
    "ct_dual_energy",
    "two_slabs",
    "ct_cone_beam",
    "phantom",
    "t2_orbits",
    "ct_orbits",
    "merged_series",
    "ct_bone_by_name",
    "t2_twin",
    "ct_neck",
)


def kinds_of(n: int) -> tuple[str, ...]:
    """Return the rarer kinds of patient n; the lists start again when they end."""
    return (
        *_turn(DEVELOPMENT_KINDS, DEVELOPMENT_PER_PATIENT, n),
        *_turn(HELD_OUT_KINDS, HELD_OUT_PER_PATIENT, n),
    )


def _turn(kinds: tuple[str, ...], per_patient: int, n: int) -> tuple[str, ...]:
    return tuple(kinds[(n * per_patient + turn) % len(kinds)] for turn in range(per_patient))


def rare_series(n: int, session: Session) -> list[Series]:
    """Make the rarer unwanted series of patient n."""
    return [MAKERS[kind](session) for kind in kinds_of(n)]
