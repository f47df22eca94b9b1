"""A process of its own for decoders written in C: what crashes there, or never ends, stops no run.

Asked on stdin, answers on stdout: for each frame one line of JSON, then as many bytes as it says. A frame
that takes more processor time than the request allows ends the process; memory is limited as well, because
decoders believe the sizes that a damaged stream claims. Started as a script; imports nothing of ours.
"""

import json
import logging
import os
import resource
import signal
import sys
import warnings
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from pydicom.pixels import get_decoder

_MOST_MEMORY_BYTES = 4 << 30


def main() -> None:
    """Answers until stdin ends. What the libraries print goes nowhere: it may quote the stream."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = _MOST_MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(_MOST_MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    serve(sys.stdin.buffer, answers)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """An answer a frame; the first that is not "ok", because the decoder refuses the stream, is the last."""
    while line := requests.readline():
        request = json.loads(line)
        stream = requests.read(request["n_bytes"])
        try:
            for frame in _frames(stream, request):
                _answer(answers, True, frame)
        except Exception:  # decoders raise many kinds on damaged streams; each means the same
            _answer(answers, False, b"")


def _answer(answers: BinaryIO, ok: bool, frame: bytes) -> None:
    answers.write(json.dumps({"ok": ok, "n_bytes": len(frame)}).encode() + b"\n" + frame)
    answers.flush()


def _frames(stream: bytes, request: dict[str, Any]) -> Iterator[bytes]:
    """The frames that the header counts, as little-endian values of the size that it allocates."""
    options = request["options"]
    kind = "i" if options["pixel_representation"] else "u"
    wanted = np.dtype(f"<{kind}{options['bits_allocated'] // 8}")
    decoded = get_decoder(request["syntax"]).iter_array(stream, raw=True, **options)
    for _ in range(options["number_of_frames"]):
        # counts the time on the processor, so that a busy machine changes no verdict; its signal ends
        # the process even inside C
        signal.setitimer(signal.ITIMER_PROF, request["frame_seconds"])
        frame, _properties = next(decoded)
        signal.setitimer(signal.ITIMER_PROF, 0)
        yield frame.astype(wanted, casting="same_kind").tobytes()


if __name__ == "__main__":
    main()
