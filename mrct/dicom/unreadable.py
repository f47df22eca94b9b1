"""What a file is called that cannot be used: a reason that may be listed, because it holds no header value."""

from mrct.core.errors import DataError


class Unreadable(DataError):  # noqa: N818  # a state of a file, not a defect
    """A file that cannot be used. `reason` holds no header value, so that it may be listed; `damaged` is
    true for a DICOM image that is broken (it is quarantined), false for what is no image of ours."""

    def __init__(self, reason: str, damaged: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.damaged = damaged

    def __reduce__(self) -> tuple:
        return type(self), (self.reason, self.damaged)


class MissingCodec(Unreadable):
    """The pixels are compressed in a way that no installed decoder knows."""
