"""Properties of the images of an invented training: routine T2 without TSE, and plain CT of the head."""

from dataclasses import asdict
from typing import Any

from mrct.imaging.training_domain import (
    Acquisition,
    Extent,
    ImageDomain,
    SelectedAcquisitions,
    TrainingDomain,
)
from mrct.selection.parameters import Rules


def acquisition(modality: str, weighting: str = "t2", **extent: float) -> Acquisition:
    """Make a selected image of 1 mm pixels, 5 mm slices and a field of 220 mm, except for `extent`."""
    sizes = {"pixel_spacing_mm": 1.0, "slice_spacing_mm": 5.0, "field_mm": 220.0} | extent
    kind = weighting if modality == "MR" else ""
    return Acquisition(weighting=kind, plane="axial", angle_deg=3.0, extent=Extent(**sizes))


def domain(*, weighting: str = "t2", rules: Rules | None = None, **extent: float) -> TrainingDomain:
    """Make the domain of one training patient; `rules` None is a source of volumes."""
    images = {name: ImageDomain.of([acquisition(name, weighting, **extent)]) for name in ("MR", "CT")}
    selection = None if rules is None else asdict(rules)
    return TrainingDomain(selection=selection, mr=images["MR"], ct=images["CT"])


def selected_acquisitions(patients: list[str]) -> dict[str, Any]:
    """Make the content of data/selected/acquisitions.json for equal patients."""
    images = {name: acquisition(name) for name in ("MR", "CT")}
    listed = dict.fromkeys(patients, images)
    return SelectedAcquisitions(selection=asdict(Rules()), patients=listed).to_json()


DOMAIN = domain(rules=Rules())
