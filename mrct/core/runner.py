"""Start a stage as `python -m stages.<name>`: with the chosen workers, and with errors that users can read."""

import importlib
import re
import sys
import traceback
from pathlib import Path

from mrct.core.errors import MrctError, RunError
from mrct.core.parallel import running
from mrct.core.params import Execution, load

_ROOT = Path(__file__).resolve().parents[2]
_OURS = ("mrct", "stages", "virtual_hospital")
_FRAME = re.compile(r'^  File "(.+)", line (\d+), in ', re.MULTILINE)

Place = tuple[str, int]


def run_stage(name: str, private: bool = False) -> None:
    """Run `main()` of the module; a `MrctError` shows its message alone and ends with exit status 1.

    Any other error is a defect and keeps its traceback. With `private` its text is not shown, since libraries
    quote header values and file names there: only its class and the places in our code.
    The module is imported by its name, so that workers elsewhere find its functions.
    """
    try:
        execution = load(Execution)
        with running(execution.executor, execution.scheduler):
            importlib.import_module(name).main()
    except Exception as error:
        message = explain(error, private)
        if message is None:
            raise
        print(f"{name}: {message}", file=sys.stderr)
        raise SystemExit(1) from None


def explain(error: Exception, private: bool) -> str | None:
    """Return the text for the user, or None if only the traceback helps."""
    if isinstance(error, MrctError):
        return str(error)
    system = isinstance(error, OSError) and error.errno is not None
    if not private:
        return str(error) if system else None
    where = ", ".join(f"{_shown(path)}:{line}" for path, line in filter(_is_ours, _places(error)))
    text = f" ({error.strerror})" if isinstance(error, OSError) and system else ""
    return f"{type(error).__name__}{text} at {where}; its text is not shown, because it may name a patient"


def unexpected_reason(error: Exception) -> str:
    """Return the reason to list for a series or patient on which the program failed; it holds nothing that a file says.

    Raises:
        RunError: The error is about the run, not about these data.
    """
    if isinstance(error, RunError):
        raise error
    return str(explain(error, private=True))


def _places(error: Exception) -> list[Place]:
    """List files and lines from the outermost call to the error, which may be in a worker process."""
    remote = getattr(error.__cause__, "tb", None)  # concurrent.futures sends a traceback as text
    if isinstance(remote, str):
        return [(path, int(line)) for path, line in _FRAME.findall(remote)]
    return [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)]


def _is_ours(place: Place) -> bool:
    path = Path(place[0])
    return path.is_relative_to(_ROOT) and path.relative_to(_ROOT).parts[0] in _OURS


def _shown(path: str) -> str:
    return Path(path).relative_to(_ROOT).as_posix()
