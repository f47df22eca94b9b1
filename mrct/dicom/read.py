"""Tolerant reading: each file of an export is read as a Dataset, or Unreadable states why it cannot be used."""

import logging
import os
import stat
import warnings
import zlib
from pathlib import Path

import pydicom
from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_file_meta_info
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from mrct.core.errors import NotFoundError
from mrct.dicom.archives import HEAD_BYTES, archive_reason
from mrct.dicom.decoding import make_native
from mrct.dicom.errors import Unreadable
from mrct.dicom.uids import STANDARD_UID_ROOT

# warnings of pydicom quote the values that they are about, and logs must not hold header values
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"pydicom(\..*)?$")
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE

_PREFIX_BYTES = 132
_SYNTAX_TAG = b"\x02\x00\x10\x00UI"
# deflate shrinks data to 1/1032 at best (RFC 1951), and images of a scanner to about 1/3
_MAX_INFLATION = 100
_ALWAYS_INFLATED_BYTES = 64 << 20


def find_files(root: Path) -> list[Path]:
    """List all files below `root`, at any depth.

    Broken links, links to folders, pipes and folders without permission are listed as well; `read_dataset` reports what
    they are. Links to folders are not followed, because they may form a cycle.

    Args:
        root: A folder.

    Returns:
        The paths in sorted order.

    Raises:
        NotFoundError: The folder does not exist, is a file, or is empty.
    """
    if not root.exists():
        raise NotFoundError(
            f"{root}: no such folder; put the export there (any depth, any file names) "
            "or change the key `source`"
        )
    if not root.is_dir():
        raise NotFoundError(
            f"{root}: got a file, expected a folder of images; unpack an archive, or change the key `source`"
        )
    found: list[Path] = []
    closed: list[OSError] = []
    for place, folders, files in os.walk(root, onerror=closed.append):
        found += [Path(place, name) for name in files]
        found += [path for name in folders if (path := Path(place, name)).is_symlink()]
    found += [Path(error.filename) for error in closed]
    if not found:
        raise NotFoundError(
            f"{root}: the folder is empty; it should hold DICOM files of CT and MR (any depth, any "
            "names), or volumes in the layout named by the key `source_layout`"
        )
    return sorted(found)


def read_dataset(path: Path, pixels: bool) -> Dataset:
    """Read one file with its file meta information.

    A file without the prefix DICM is read if its SOP class is defined by the standard.

    Args:
        path: A file of any kind.
        pixels: True to read the pixels too, as complete, native and little-endian values. False to stop before them.

    Raises:
        Unreadable: The file cannot be used, whatever the cause. No other exception is raised.
        MissingCodec: The pixels need a decoder that is not installed.
    """
    try:
        _require_content(path)
        dataset = _parse(path, stop_before_pixels=not pixels)
        if pixels and "PixelData" in dataset:
            make_native(dataset)
        return dataset
    except Unreadable:
        raise
    except PermissionError:
        raise Unreadable("the file may not be read (permissions)") from None
    except Exception:  # pydicom raises many types on damaged bytes; all mean the same here
        raise Unreadable("damaged DICOM: its elements cannot be parsed", damaged=True) from None


def _require_content(path: Path) -> None:
    """Raise Unreadable unless the path is a regular file with content; opening a pipe would block forever."""
    try:
        status = path.stat()
    except PermissionError:
        raise
    except OSError:
        raise Unreadable("a broken link, or a file that is gone") from None
    if stat.S_ISDIR(status.st_mode):
        is_link = path.is_symlink()
        raise Unreadable(
            "a link to a folder; links are not followed: put the folder itself there"
            if is_link
            else "a folder that may not be opened (permissions)"
        )
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable("not a regular file (a pipe, socket or device)")
    if status.st_size == 0:
        raise Unreadable("empty file (0 bytes)")


def _parse(path: Path, stop_before_pixels: bool) -> Dataset:
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    prefixed = head[:_PREFIX_BYTES].endswith(b"DICM")
    if not prefixed and (reason := archive_reason(head)):
        raise Unreadable(reason)
    try:
        source = _inflated(path) if prefixed and _is_deflated(path, head) else path
        dataset = pydicom.dcmread(source, force=not prefixed, stop_before_pixels=stop_before_pixels)
        sop_class = str(dataset.get("SOPClassUID", ""))
    except InvalidDicomError:
        raise Unreadable("not DICOM") from None
    except Unreadable:
        raise
    except Exception:
        if prefixed:
            raise
        raise Unreadable("not DICOM") from None
    if not prefixed and not sop_class.startswith(STANDARD_UID_ROOT):
        raise Unreadable("not DICOM (no DICM prefix and no known SOP class)")
    return dataset


def _is_deflated(path: Path, head: bytes) -> bool:
    """Return whether the data set is deflated; parse the file meta information only if the first bytes do not tell."""
    if _SYNTAX_TAG in head and DeflatedExplicitVRLittleEndian.encode() not in head:
        return False
    return read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian


def _inflated(path: Path) -> DicomBytesIO:
    """Return the same file as explicit VR little endian; pydicom inflates without a limit.

    Raises:
        Unreadable: The data are truncated, or would grow beyond any image: a few kilobytes can inflate to gigabytes.
    """
    meta, content = read_file_meta_info(path), path.read_bytes()
    # the element FileMetaInformationGroupLength itself has 12 bytes (PS3.10 7.1)
    deflated = content[_PREFIX_BYTES + 12 + int(meta.FileMetaInformationGroupLength) :]
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = inflater.decompress(deflated, max(_ALWAYS_INFLATED_BYTES, _MAX_INFLATION * len(deflated)))
    if not inflater.eof:
        raise Unreadable("deflated data that are truncated, or expand beyond any image", damaged=True)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    stream = DicomBytesIO()
    stream.write(content[:_PREFIX_BYTES])
    write_file_meta_info(stream, meta, enforce_standard=False)
    stream.write(data)
    stream.seek(0)
    return stream
