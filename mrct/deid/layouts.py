"""Volumes instead of DICOM: the folder layouts of SynthRAD2023 and RIRE, rewritten without free text and swept.

synthrad: <case>/{mr,ct,mask}.{nii.gz,nii,mha}, registered. rire: <case>/ or the folder itself, with ct.* and
mr_<weighting>.*, not registered. Written as images/<patient>/{ct,mr,mask}.nii.gz; the patient's name is
the keyed pseudonym of the case folder's name.
"""

import gzip
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from mrct.core.errors import DataError, NotFoundError
from mrct.deid.pseudonyms import Pseudonyms
from mrct.dicom.read import find_files
from mrct.leaks.output_sweep import LeakError, find_leak
from mrct.leaks.phi_values import PhiValues
from mrct.leaks.value_sources import VOLUME_SUFFIXES, add_header, add_metadata

# sizeof_hdr of NIfTI-1 and its four bytes of extension
_NIFTI_HEADER_BYTES = 352
_WORDS_OF_NIFTI = frozenset({"n+1", "n", "1", "itk"})


@dataclass(frozen=True)
class Case:
    """One patient's files, numbered by their place in the source's sorted listing; paths by role.

    `above`: the names of the folders from the source down to the case.
    """

    name: str
    roles: dict[str, tuple[int, Path]]
    others: tuple[tuple[int, str], ...] = ()
    above: tuple[str, ...] = ()


@dataclass(frozen=True)
class VolumeTask:
    case: Case
    images: Path
    pseudonyms: Pseudonyms


@dataclass
class VolumeResult:
    """Verdicts (source index, action, reason, output); weighting is empty when nothing was written; how many
    values were searched for, in how many bytes."""

    rows: list[tuple[int, str, str, str]] = field(default_factory=list)
    weighting: str = ""
    values: int = 0
    bytes: int = 0


def find_cases(root: Path, layout: str) -> tuple[list[Case], list[Path]]:
    """Cases in order of their names, and the sorted listing of all files; FileNotFoundError without any."""
    files = find_files(root)
    folders = {path.parent for path in files if _role(path, layout)}
    cases = [_case(root, folder, files, layout) for folder in sorted(folders)]
    if not cases:
        wanted = "<case>/{mr,ct,mask}.nii.gz" if layout == "synthrad" else "<case>/{mr_*,ct}.nii.gz"
        raise NotFoundError(
            f"{root}: no volume of the layout {layout}; it should hold {wanted} (or .nii, .mha)"
        )
    return cases, files


def weighting_of(path: Path, layout: str) -> str:
    """t1 or t2 where the file's name says so (rire), else any."""
    words = _stem(path).lower().split("_")
    return next((word for word in words if layout == "rire" and word in ("t1", "t2")), "any")


def _stem(path: Path) -> str:
    return next(
        (path.name[: -len(suffix)] for suffix in VOLUME_SUFFIXES if path.name.lower().endswith(suffix)), ""
    )


def _role(path: Path, layout: str) -> str:
    stem = _stem(path).lower()
    if stem in ("ct", "mask"):
        return stem
    is_mr = stem == "mr" if layout == "synthrad" else stem.startswith("mr_") or stem == "mr"
    return "mr" if is_mr else ""


def _case(root: Path, folder: Path, files: list[Path], layout: str) -> Case:
    roles: dict[str, tuple[int, Path]] = {}
    others = []
    for index, path in enumerate(files):
        role = _role(path, layout) if path.parent == folder else ""
        if role and role not in roles:
            roles[role] = (index, path)
        elif role:
            others.append((index, f"another {role} volume of this case comes first in the listing"))
    # the whole path below is not needed: a case is known by its folder, as in the published sets
    above = (root.resolve().name, *folder.relative_to(root).parts[:-1])
    return Case(folder.resolve().name, roles, tuple(others), above)


def write_case(task: VolumeTask) -> VolumeResult:
    """Writes one patient's volumes, or lists why not; raises LeakError if one still holds a text of the source's."""
    result = VolumeResult([(index, "rejected", reason, "") for index, reason in task.case.others])
    images: dict[str, sitk.Image] = {}
    phi_values = PhiValues()
    for name in (task.case.name, *task.case.above):
        phi_values.add_text(name, "case folder", shortest_part=4)
    problem = _missing(task.case)
    for role, (index, path) in task.case.roles.items():
        try:
            images[role] = _read(path, role, phi_values)
        except (RuntimeError, ValueError) as error:
            problem = problem or f"the {role} of this case cannot be used"
            reason = str(error) if isinstance(error, _UnusableError) else "the volume cannot be read"
            result.rows.append((index, "quarantined", reason, ""))
    if problem:
        listed = {row[0] for row in result.rows}
        rest = [index for index, _ in task.case.roles.values() if index not in listed]
        result.rows += [(index, "rejected", problem, "") for index in rest]
        return result
    patient = task.pseudonyms.patient(task.case.name)
    for role, image in images.items():
        path = task.images / patient / f"{role}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(path), useCompression=True)
        _sweep(path, phi_values, patient)
        result.bytes += path.stat().st_size
        result.rows.append((task.case.roles[role][0], "kept", "", f"images/{patient}/{path.name}"))
    result.values = len(phi_values)
    source = task.case.roles["mr"][1]
    result.weighting = weighting_of(source, "rire")
    return result


class _UnusableError(DataError):
    """A volume that was read but cannot be used; its message holds nothing of the file."""


def _missing(case: Case) -> str:
    absent = [role.upper() for role in ("ct", "mr") if role not in case.roles]
    return f"no {' and no '.join(absent)} volume in this case" if absent else ""


def _read(path: Path, role: str, phi_values: PhiValues) -> sitk.Image:
    """The volume with its geometry and without its metadata, whose texts become phi_values."""
    add_header(path, phi_values)
    source = sitk.ReadImage(str(path))
    add_metadata(source, phi_values)
    if source.GetDimension() != 3 or source.GetNumberOfComponentsPerPixel() != 1:
        raise _UnusableError("not a scalar 3D volume")
    array = sitk.GetArrayFromImage(source)
    if not np.isfinite(array).all():
        raise _UnusableError("the volume holds values that are not finite")
    clean = sitk.GetImageFromArray(
        (array > 0).astype(np.uint8) if role == "mask" else array.astype(np.float32)
    )
    clean.CopyInformation(source)
    return clean


def _sweep(path: Path, phi_values: PhiValues, patient: str) -> None:
    content = path.read_bytes()
    data = gzip.decompress(content)
    names = f"images/{patient}/{path.name}".encode() + b"\0" + content[:32]
    header, voxels = data[:_NIFTI_HEADER_BYTES], data[_NIFTI_HEADER_BYTES:]
    keyword = find_leak(names + header, voxels, phi_values, _WORDS_OF_NIFTI | {patient.lower(), "images"})
    if keyword is not None:
        raise LeakError(f"images/{patient}/{path.name}: the output holds the text of the header's {keyword}")
