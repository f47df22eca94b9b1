"""Which slices of a registered CT and MR make a pair; every other slice with the rule and the reason.

Convention: the images lie on one grid, slices k along the third axis; arrays (k, j, i).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import SimpleITK as sitk

from mrct.core.errors import DataError
from mrct.imaging.masks import MaskError, head_mask_of_ct, head_mask_of_mr
from mrct.imaging.volumes import spacing_kji_mm
from mrct.pairing.match import Match, match_slices

INCOMPLETE = "incomplete"
EMPTY = "empty"
POOR_MATCH = "poor_match"
NEAR_DUPLICATE = "near_duplicate"
BEYOND_QUOTA = "beyond_quota"

# which key of the section `pair` relaxes a rule
KEYS = {
    INCOMPLETE: "min_coverage",
    EMPTY: "min_head_area_cm2",
    POOR_MATCH: "min_quality",
    NEAR_DUPLICATE: "min_distance_mm",
    BEYOND_QUOTA: "max_per_patient",
}
# positions are rounded to a micrometer
SAME_DISTANCE_MM = 1e-2


@dataclass(frozen=True)
class Rules:
    """What makes a pair; 0 switches min_quality, min_distance_mm and max_per_patient off."""

    min_coverage: float
    min_head_area_cm2: float
    max_per_patient: int
    min_quality: float = 0.0
    min_distance_mm: float = 0.0


def judge_slices(
    mr: sitk.Image, ct: sitk.Image, mask: sitk.Image, coverage: sitk.Image, rules: Rules
) -> pd.DataFrame:
    """One row a slice: k, position_mm, head_area_cm2, coverage, the scores of Match, rule, reason.

    Rule "" is a pair. `coverage` is the share of the slice's head (mask > 0) where both images have data; in a
    slice without head the share of the whole slice. Scores are empty where a slice is incomplete or empty.
    """
    arrays = [sitk.GetArrayViewFromImage(image) for image in (mr, ct, mask, coverage)]
    pixel_mm = float(np.sqrt(mr.GetSpacing()[0] * mr.GetSpacing()[1]))
    positions = slice_positions_mm(mr)
    heads = _heads(ct, mr, arrays[2] > 0)
    rows = []
    for k in range(mr.GetSize()[2]):
        mr_k, ct_k, head, covered = arrays[0][k], arrays[1][k], arrays[2][k] > 0, arrays[3][k] > 0
        area_cm2 = float(head.sum() * pixel_mm**2 / 100.0)
        share = float(covered[head].mean() if head.any() else covered.mean())
        rule, reason = _judge(mr_k, ct_k, head, area_cm2, share, bool(covered.any()), rules)
        match = Match(np.nan, np.nan, np.nan)
        if not rule:
            match = match_slices(ct_k, mr_k, (heads[0][k], heads[1][k]), covered, pixel_mm)
            rule, reason = _judge_match(match, rules)
        scores = {name: round(score, 4) for name, score in asdict(match).items()}
        shown = {"k": k, "position_mm": round(positions[k], 3), "head_area_cm2": round(area_cm2, 2)}
        rows.append({**shown, "coverage": round(share, 4), **scores, "rule": rule, "reason": reason})
    table = _keep_apart(pd.DataFrame(rows), rules.min_distance_mm)
    return _keep_quota(table, rules.max_per_patient)


def _heads(ct: sitk.Image, mr: sitk.Image, head: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The head as each image by itself shows it, inside the patient's mask; that mask where none is found."""
    found = []
    for find, image in ((head_mask_of_ct, ct), (head_mask_of_mr, mr)):
        try:
            found.append(find(sitk.GetArrayFromImage(image), spacing_kji_mm(image)))
        except MaskError:
            found.append(head)
    return found[0], found[1]


def _judge_match(match: Match, rules: Rules) -> tuple[str, str]:
    if match.quality >= rules.min_quality:
        return "", ""
    return POOR_MATCH, (
        f"normalized mutual information of CT and MR {match.quality:.3f}, wanted at least {rules.min_quality:g}: "
        "another level, or the registration is off here"
    )


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


def _keep_apart(table: pd.DataFrame, min_distance_mm: float) -> pd.DataFrame:
    """From the first pair on, those that lie closer to the last one kept are near-duplicates."""
    positions_mm, slices = table["position_mm"].to_numpy(), table["k"].to_numpy()
    result, last = table.copy(), -1
    for place in np.flatnonzero(table["rule"].to_numpy() == ""):
        away_mm = positions_mm[place] - positions_mm[last] if last >= 0 else np.inf
        if away_mm >= min_distance_mm - SAME_DISTANCE_MM:
            last = int(place)
            continue
        reason = f"{away_mm:.2f} mm from slice {slices[last]}, wanted at least {min_distance_mm:g} mm"
        result.loc[place, ["rule", "reason"]] = [NEAR_DUPLICATE, reason]
    return result


def keep_exactly(pairs: pd.DataFrame, wanted: Mapping[str, int]) -> pd.DataFrame:
    """The pairs (columns split, patient, k) as they are, with the column `surplus`: true beyond the counts.

    What stays is spread evenly over a split's patients and slices. ValueError when a split has fewer pairs
    than wanted.
    """
    surplus = pd.Series(True, index=pairs.index)
    for name, count in wanted.items():
        rows = pairs[pairs["split"] == name].sort_values(["patient", "k"])
        if len(rows) < count:
            found = ", ".join(f"{(pairs['split'] == split).sum()} {split}" for split in wanted)
            raise DataError(
                f"pair.exact_pairs asks for {count} {name} pairs, there are {found}; change "
                "pair.validation_fraction and pair.test_fraction, or ask for fewer"
            )
        surplus[rows.index[evenly_spaced(len(rows), count)]] = False
    return pairs.assign(surplus=surplus)


def _keep_quota(table: pd.DataFrame, max_per_patient: int) -> pd.DataFrame:
    pairs = np.flatnonzero(table["rule"].to_numpy() == "")
    if not max_per_patient or len(pairs) <= max_per_patient:
        return table
    surplus = np.setdiff1d(pairs, pairs[evenly_spaced(len(pairs), max_per_patient)])
    reason = f"a good pair, but only {max_per_patient} of this patient's {len(pairs)} are used, evenly spaced"
    result = table.copy()
    result.loc[surplus, ["rule", "reason"]] = [BEYOND_QUOTA, reason]
    return result
