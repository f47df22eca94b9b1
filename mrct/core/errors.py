"""Errors whose text is written for the user."""


class MrctError(Exception):
    """Base of every error that this program raises on purpose.

    Its text says what is wrong, what was found, what was expected and what to do next. It names a file, a series or a
    pseudonym and never quotes a header value, so that it may be shown and logged. Any other exception is a defect:
    its text comes from a library and may quote a patient's data.
    """


class DataError(MrctError, ValueError):
    """Error for data or parameters that cannot be used as they are."""


class NotFoundError(MrctError, FileNotFoundError):
    """Error for a required file or folder that is missing."""


class OutputExistsError(MrctError, FileExistsError):
    """Error for an output that would overwrite something."""


class RunError(MrctError, RuntimeError):
    """Error that stops a run for a reason outside its data."""


class WriteError(MrctError, OSError):
    """Error for a file that could not be written."""
