"""Selection of the slices of a registered CT and MR that make a pair, with rule and reason for every other slice.

Conventions: the images lie on one grid, slices k along the third axis; arrays (k, j, i), slices (H, W).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import SimpleITK as sitk
from scipy import ndimage

from mrct.core.contracts import PairRule, Split
from mrct.core.errors import DataError
from mrct.imaging.masks import MaskError, head_mask_of_ct, head_mask_of_mr
from mrct.imaging.mutual_information import normalized_mutual_information
from mrct.imaging.volumes import read_volume, same_grid, spacing_kji_mm, to_array

#: The key of the section `pair` that relaxes a rule.
KEYS = {
    PairRule.INCOMPLETE: "min_coverage",
    PairRule.EMPTY: "min_head_area_cm2",
    PairRule.POOR_MATCH: "min_quality",
    PairRule.NEAR_DUPLICATE: "min_distance_mm",
    PairRule.BEYOND_QUOTA: "max_per_patient",
}
# positions are rounded to a micrometer
SAME_DISTANCE_MM = 1e-2
CT_WINDOW_HU = (-200.0, 1500.0)
MR_BRIGHT_PERCENTILE = 99.5
EDGE_SIGMA_MM = 1.5


@dataclass(frozen=True)
class RegisteredVolumes:
    """Images of one patient as the stage `register` writes them, all on one grid.

    `ct_filled` and `mr_filled` are above 0 where a slice is missing in the series; None if none is.
    """

    mr: sitk.Image
    ct: sitk.Image
    mask: sitk.Image
    coverage: sitk.Image
    ct_filled: sitk.Image | None = None
    mr_filled: sitk.Image | None = None

    @classmethod
    def read(cls, folder: Path) -> "RegisteredVolumes":
        """Read `folder`, whose name is the patient's pseudonym.

        Raises:
            DataError: The images do not lie on one grid.
            VolumeError: An image cannot be used.
        """
        optional = [name for name in ("ct_filled", "mr_filled") if (folder / f"{name}.nii.gz").is_file()]
        names = ["mr", "ct", "mask", "coverage", *optional]
        images = {name: read_volume(folder / f"{name}.nii.gz") for name in names}
        for name, image in images.items():
            if not same_grid(image, images["mr"]):
                raise DataError(
                    f"{folder.name}: {name} {image.GetSize()} does not lie on the grid of mr "
                    f"{images['mr'].GetSize()}; all images of a patient must; rerun register"
                )
        return cls(**images)

    def lacking(self, k: int) -> tuple[str, ...]:
        """Return which of CT and MR lack an image at slice k, at least in part of it."""
        filled = {"CT": self.ct_filled, "MR": self.mr_filled}
        return tuple(
            name
            for name, image in filled.items()
            if image is not None and sitk.GetArrayViewFromImage(image)[k].any()
        )


@dataclass(frozen=True)
class PairCriteria:
    """Criteria of a pair; 0 switches min_quality, min_distance_mm and max_per_patient off."""

    min_coverage: float
    min_head_area_cm2: float
    max_per_patient: int
    min_quality: float = 0.0
    min_distance_mm: float = 0.0


@dataclass(frozen=True)
class Match:
    """Scores of a match between a CT slice and an MR slice; 1 is perfect, NaN means that nothing can be compared.

    `quality`: normalized mutual information. `mask_overlap`: Dice coefficient of the heads in CT and MR.
    `edge_agreement`: agreement of the gradients' directions.
    """

    quality: float = np.nan
    mask_overlap: float = np.nan
    edge_agreement: float = np.nan


@dataclass(frozen=True)
class AssessedSlice:
    """Slice with its scores; `rule` is None for a pair. The fields are columns of data/pairs/{pairs,rejected}.csv."""

    k: int
    position_mm: float
    head_area_cm2: float
    coverage: float
    quality: float
    mask_overlap: float
    edge_agreement: float
    rule: PairRule | None
    reason: str

    def rejected(self, rule: PairRule, reason: str) -> "AssessedSlice":
        """Return a copy with the rule that rejects the slice, and the reason."""
        return replace(self, rule=rule, reason=reason)


class _Rejection(NamedTuple):
    rule: PairRule
    reason: str


@dataclass(frozen=True)
class _Slice:
    """Arrays (H, W) of one slice; `head` is the patient's mask, `covered` is true where both scans have data.

    `lacking` names the scans that have no image here, at least in part of the slice.
    """

    mr: np.ndarray
    ct: np.ndarray
    head: np.ndarray
    covered: np.ndarray
    pixel_mm: float
    lacking: tuple[str, ...] = ()

    def area_cm2(self) -> float:
        return float(self.head.sum() * self.pixel_mm**2 / 100.0)

    def coverage(self) -> float:
        """Return the covered share of the head, or of the whole slice if it shows no head."""
        return float(self.covered[self.head].mean() if self.head.any() else self.covered.mean())


def assess_slices(images: RegisteredVolumes, criteria: PairCriteria) -> list[AssessedSlice]:
    """Decide for each slice whether it is a pair.

    A slice is first checked for coverage, head and content, then CT is compared with MR. From the slices that are left,
    near-duplicates and those beyond the quota are rejected.

    Args:
        images: The patient's images.
        criteria: Criteria of a pair.

    Returns:
        The slices by k; the scores are NaN where a slice is incomplete or empty.
    """
    mr, ct, mask, coverage = (
        sitk.GetArrayViewFromImage(image) for image in (images.mr, images.ct, images.mask, images.coverage)
    )
    pixel_mm = float(np.sqrt(images.mr.GetSpacing()[0] * images.mr.GetSpacing()[1]))
    in_ct, in_mr = _heads(images)
    found = []
    for k, position_mm in enumerate(slice_positions_mm(images.mr)):
        here = _Slice(mr[k], ct[k], mask[k] > 0, coverage[k] > 0, pixel_mm, images.lacking(k))
        match, rejection = Match(), _rejection(here, criteria)
        if rejection is None:
            match = match_slices(here.ct, here.mr, (in_ct[k], in_mr[k]), here.covered, pixel_mm)
            rejection = _poor_match(match, criteria)
        found.append(
            AssessedSlice(
                k=k,
                position_mm=round(position_mm, 3),
                head_area_cm2=round(here.area_cm2(), 2),
                coverage=round(here.coverage(), 4),
                quality=round(match.quality, 4),
                mask_overlap=round(match.mask_overlap, 4),
                edge_agreement=round(match.edge_agreement, 4),
                rule=rejection.rule if rejection else None,
                reason=rejection.reason if rejection else "",
            )
        )
    return _keep_quota(_keep_apart(found, criteria.min_distance_mm), criteria.max_per_patient)


def _heads(images: RegisteredVolumes) -> tuple[np.ndarray, np.ndarray]:
    """Find the head in CT and MR separately; the patient's mask if none is found."""
    found = []
    for find, image in ((head_mask_of_ct, images.ct), (head_mask_of_mr, images.mr)):
        try:
            found.append(find(to_array(image), spacing_kji_mm(image)))
        except MaskError:
            found.append(to_array(images.mask) > 0)
    return found[0], found[1]


def _rejection(here: _Slice, criteria: PairCriteria) -> _Rejection | None:
    """Reject a slice that a scan does not reach, with too little head or coverage, or without content."""
    if not here.covered.any():
        if here.lacking:
            return _Rejection(PairRule.INCOMPLETE, _no_slice(here))
        missing = "one of the two scans"
        if _has_content(here.mr) != _has_content(here.ct):
            missing = "the CT" if _has_content(here.mr) else "the MR"
        return _Rejection(PairRule.INCOMPLETE, f"{missing} does not reach this level")
    if here.area_cm2() < criteria.min_head_area_cm2:
        return _Rejection(
            PairRule.EMPTY,
            f"head section of {here.area_cm2():.0f} cm², wanted at least {criteria.min_head_area_cm2:g} cm²",
        )
    if here.coverage() < criteria.min_coverage:
        return _Rejection(
            PairRule.INCOMPLETE,
            f"both scans show only {100 * here.coverage():.0f} % of the head here, "
            f"wanted at least {100 * criteria.min_coverage:g} %"
            + (f": in the rest {_no_slice(here)}" if here.lacking else ""),
        )
    for name, image in (("MR", here.mr), ("CT", here.ct)):
        if not _has_content(image[here.head]):
            reason = f"the {name} shows nothing here: one value everywhere in the head, or no number"
            return _Rejection(PairRule.EMPTY, reason)
    return None


def _no_slice(here: _Slice) -> str:
    verb = "has" if len(here.lacking) == 1 else "have"
    return f"the {' and the '.join(here.lacking)} {verb} no slice here: one is missing in the series"


def _has_content(values: np.ndarray) -> bool:
    return bool(values.size and np.isfinite(values).all() and values.min() < values.max())


def _poor_match(match: Match, criteria: PairCriteria) -> _Rejection | None:
    if match.quality >= criteria.min_quality:
        return None
    return _Rejection(
        PairRule.POOR_MATCH,
        f"normalized mutual information of CT and MR {match.quality:.3f}, wanted at least "
        f"{criteria.min_quality:g}: another level, or the registration is off here",
    )


def slice_positions_mm(image: sitk.Image) -> list[float]:
    """Return the position of each slice along the slice normal, mm (for an untilted axial stack: z, up is positive)."""
    normal = np.asarray(image.GetDirection()).reshape(3, 3)[:, 2]
    return [
        float(np.dot(image.TransformIndexToPhysicalPoint((0, 0, k)), normal))
        for k in range(image.GetSize()[2])
    ]


def evenly_spaced(n: int, wanted: int) -> list[int]:
    """Choose `wanted` of the positions 0..n-1, the middles of equal stretches; a single one is the most central."""
    return [(2 * i + 1) * n // (2 * wanted) for i in range(wanted)] if wanted < n else list(range(n))


def _keep_apart(slices: Sequence[AssessedSlice], min_distance_mm: float) -> list[AssessedSlice]:
    """Reject pairs that lie closer than the distance to the last pair kept, starting from the first."""
    result: list[AssessedSlice] = []
    last: AssessedSlice | None = None
    for here in slices:
        if here.rule is None:
            away_mm = here.position_mm - last.position_mm if last else np.inf
            if last and away_mm < min_distance_mm - SAME_DISTANCE_MM:
                reason = f"{away_mm:.2f} mm from slice {last.k}, wanted at least {min_distance_mm:g} mm"
                here = here.rejected(PairRule.NEAR_DUPLICATE, reason)
            else:
                last = here
        result.append(here)
    return result


def _keep_quota(slices: Sequence[AssessedSlice], max_per_patient: int) -> list[AssessedSlice]:
    """Keep at most this many pairs, evenly spaced; 0 keeps all."""
    pairs = [here.k for here in slices if here.rule is None]
    if not max_per_patient or len(pairs) <= max_per_patient:
        return list(slices)
    surplus = set(pairs) - {pairs[place] for place in evenly_spaced(len(pairs), max_per_patient)}
    reason = f"a good pair, but only {max_per_patient} of this patient's {len(pairs)} are used, evenly spaced"
    return [here.rejected(PairRule.BEYOND_QUOTA, reason) if here.k in surplus else here for here in slices]


def surplus_pairs(pairs: pd.DataFrame, wanted: Mapping[Split, int]) -> pd.Index:
    """Choose the pairs beyond the wanted numbers, so that the others spread evenly over patients and slices.

    Args:
        pairs: One row per pair, with the columns split, patient and k.
        wanted: Number of pairs of each split.

    Returns:
        The index of the surplus rows.

    Raises:
        DataError: A split has fewer pairs than wanted.
    """
    kept: list[int] = []
    for name, count in wanted.items():
        rows = pairs[pairs["split"] == name].sort_values(["patient", "k"])
        if len(rows) < count:
            found = ", ".join(f"{(pairs['split'] == split).sum()} {split}" for split in wanted)
            raise DataError(
                f"pair.exact_pairs asks for {count} {name} pairs, there are {found}; change "
                "pair.validation_fraction and pair.test_fraction, or ask for fewer"
            )
        kept += rows.index[evenly_spaced(len(rows), count)].tolist()
    return pairs.index.difference(kept)


def match_slices(
    ct_hu: np.ndarray, mr: np.ndarray, heads: tuple[np.ndarray, np.ndarray], seen: np.ndarray, pixel_mm: float
) -> Match:
    """Compare a CT slice with an MR slice.

    Args:
        ct_hu: (H, W), HU.
        mr: (H, W), any unit.
        heads: (H, W) bool each, the head in the CT and in the MR.
        seen: (H, W) bool, where both scans have data.
        pixel_mm: Pixel spacing.
    """
    inside = (heads[0] | heads[1]) & seen
    if not inside.any():
        return Match()
    ct = np.clip(ct_hu, *CT_WINDOW_HU)
    bright = np.minimum(mr, np.percentile(mr[inside], MR_BRIGHT_PERCENTILE))
    return Match(
        normalized_mutual_information(ct[inside], bright[inside]),
        dice(heads[0] & seen, heads[1] & seen),
        edge_agreement(ct, bright, inside, EDGE_SIGMA_MM / pixel_mm),
    )


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Compute 2 |a and b| / (|a| + |b|) of two masks; NaN for two empty ones."""
    total = np.count_nonzero(one) + np.count_nonzero(other)
    return 2.0 * np.count_nonzero(one & other) / total if total else np.nan


def edge_agreement(ct: np.ndarray, mr: np.ndarray, inside: np.ndarray, sigma_px: float) -> float:
    """Average the squared cosine of the angle between the gradients, weighted by the gradient of the CT.

    This is the normalized gradient field of Haber and Modersitzki 2006, eq. 3.2; its noise parameter is the median
    gradient inside each image. Departure: the weight, since most pixels of a head hold no edge.

    Args:
        ct: (H, W), HU.
        mr: (H, W), any unit.
        inside: (H, W) bool, the pixels that count.
        sigma_px: Standard deviation of the Gaussian whose derivatives are the gradients, pixels.

    Returns:
        A value from 0 to 1; NaN if an image has no edge.
    """
    of_ct, of_mr = (_gradient(image, sigma_px) for image in (ct, mr))
    squares = [(gradient**2).sum(axis=0) for gradient in (of_ct, of_mr)]
    weight = np.sqrt(squares[0])[inside]
    if not weight.any() or not squares[1][inside].any():
        return np.nan
    floors = [float(np.median(np.sqrt(square[inside]))) ** 2 for square in squares]
    along = ((of_ct * of_mr).sum(axis=0) ** 2)[inside]
    norms = [np.maximum(square[inside] + floor, 1e-12) for square, floor in zip(squares, floors, strict=True)]
    return float(np.average(along / (norms[0] * norms[1]), weights=weight))


def _gradient(image: np.ndarray, sigma_px: float) -> np.ndarray:
    smooth = image.astype(np.float64)
    return np.stack([ndimage.gaussian_filter(smooth, sigma_px, order=order) for order in ((1, 0), (0, 1))])
