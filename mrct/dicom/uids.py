"""Unique identifiers of DICOM: the SOP classes of CT and MR images, and the identifiers of this implementation."""

import uuid

from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
)

#: SOP classes of CT and MR images with one or several frames (PS3.4 B.5).
IMAGE_CLASSES = frozenset(
    {
        CTImageStorage,
        MRImageStorage,
        EnhancedCTImageStorage,
        EnhancedMRImageStorage,
        LegacyConvertedEnhancedCTImageStorage,
        LegacyConvertedEnhancedMRImageStorage,
    }
)
#: SOP class of a synthetic image by its modality.
SINGLE_FRAME_CLASSES = {"CT": CTImageStorage, "MR": MRImageStorage}
#: Root of the UIDs that the standard itself defines (PS3.6 annex A), such as SOP classes and transfer syntaxes.
STANDARD_UID_ROOT = "1.2.840.10008."
#: ImplementationClassUID and ImplementationVersionName of each file that this program writes (PS3.10 7.1).
IMPLEMENTATION_UID = UID("2.25.310227884916215287061094138264510937291")
IMPLEMENTATION_NAME = "MRCT"


def uid_from_digest(digest: bytes) -> str:
    """Make a UID below the root 2.25 from the first 16 bytes of a digest (PS3.5 B.2); equal digests give equal UIDs."""
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"
