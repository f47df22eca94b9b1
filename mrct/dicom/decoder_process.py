"""Decode compressed frames in a separate process, so that a decoder that crashes or hangs does not stop the run.

The decoders are libraries in C. This script reads requests from stdin. For each frame it writes one line of JSON and
then as many bytes as that line says. A frame that takes more processor time than the request allows ends the process.
Memory is limited as well, because decoders trust the sizes in a stream, even in a damaged one.

`mrct.dicom.decoding` starts the script. It imports nothing from mrct.
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
from pydicom.pixels.decoders.base import get_decoder

_MAX_MEMORY_BYTES = 4 << 30


def main() -> None:
    """Answer requests until stdin ends; the output of the libraries is discarded, because it may quote the stream."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = _MAX_MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(_MAX_MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    serve(sys.stdin.buffer, answers)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Write one answer per frame; the first frame that the decoder refuses ends the request."""
    while line := requests.readline():
        request = json.loads(line)
        stream = requests.read(request["n_bytes"])
        try:
            for frame in _frames(stream, request):
                _answer(answers, True, frame)
        except Exception:  # decoders raise many types on damaged streams; all mean the same
            _answer(answers, False, b"")


def _answer(answers: BinaryIO, ok: bool, frame: bytes) -> None:
    answers.write(json.dumps({"ok": ok, "n_bytes": len(frame)}).encode() + b"\n" + frame)
    answers.flush()


def _frames(stream: bytes, request: dict[str, Any]) -> Iterator[bytes]:
    """Yield the frames that the header declares, as little-endian values of the size that the header allocates."""
    options = request["options"]
    kind = "i" if options["pixel_representation"] else "u"
    wanted = np.dtype(f"<{kind}{options['bits_allocated'] // 8}")
    decoded = get_decoder(request["syntax"]).iter_array(stream, raw=True, **options)
    for _ in range(options["number_of_frames"]):
        # the timer counts processor time, so that a busy machine does not change a result; its signal ends the process
        # even inside C code
        signal.setitimer(signal.ITIMER_PROF, request["frame_seconds"])
        frame, _properties = next(decoded)
        signal.setitimer(signal.ITIMER_PROF, 0)
        yield frame.astype(wanted, casting="same_kind").tobytes()


if __name__ == "__main__":
    main()
