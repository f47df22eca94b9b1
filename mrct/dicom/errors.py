"""The errors of this package. Their texts hold no header value, so that they can be listed and logged."""

from mrct.core.errors import DataError, RunError


class Unreadable(DataError):  # noqa: N818  # a state of a file, not a defect
    """A file cannot be used.

    Attributes:
        reason: Why it cannot be used, without any header value.
        damaged: True for a broken DICOM image (it is quarantined), False for a file that is not a CT or MR image.
    """

    def __init__(self, reason: str, damaged: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.damaged = damaged

    def __reduce__(self) -> tuple[type["Unreadable"], tuple[str, bool]]:
        return type(self), (self.reason, self.damaged)


class MissingCodec(Unreadable):
    """No installed decoder supports the compression of the pixels."""


class DecoderError(RunError):
    """A compressed stream cannot be decoded, or the process of the decoder died."""


class GeometryError(DataError):
    """The slices of a series do not form a volume; of the header, the text holds numbers alone."""
