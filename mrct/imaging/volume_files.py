"""Read a volume of any origin: whole, finite and on an orthogonal grid, or an error with the reason.

Every byte of a file is read and counted, and compressed data are checked to their end. Nothing is written to stderr:
the warnings of other readers quote the path, which may hold a name.
"""

from pathlib import Path

import SimpleITK as sitk

from mrct.core.files import volume_suffix
from mrct.imaging.metaimage import read_metaimage
from mrct.imaging.nifti import read_nifti
from mrct.imaging.stored_volume import VolumeError


def read_volume_file(path: Path) -> sitk.Image:
    """Read NIfTI or MetaImage as float32, on its own axes and without its metadata.

    Args:
        path: A 3D volume, or one of more dimensions with size 1.

    Raises:
        VolumeError: The file cannot be used, whatever the cause. No other exception is raised.
    """
    try:
        if not path.is_file():
            raise VolumeError("no file, or a broken link: put the file itself there")
        if path.stat().st_size == 0:
            raise VolumeError("empty file (0 bytes): copy or download it again")
        is_metaimage = volume_suffix(path) in (".mha", ".mhd")
        return (read_metaimage if is_metaimage else read_nifti)(path).image()
    except VolumeError:
        raise
    except OSError:
        raise VolumeError("the file cannot be opened (permissions, or a failing disk)") from None
    except MemoryError:
        raise VolumeError("too large for the memory of this machine: resample it") from None
    except Exception:  # damaged headers fail in many ways
        raise VolumeError("its header is damaged: export it again") from None
