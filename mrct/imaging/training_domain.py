"""Properties of the images of a training. A model file carries them, and a new patient's image is compared with them.

The stage `select` measures an `Acquisition` of each selected image, the stage `normalize` summarizes those of the
training patients as a `TrainingDomain`, and each model file holds it.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import SimpleITK as sitk
from pydantic import BaseModel, ConfigDict, ValidationError

from mrct.core.errors import DataError

Range = tuple[float, float]
#: The parameters of a selection, by their names in params.yaml.
SelectionParameters = dict[str, str | int | float | tuple[str, ...]]


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True)


Facts = TypeVar("Facts", bound=_Facts)


class Extent(_Facts):
    """Size of a volume in LPS axes, mm: the larger pixel spacing, the slice spacing, the longer side of a slice."""

    pixel_spacing_mm: float
    slice_spacing_mm: float
    field_mm: float

    @classmethod
    def of(cls, volume: sitk.Image | sitk.ImageFileReader) -> "Extent":
        """Measure a volume, or a file of which the header is read."""
        spacing_mm, size = volume.GetSpacing(), volume.GetSize()
        return cls(
            pixel_spacing_mm=round(max(spacing_mm[:2]), 4),
            slice_spacing_mm=round(spacing_mm[2], 4),
            field_mm=round(max(spacing_mm[0] * size[0], spacing_mm[1] * size[1]), 2),
        )

    @classmethod
    def of_file(cls, path: Path) -> "Extent":
        """Measure a volume file by its header."""
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        return cls.of(reader)


class Acquisition(_Facts):
    """One selected image.

    Attributes:
        weighting: As in series.csv; of a volume what the source declares; "" for a CT.
        plane: As in series.csv.
        angle_deg: Angle between the slices and the axial plane; None if unknown.
        extent: Its size.
    """

    weighting: str
    plane: str
    angle_deg: float | None
    extent: Extent


class ImageDomain(_Facts):
    """The images of one modality of the training patients: their kinds, and the least and the greatest of each size.

    Attributes:
        weightings: All weightings, sorted; ("",) for CT.
        planes: All planes, sorted.
        max_angle_deg: Largest angle between slices and the axial plane.
        pixel_spacing_mm: Range of the larger pixel spacing.
        slice_spacing_mm: Range of the distance between neighboring slices.
        field_mm: Range of the longer side of a slice.
    """

    weightings: tuple[str, ...]
    planes: tuple[str, ...]
    max_angle_deg: float
    pixel_spacing_mm: Range
    slice_spacing_mm: Range
    field_mm: Range

    @classmethod
    def of(cls, images: Sequence[Acquisition]) -> "ImageDomain":
        """Summarize one or more images."""
        return cls(
            weightings=tuple(sorted({image.weighting for image in images})),
            planes=tuple(sorted({image.plane for image in images})),
            max_angle_deg=max(image.angle_deg or 0.0 for image in images),
            pixel_spacing_mm=_range(image.extent.pixel_spacing_mm for image in images),
            slice_spacing_mm=_range(image.extent.slice_spacing_mm for image in images),
            field_mm=_range(image.extent.field_mm for image in images),
        )


class TrainingDomain(_Facts):
    """The images of all training patients.

    Attributes:
        selection: The parameters by which `select` chose the series; None for a source of volumes, whose headers hold
            no facts for its rules.
        mr: The MR images.
        ct: The CT images.
    """

    selection: SelectionParameters | None
    mr: ImageDomain
    ct: ImageDomain

    def of_modality(self, modality: str) -> ImageDomain:
        """Return the domain of CT or MR."""
        return self.ct if modality == "CT" else self.mr

    def to_json(self) -> dict[str, Any]:
        """Return plain values for data/normalized or the header of a model file."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, content: Any) -> "TrainingDomain":
        """Read what `to_json` returned.

        Raises:
            DataError: A key is missing or a value is of another kind.
        """
        return _validated(cls, content, "training domain")


class SelectedAcquisitions(_Facts):
    """The content of data/selected/acquisitions.json: `patients` is pseudonym -> modality -> image."""

    selection: SelectionParameters | None
    patients: dict[str, dict[str, Acquisition]]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the file."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, content: Any) -> "SelectedAcquisitions":
        """Read what `to_json` returned.

        Raises:
            DataError: A key is missing or a value is of another kind.
        """
        return _validated(cls, content, "acquisitions")

    def domain(self, patients: Sequence[str]) -> TrainingDomain:
        """Summarize the images of the training patients.

        Raises:
            DataError: A patient is not listed.
        """
        missing = sorted(set(patients) - set(self.patients))
        if missing or not patients:
            raise DataError(
                f"acquisitions: no image is listed of {', '.join(missing) or 'any training patient'}; "
                "run the stage select again (dvc repro select)"
            )
        images: Mapping[str, list[Acquisition]] = {
            name: [self.patients[patient][name] for patient in patients] for name in ("MR", "CT")
        }
        return TrainingDomain(
            selection=self.selection, mr=ImageDomain.of(images["MR"]), ct=ImageDomain.of(images["CT"])
        )


def _range(values: Iterable[float]) -> Range:
    known = sorted(values)
    return known[0], known[-1]


def _validated(kind: type[Facts], content: Any, what: str) -> Facts:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        issue = error.errors()[0]
        raise DataError(
            f"{what}: {'.'.join(map(str, issue['loc']))}: {issue['msg']}; written by another version: "
            "run the pipeline again (dvc repro)"
        ) from None
