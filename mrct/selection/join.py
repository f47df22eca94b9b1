"""A head CT that was sent in several series, such as base and vertex, put together.

Two series are joined if nothing but their levels tells them apart: study, frame of reference, date, device, image type,
kernel, voltage, contrast agent, orientation, matrix and pixels are the same, and one begins where the other ends. What
overlaps by more than a slice may be a second scan, and what leaves out more than a slice is no longer one stack:
neither is joined. A series that covers the head alone is left as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mrct.dicom.errors import GeometryError
from mrct.dicom.series import Instance, Series
from mrct.dicom.stack import Stack, orientations, stack

#: Height from the skull base to the vertex; anything below is neck.
WHOLE_HEAD_MM = 150.0
#: The placement of the block decides about up to two slices at the ends.
COVERAGE_TOLERANCE_MM = 10.0
# images that are nearer than this share of a slice show the same slice
_SAME_SLICE = 0.5


@dataclass(frozen=True)
class Block:
    """A series, the even slices found in it, and the series from which it was joined."""

    series: Series
    stack: Stack
    parts: tuple[Series, ...] = ()

    @property
    def height_mm(self) -> float:
        return self.stack.n_slices * self.stack.slice_spacing_mm

    @property
    def is_part(self) -> bool:
        """Return whether this is a CT of less than a head."""
        return self.series.modality == "CT" and self.height_mm < WHOLE_HEAD_MM - COVERAGE_TOLERANCE_MM


def find_joins(blocks: Sequence[Block]) -> list[Block]:
    """Return all chains of CT series that continue each other upwards, none of which covers the head alone."""
    single = [one for one in blocks if one.is_part]
    joins: list[Block] = []
    lower = single
    while lower:
        pairs = ((below, above) for below in lower if below.is_part for above in single)
        lower = [whole for below, above in pairs if (whole := _join(below, above)) is not None]
        joins += lower
    return joins


def _join(lower: Block, upper: Block) -> Block | None:
    """Join two blocks if `upper` begins where `lower` ends along their normal, and if that makes a higher stack."""
    together = (*lower.stack.instances, *upper.stack.instances)
    same_scan = len(set(map(_acquisition, together))) == 1 and together[0].frame_of_reference
    if not same_scan or len(orientations(Series("", "", together))) > 1:
        return None
    below, above = (_levels(one.stack, lower.stack.normal) for one in (lower, upper))
    spacings_mm = lower.stack.slice_spacing_mm, upper.stack.slice_spacing_mm
    gap_mm = (above.min() - spacings_mm[1] / 2) - (below.max() + spacings_mm[0] / 2)
    if abs(gap_mm) > max(spacings_mm) or above.max() <= below.max() or below.min() >= above.min():
        return None
    fresh = above - below.max() > _SAME_SLICE * min(spacings_mm)
    parts = (*(lower.parts or [lower.series]), upper.series)
    names = [part.name for part in parts]
    notes = [f"joined from the series {' and '.join(names)}, which continue each other"]
    if repeated := int((~fresh).sum()):
        notes.append(f"{repeated} of their slices overlap and are used once")
    notes += [note for part in parts for note in part.notes]
    images = [image for image, new in zip(upper.stack.instances, fresh, strict=True) if new]
    series = Series(lower.series.patient, "+".join(names), (*lower.stack.instances, *images), tuple(notes))
    try:
        whole = Block(series, stack(series), parts)
    except GeometryError:
        return None
    return whole if whole.height_mm > max(lower.height_mm, upper.height_mm) else None


def _acquisition(image: Instance) -> tuple[object, ...]:
    """Return what all images of one scan have in common."""
    device = image.vendor, image.model
    made = image.image_type[:3], image.kernel, image.tube_kv, image.contrast_agent
    return image.study_uid, image.frame_of_reference, image.acquired, *device, *made


def _levels(stack: Stack, normal: np.ndarray) -> np.ndarray:
    return np.array([image.position for image in stack.instances], float) @ normal
