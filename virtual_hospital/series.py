"""Series: images on grids with header attributes, and the making of MR series in a session of a patient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from virtual_hospital import mr
from virtual_hospital.anatomy import Head
from virtual_hospital.elements import HeaderValue
from virtual_hospital.geometry import Grid, Poses, rotation_matrix, stack

MR_SCALE = 1400.0  # stored value of a signal of 1, before the scanner's slope
MR_FIELD_MM = 234.0  # width of the field of view

Wanted = Literal["yes", "acceptable", "no"]


@dataclass(frozen=True)
class Series:
    """Images on one or more grids, and the header attributes of their series.

    Attributes:
        kind: "clean" for the wanted series, else the kind of unwanted series.
        modality: CT, MR or PT.
        description: SeriesDescription.
        protocol: ProtocolName.
        values: Images of each grid, (D, H, W); CT in HU, MR in stored values before the scanner's slope.
        grids: The grids; a localizer has one for each plane.
        image_type: ImageType.
        attributes: Further attributes of all images.
        grid_attributes: Additional attributes of the images of each grid; empty if no grid has any.
        wanted: Whether a correct selection uses the series; "acceptable" means as good as the clean one.
        wanted_te_ms: Echo time to which `wanted` applies, where the series has several echoes.
        form: Storage of the images: one file per slice, screen captures, or one multi-frame file.
        days_later: Days since the first examination of the modality; if not 0, the series belongs to a separate study.
    """

    kind: str
    modality: str
    description: str
    protocol: str
    values: tuple[np.ndarray, ...]
    grids: tuple[Grid, ...]
    image_type: tuple[str, ...]
    attributes: dict[str, HeaderValue] = field(default_factory=dict)
    grid_attributes: tuple[Mapping[str, HeaderValue], ...] = ()
    wanted: Wanted = "no"
    wanted_te_ms: int | None = None
    form: Literal["slices", "capture", "multiframe"] = "slices"
    days_later: int = 0


@dataclass(frozen=True)
class Session:
    """A patient in the scanners: the data from which all series except the clean CT are made.

    Attributes:
        head: The head.
        poses: Where the head lies in each scanner.
        clean_ct: The wanted CT.
        size: Rows and columns of the wanted series.
        mr_vendor: siemens, philips or ge.
        ct_vendor: siemens or ge.
        rng: Draws noise and bias; each new series advances it.
    """

    head: Head
    poses: Poses
    clean_ct: Series
    size: int
    mr_vendor: str
    ct_vendor: str
    rng: np.random.Generator


def joined(parts: Sequence[Series]) -> Series:
    """Put the images of several series into one that has the header attributes of the first."""
    values = tuple(array for part in parts for array in part.values)
    return replace(parts[0], values=values, grids=tuple(grid for part in parts for grid in part.grids))


def axial_mr_grid(
    head_to_mr: np.ndarray, size: int, rng: np.random.Generator, count: int | None = None
) -> Grid:
    """Draw an axial grid, tilted by a few degrees, 5 mm thick with a gap; 20 to 24 slices unless `count` is given."""
    spacing = float(rng.choice((5.0, 5.5, 5.5, 6.0)))
    slices = int(rng.integers(20, 25)) if count is None else count
    center = (head_to_mr @ (0.0, -2.0, rng.uniform(4, 18), 1.0))[:3]
    rotation = rotation_matrix((rng.uniform(-7, 7), 0.0, 0.0))
    return stack(rotation, center, (slices, size, size), MR_FIELD_MM / size, spacing, 5.0)


def spin_echo(
    session: Session,
    kind: str,
    names: tuple[str, str],
    grids: tuple[Grid, ...],
    sequence: mr.Sequence,
    attributes: Mapping[str, HeaderValue | None] | None = None,
) -> Series:
    """Make a spin-echo series.

    Args:
        session: The patient in the scanner.
        kind: Kind of the series.
        names: SeriesDescription and ProtocolName.
        grids: The slices; small pixels are noisier.
        sequence: The timing.
        attributes: Further header attributes; None removes one that follows from the timing.
    """
    noise = 0.011 if grids[0].pixel_spacing_mm < 1.5 else 0.008
    signal = mr.head_signal(session.head, sequence)
    to_mr, rng = session.poses.head_to_mr, session.rng
    values = tuple(MR_SCALE * mr.acquire(signal, grid, to_mr, noise, rng) for grid in grids)
    found = {**timing_attributes(sequence), **(attributes or {})}
    kept = {keyword: value for keyword, value in found.items() if value is not None}
    return Series(kind, "MR", *names, values, grids, ("ORIGINAL", "PRIMARY", "M", "SE"), kept)


def timing_attributes(sequence: mr.Sequence) -> dict[str, HeaderValue]:
    """Return the header attributes of a sequence, as those of a 2D spin echo."""
    timing: dict[str, HeaderValue] = {
        "RepetitionTime": f"{sequence.tr_ms:g}",
        "EchoTime": f"{sequence.te_ms:g}",
        "EchoTrainLength": str(sequence.echo_train_length),
        "ScanningSequence": "SE" if sequence.ti_ms is None else ["SE", "IR"],
        "SequenceVariant": "SK" if sequence.echo_train_length > 1 else "NONE",
        "FlipAngle": "90",
        "MRAcquisitionType": "2D",
    }
    if sequence.ti_ms is not None:
        timing["InversionTime"] = f"{sequence.ti_ms:.0f}"
    return timing
