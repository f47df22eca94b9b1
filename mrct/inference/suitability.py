"""Comparison of a new patient's image with those on which a model was trained, as its file states them.

Another weighting, plane, readout or contrast agent changes what the intensities mean, and the network turns them into
wrong tissue: the dark CSF of a T1 becomes as dense as blood. The rules of `mrct.selection` that chose the training
series refuse such a series.

Sizes differ by degrees. A size outside the range of the training is remarked; it is refused where it is more than twice
the greatest or less than half the least. Finer pixels and a larger field do not count: the pixels are smoothed to the
network's own, and the field is cropped to the head, so that the network sees both as in the training.
"""

from dataclasses import dataclass, fields

from pydantic import TypeAdapter, ValidationError

from mrct.core.errors import DataError
from mrct.dicom.series import Series
from mrct.dicom.stack import plane
from mrct.imaging.training_domain import Extent, ImageDomain, SelectionParameters, TrainingDomain
from mrct.inference.model import Model
from mrct.selection.acquisition import weighting
from mrct.selection.choose import CRITERIA
from mrct.selection.parameters import REJECTABLE, RejectRule, Rules

#: Smaller differences come from rounding the same prescription, as in mrct/selection/choose.py.
SAME = 1.1
#: A size beyond this multiple of the range of the training is refused: a convention, not a measurement.
FAR = 2.0
# what a source of volumes does not state beside its weighting, and what a model without a statement leaves open
_NOT_IN_VOLUMES: tuple[RejectRule, ...] = ("fat_suppressed", "contrast", "tse")
_WEIGHTINGS: tuple[RejectRule, ...] = ("flair", "t1", "pd")


@dataclass(frozen=True)
class Departures:
    """Differences of an image from those of the training: `severe` ones refuse it, `slight` ones are remarks."""

    severe: tuple[str, ...] = ()
    slight: tuple[str, ...] = ()


def rules_of(domain: TrainingDomain | None) -> Rules:
    """Return the rules by which the training series were chosen, as far as the model file states them.

    Of a source of volumes only the declared weighting is known, and of an older file nothing. The rules about what is
    not known are not applied.

    Raises:
        DataError: The file holds a parameter that this version does not know.
    """
    if domain is None:
        return Rules(weighting="any", accept=_NOT_IN_VOLUMES + _WEIGHTINGS)
    if domain.selection is not None:
        return _rules_from(domain.selection)
    declared = domain.mr.weightings[0]
    if declared in ("t1", "t2"):
        return Rules(weighting=declared, accept=_NOT_IN_VOLUMES)
    return Rules(weighting="any", accept=_NOT_IN_VOLUMES + _WEIGHTINGS)


def _rules_from(selection: SelectionParameters) -> Rules:
    try:
        rules = TypeAdapter(Rules).validate_python(selection)
        unknown = {*selection} - {field.name for field in fields(Rules)}
        unknown |= ({*rules.reject} - {*REJECTABLE}) | ({*rules.prefer} - {*CRITERIA})
    except ValidationError as error:
        unknown = {str(error.errors()[0]["loc"][0])}
    if unknown:
        raise DataError(
            f"model file: its selection has {', '.join(sorted(unknown))}, which this version does not know; use the "
            "version that trained it, or train it again"
        )
    return rules


def states_kind(model: Model) -> bool:
    """Return whether the file states enough to choose between series of the modality."""
    if model.domain is None:
        return False
    return model.source == "CT" or not {"unknown", "any"} & set(model.domain.mr.weightings)


def describe(model: Model) -> str:
    """Return what the model takes, in one line, such as "T2 MR, axial, slices 4 to 6 mm apart, ..."."""
    if model.domain is None:
        return f"{model.source}, and its file does not state of which kind"
    images = model.domain.of_modality(model.source)
    return (
        f"{expected_kind(model)}, {'/'.join(images.planes)}, "
        f"slices {_span(images.slice_spacing_mm)} mm apart, pixels of {_span(images.pixel_spacing_mm)} mm, "
        f"a field of {_span(images.field_mm)} mm"
    )


def remarks(model: Model) -> tuple[str, ...]:
    """Return what the model file leaves open, for the user."""
    if model.domain is None:
        return (
            "the model file does not state on which images it was trained: kind and sizes are not compared",
        )
    if model.domain.selection is None:
        unknown = "readout, contrast agent and fat suppression"
        return (f"the model was trained on volumes, which do not state {unknown}: these are not compared",)
    return ()


def expected_kind(model: Model) -> str:
    """Return weighting and modality of the images that the model takes, such as "T2 MR"."""
    if model.domain is None or not states_kind(model):
        return model.source
    weightings = model.domain.of_modality(model.source).weightings
    return f"{'/'.join(kind.upper() for kind in weightings)} {model.source}".strip()


def compare_kind(series: Series, model: Model) -> str:
    """Return how weighting or plane differ from those of the training, which the rules may leave open, or ""."""
    if model.domain is None or not states_kind(model) or series.modality != model.source:
        return ""
    images = model.domain.of_modality(model.source)
    kind, (name, _) = weighting(series.first), plane(series)
    if kind not in images.weightings:
        return f"{kind} by its times, the training has {', '.join(images.weightings)} alone"
    if name not in images.planes:
        return f"{name} slices, the training has {', '.join(images.planes)} ones alone"
    return ""


def compare_extent(extent: Extent, model: Model) -> Departures:
    """Compare the sizes of a volume with those of the training images."""
    if model.domain is None:
        return Departures()
    images = model.domain.of_modality(model.source)
    found = [*_slices(extent, images), *_pixels(extent, images, model.normalization.pixel_spacing_mm)]
    found += _field(extent, images)
    return Departures(
        tuple(text for factor, text in found if factor > FAR),
        tuple(text for factor, text in found if SAME < factor <= FAR),
    )


def _slices(extent: Extent, images: ImageDomain) -> list[tuple[float, str]]:
    own, (low, high) = extent.slice_spacing_mm, images.slice_spacing_mm
    text = f"slices {own:.3g} mm apart, {_span((low, high))} mm in the training"
    return [(max(own / high, low / own), text)]


def _pixels(extent: Extent, images: ImageDomain, network_mm: float) -> list[tuple[float, str]]:
    own, (low, high) = extent.pixel_spacing_mm, images.pixel_spacing_mm
    text = f"pixels of {own:.3g} mm, {_span((low, high))} mm in the training"
    return [(max(own, network_mm) / max(high, network_mm), text)]


def _field(extent: Extent, images: ImageDomain) -> list[tuple[float, str]]:
    own, (low, high) = extent.field_mm, images.field_mm
    text = f"a field of {own:.0f} mm, {_span((low, high))} mm in the training"
    return [(low / own, text)]


def _span(limits: tuple[float, float]) -> str:
    low, high = (f"{value:.3g}" for value in limits)
    return low if low == high else f"{low} to {high}"
