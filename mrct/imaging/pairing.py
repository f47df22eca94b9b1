"""Which slices of a registered CT and MR make a pair; every other slice with the rule and the reason.

Convention: the images lie on one grid, slices k along the third axis; arrays (k, j, i).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import SimpleITK as sitk  # noqa: N813

INCOMPLETE = "incomplete"
EMPTY = "empty"
BEYOND_QUOTA = "beyond_quota"

# which key of the section `pair` relaxes a rule
KEYS = {INCOMPLETE: "min_coverage", EMPTY: "min_head_area_cm2", BEYOND_QUOTA: "max_per_patient"}


@dataclass(frozen=True)
class Rules:
    """What makes a pair; max_per_patient 0 means all."""

    min_coverage: float
    min_head_area_cm2: float
    max_per_patient: int


def judge_slices(
    mr: sitk.Image, ct: sitk.Image, mask: sitk.Image, coverage: sitk.Image, rules: Rules
) -> pd.DataFrame:
    """One row a slice: k, position_mm, head_area_cm2, coverage, rule, reason; rule "" is a pair.

    `coverage` is the share of the slice's head (mask > 0) where both images have data; in a slice without
    head the share of the whole slice.
    """
    arrays = [sitk.GetArrayViewFromImage(image) for image in (mr, ct, mask, coverage)]
    pixel_cm2 = mr.GetSpacing()[0] * mr.GetSpacing()[1] / 100.0
    positions = slice_positions_mm(mr)
    rows = []
    for k in range(mr.GetSize()[2]):
        mr_k, ct_k, head, covered = arrays[0][k], arrays[1][k], arrays[2][k] > 0, arrays[3][k] > 0
        area_cm2 = float(head.sum() * pixel_cm2)
        share = float(covered[head].mean() if head.any() else covered.mean())
        rule, reason = _judge(mr_k, ct_k, head, area_cm2, share, bool(covered.any()), rules)
        rows.append((k, round(positions[k], 3), round(area_cm2, 2), round(share, 4), rule, reason))
    table = pd.DataFrame(rows, columns=["k", "position_mm", "head_area_cm2", "coverage", "rule", "reason"])
    return _keep_quota(table, rules.max_per_patient)


def slice_positions_mm(image: sitk.Image) -> list[float]:
    """Position of each slice along the slice normal, mm (for an untilted axial stack: z, up is positive)."""
    normal = np.asarray(image.GetDirection()).reshape(3, 3)[:, 2]
    return [
        float(np.dot(image.TransformIndexToPhysicalPoint((0, 0, k)), normal))
        for k in range(image.GetSize()[2])
    ]


def evenly_spaced(n: int, wanted: int) -> list[int]:
    """`wanted` of the positions 0..n-1, the middles of equal stretches: one is the most central."""
    return [(2 * i + 1) * n // (2 * wanted) for i in range(wanted)] if wanted < n else list(range(n))


def _judge(
    mr: np.ndarray,
    ct: np.ndarray,
    head: np.ndarray,
    area_cm2: float,
    share: float,
    any_covered: bool,
    rules: Rules,
) -> tuple[str, str]:
    if not any_covered:
        missing = "one of the two scans"
        if _has_content(mr) != _has_content(ct):
            missing = "the CT" if _has_content(mr) else "the MR"
        return INCOMPLETE, f"{missing} does not reach this level"
    if area_cm2 < rules.min_head_area_cm2:
        return EMPTY, f"head section of {area_cm2:.0f} cm², wanted at least {rules.min_head_area_cm2:g} cm²"
    if share < rules.min_coverage:
        return INCOMPLETE, (
            f"both scans show only {100 * share:.0f} % of the head here, "
            f"wanted at least {100 * rules.min_coverage:g} %"
        )
    for name, image in (("MR", mr), ("CT", ct)):
        if not _has_content(image[head]):
            return EMPTY, f"the {name} shows nothing here: one value everywhere in the head, or no number"
    return "", ""


def _has_content(values: np.ndarray) -> bool:
    return bool(values.size and np.isfinite(values).all() and values.min() < values.max())


def _keep_quota(table: pd.DataFrame, max_per_patient: int) -> pd.DataFrame:
    pairs = np.flatnonzero(table["rule"].to_numpy() == "")
    if not max_per_patient or len(pairs) <= max_per_patient:
        return table
    surplus = np.setdiff1d(pairs, pairs[evenly_spaced(len(pairs), max_per_patient)])
    reason = f"a good pair, but only {max_per_patient} of this patient's {len(pairs)} are used, evenly spaced"
    result = table.copy()
    result.loc[surplus, ["rule", "reason"]] = [BEYOND_QUOTA, reason]
    return result
