"""Compressed frames through a second process, one for each process that asks; it is started on first use.

Decoders in C believe the sizes in a stream: damaged JPEG-LS made libjpeg run for ever, a flipped bit in JPEG
2000 made OpenJPEG fill gigabytes. There a decoder may die; here it becomes CodecError, and the next image
gets a new process.
"""

import atexit
import json
import os
import subprocess
import sys
import threading
from typing import Any

from mrct.core.errors import RunError
from mrct.dicom import codec_process

# a frame of 512 x 512 takes some 0.03 s
FRAME_SECONDS = 10.0
_DIED = "the decoder died or did not end"
_lock = threading.Lock()
_running: dict[int, subprocess.Popen[bytes]] = {}


class CodecError(RunError):
    """The stream cannot be decoded, or its decoder died."""


class _RefusedError(CodecError):
    """The decoder lives and has answered no."""


def decode(stream: bytes, syntax: str, options: dict[str, Any]) -> bytes:
    """Encapsulated PixelData -> little-endian stored values of all frames, frame after frame.

    `options`: the keyword arguments of pydicom's Decoder.iter_array. Raises CodecError.
    """
    request = {"syntax": syntax, "options": options, "n_bytes": len(stream), "frame_seconds": FRAME_SECONDS}
    with _lock:
        process = _process()
        try:
            _send(process, json.dumps(request).encode() + b"\n" + stream)
            return b"".join([_receive(process) for _ in range(options["number_of_frames"])])
        except _RefusedError:
            raise
        except BaseException:  # what is still in the pipe must not answer the next request
            stop()
            raise


def _send(process: subprocess.Popen[bytes], content: bytes) -> None:
    assert process.stdin is not None  # a pipe, see _start
    try:
        process.stdin.write(content)
        process.stdin.flush()
    except BrokenPipeError:
        raise CodecError(_DIED) from None


def _receive(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None  # a pipe, see _start
    line = process.stdout.readline()
    if not line:
        raise CodecError(_DIED)
    answer = json.loads(line)
    if not answer["ok"]:
        raise _RefusedError("the stream is damaged")
    return process.stdout.read(answer["n_bytes"])


def stop() -> None:
    """Ends this process's decoder, if it runs."""
    process = _running.pop(os.getpid(), None)
    if process is not None:
        process.kill()
        process.communicate()


def _process() -> subprocess.Popen[bytes]:
    """The decoder of this very process: a fork must not share its parent's pipe."""
    process = _running.get(os.getpid())
    if process is None or process.poll() is not None:
        stop()
        process = _running[os.getpid()] = _start()
        atexit.register(stop)
    return process


def _start() -> subprocess.Popen[bytes]:
    # threads of a numerical library would count against the memory limit
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        # -P: the names beside the script must not hide the standard library's
        [sys.executable, "-P", codec_process.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
