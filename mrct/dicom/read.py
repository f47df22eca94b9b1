"""Tolerant reading: any file of an export as a Dataset, or Unreadable with a reason that may be listed."""

import logging
import warnings
from pathlib import Path

import pydicom
from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

# pydicom's messages quote the odd value itself, and logs must hold no header value
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"pydicom(\..*)?$")
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE

# PS3.6 annex A: every storage SOP class, and the media directory, begins like this
_STANDARD_UID_ROOT = "1.2.840.10008."
_CODEC_PACKAGES = "pylibjpeg, pylibjpeg-libjpeg and pylibjpeg-openjpeg"
_NATIVE = {
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
}


class Unreadable(ValueError):  # noqa: N818  # a state of a file, not a defect
    """A file that cannot be used. `reason` holds no header value, so that it may be listed; `damaged` is
    true for a DICOM image that is broken (it is quarantined), false for what is no DICOM (it is skipped)."""

    def __init__(self, reason: str, damaged: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.damaged = damaged

    def __reduce__(self) -> tuple:
        return type(self), (self.reason, self.damaged)


class MissingCodec(Unreadable):
    """The pixels are compressed in a way that no installed decoder knows."""


def find_files(root: Path) -> list[Path]:
    """Every regular file under `root` at any depth, sorted; broken links are skipped, no file is an error."""
    if not root.exists():
        raise FileNotFoundError(
            f"{root}: no such folder; put the export there (any depth, any file names) "
            "or change the key `source`"
        )
    if not root.is_dir():
        raise NotADirectoryError(f"{root}: got a file, expected a folder of images; change the key `source`")
    files = sorted(path for path in root.rglob("*") if path.is_file())
    if not files:
        raise FileNotFoundError(
            f"{root}: the folder is empty; it should hold DICOM files of CT and MR (any depth, any "
            "names), or volumes in the layout named by the key `source_layout`"
        )
    return files


def read_dataset(path: Path, pixels: bool) -> Dataset:
    """The file's dataset with its file meta; with `pixels` they are decoded once to prove them whole.

    Without `pixels` reading stops before PixelData. Files without the DICM prefix are read when their SOP
    class is a standard one. Raises Unreadable (or MissingCodec), never anything else for a bad file.
    """
    try:
        if path.stat().st_size == 0:
            raise Unreadable("empty file (0 bytes)")
        dataset = _parse(path, stop_before_pixels=not pixels)
    except Unreadable:
        raise
    except PermissionError:
        raise Unreadable("the file may not be read (permissions)") from None
    except Exception:  # pydicom raises many kinds on damaged bytes; each means the same here
        raise Unreadable("damaged DICOM: its elements cannot be parsed", damaged=True) from None
    if pixels and "PixelData" in dataset:
        check_pixels(dataset)
    return dataset


def _parse(path: Path, stop_before_pixels: bool) -> Dataset:
    prefixed = _has_prefix(path)
    try:
        dataset = pydicom.dcmread(path, force=not prefixed, stop_before_pixels=stop_before_pixels)
        sop_class = str(dataset.get("SOPClassUID", ""))
    except InvalidDicomError:
        raise Unreadable("not DICOM") from None
    except Exception:
        if prefixed:
            raise
        raise Unreadable("not DICOM") from None
    if not prefixed and not sop_class.startswith(_STANDARD_UID_ROOT):
        raise Unreadable("not DICOM (no DICM prefix and no known SOP class)")
    return dataset


def _has_prefix(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def transfer_syntax(dataset: Dataset) -> UID:
    """The dataset's transfer syntax; without file meta it is what the parser found."""
    meta = getattr(dataset, "file_meta", None)
    if meta is not None and meta.get("TransferSyntaxUID"):
        return UID(meta.TransferSyntaxUID)
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRBigEndian if little is False else ExplicitVRLittleEndian


def check_pixels(dataset: Dataset) -> None:
    """Raises Unreadable when PixelData is shorter than its header says or cannot be decoded."""
    syntax = transfer_syntax(dataset)
    if syntax in _NATIVE:
        if len(dataset.PixelData) < expected_pixel_bytes(dataset):
            raise Unreadable(
                "truncated pixels: fewer bytes than the image's rows and columns need", damaged=True
            )
        return
    decode_pixels(dataset)


def expected_pixel_bytes(dataset: Dataset) -> int:
    """Bytes of native PixelData by rows, columns, frames, samples and BitsAllocated (PS3.5, 8.1.1)."""
    try:
        count = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("SamplesPerPixel", 1) or 1)
        count *= int(dataset.get("NumberOfFrames", 1) or 1)
        return (count * int(dataset.BitsAllocated) + 7) // 8
    except (AttributeError, TypeError, ValueError):
        raise Unreadable("the image has no Rows, Columns or BitsAllocated", damaged=True) from None


def decode_pixels(dataset: Dataset):  # type: ignore[no-untyped-def]  # numpy array, whatever its dtype
    """Stored values ([frames,] rows, columns), before rescale; Unreadable names what is missing."""
    syntax = transfer_syntax(dataset)
    if not getattr(dataset, "file_meta", None) or not dataset.file_meta.get("TransferSyntaxUID"):
        dataset.ensure_file_meta()
        dataset.file_meta.TransferSyntaxUID = syntax
    try:
        return dataset.pixel_array
    except Exception as error:  # decoders raise many kinds on damaged bytes; each means the same here
        raise _explained(error, syntax) from None


def _explained(error: Exception, syntax: UID) -> Unreadable:
    name = syntax.name if syntax.startswith(_STANDARD_UID_ROOT) else "an unknown transfer syntax"
    if isinstance(error, ImportError) or "missing dependencies" in str(error):
        return MissingCodec(f"no decoder for {name}; install {_CODEC_PACKAGES} and run again", damaged=True)
    if isinstance(error, NotImplementedError) or not syntax.is_transfer_syntax:
        return MissingCodec(f"no decoder exists for {name}; export the images uncompressed", damaged=True)
    return Unreadable(f"pixels cannot be decoded ({name})", damaged=True)
