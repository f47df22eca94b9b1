"""Decode PixelData of any transfer syntax to native little-endian values.

The header and the sizes are checked before memory is allocated. Compressed frames are decoded in a separate process
(`mrct.dicom.decoder_process`), one per calling process. The decoders are written in C and trust the sizes in a stream:
damaged JPEG-LS made libjpeg loop forever, and a flipped bit in JPEG 2000 made OpenJPEG allocate gigabytes. If the
decoder process dies, DecoderError is raised, and the next image gets a new process.

Convention: stored values are ([frames,] rows, columns), before rescale.
"""

import atexit
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    JPEG2000MC,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    RLELossless,
)

from mrct.dicom import decoder_process
from mrct.dicom.errors import DecoderError, MissingCodec, Unreadable
from mrct.dicom.uids import STANDARD_UID_ROOT

#: Processor time for one frame; one of 512 x 512 takes about 0.03 s.
FRAME_SECONDS = 10.0
_CODEC_PACKAGES = "pylibjpeg, pylibjpeg-libjpeg and pylibjpeg-openjpeg"
_PLAIN = {ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian}
_LOSSY = {JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless}
# either lossy or lossless; the header says which
_PERHAPS_LOSSY = {JPEG2000, JPEG2000MC, HTJ2K}
# an enhanced series of 4,000 frames of 512 x 512; a compressed stream can claim any size
_MAX_DECODED_BYTES = 2 << 30
_DIED = "the decoder died or did not end"
_lock = threading.Lock()
_running: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class PixelFormat:
    """The checked image pixel module of a grayscale image (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    frames: int
    bits_allocated: int
    bits_stored: int
    signed: bool

    @property
    def n_bytes(self) -> int:
        return self.rows * self.columns * self.frames * self.bits_allocated // 8

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(f"<{'i' if self.signed else 'u'}{self.bits_allocated // 8}")


def make_native(dataset: Dataset) -> PixelFormat:
    """Make the PixelData of the dataset native, little endian and complete, for all frames, in place.

    Earlier lossy compression is declared in LossyImageCompression.

    Returns:
        The format of the pixels.

    Raises:
        Unreadable: The image is not grayscale, or its pixels are truncated or cannot be decoded.
        MissingCodec: No decoder is installed for the transfer syntax.
    """
    form, syntax = pixel_format(dataset), _transfer_syntax(dataset)
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = _little_endian(dataset.PixelData, dataset["PixelData"].VR, form)
    elif syntax not in _PLAIN:
        dataset.PixelData = _decompressed(dataset, syntax, form)
        dataset["PixelData"].is_undefined_length = False
        declared = str(dataset.get("LossyImageCompression", "") or "")
        if syntax in _LOSSY or (syntax in _PERHAPS_LOSSY and declared != "00"):
            dataset.LossyImageCompression = "01"
    dataset.ensure_file_meta()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if len(dataset.PixelData) < form.n_bytes:
        raise Unreadable("truncated pixels: fewer bytes than the image's rows and columns need", damaged=True)
    return form


def decode_pixels(dataset: Dataset) -> np.ndarray:
    """Return the stored values ([frames,] rows, columns) before rescale; `make_native` changes the dataset.

    Raises:
        Unreadable: The image is not grayscale, or its pixels are truncated or cannot be decoded.
        MissingCodec: No decoder is installed for the transfer syntax.
    """
    make_native(dataset)
    try:
        return dataset.pixel_array
    except Exception:  # pydicom raises many types; the format is checked, so the data are damaged
        raise Unreadable("pixels cannot be decoded", damaged=True) from None


def pixel_format(dataset: Dataset) -> PixelFormat:
    """Read and check what the header says about the pixels.

    Raises:
        Unreadable: The image is not grayscale, or its attributes contradict each other.
    """
    if "PixelData" not in dataset:
        if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
            raise Unreadable("float pixels: a computed map, not CT or MR as acquired")
        raise Unreadable("the image has no pixels", damaged=True)
    photometric = _photometric(dataset)
    if _whole(dataset, "SamplesPerPixel", 0, 65535, 1) > 1 or "COLOR" in photometric:
        raise Unreadable("a color image, not a measured CT or MR")
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise Unreadable("the image has no usable PhotometricInterpretation", damaged=True)
    allocated = _whole(dataset, "BitsAllocated", 0, 65535)
    if allocated not in (8, 16, 32):
        raise Unreadable("BitsAllocated is none of 8, 16 and 32: no CT or MR image as acquired")
    stored = _whole(dataset, "BitsStored", 1, allocated)
    if _whole(dataset, "HighBit", 0, 65535, stored - 1) != stored - 1:
        raise Unreadable("HighBit is not BitsStored - 1, a retired packing; export the images anew")
    return PixelFormat(
        rows=_whole(dataset, "Rows", 1, 65535),
        columns=_whole(dataset, "Columns", 1, 65535),
        frames=_whole(dataset, "NumberOfFrames", 0, 2**31 - 1, 1) or 1,
        bits_allocated=allocated,
        bits_stored=stored,
        signed=_whole(dataset, "PixelRepresentation", 0, 1) == 1,
    )


def _photometric(dataset: Dataset) -> str:
    return str(dataset.get("PhotometricInterpretation", "") or "").strip(" \0")


def _whole(dataset: Dataset, keyword: str, low: int, high: int, absent: int | None = None) -> int:
    """Return the element as an integer from `low` to `high`; `absent` replaces a missing or empty element."""
    try:
        value = dataset.get(keyword)
        number = absent if value in (None, "") else int(value)
        if number is not None and low <= number <= high:
            return number
    except Exception:  # pydicom converts on access, and fails in many ways on damaged values
        number = None
    raise Unreadable(f"the image has no usable {keyword}", damaged=True)


def _transfer_syntax(dataset: Dataset) -> UID:
    """Return the transfer syntax of the file meta information, or else the encoding that the parser found."""
    # pydicom sets the attribute only on datasets that come from a file
    meta = getattr(dataset, "file_meta", None)
    if meta is not None and meta.get("TransferSyntaxUID"):
        return UID(meta.TransferSyntaxUID)
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRBigEndian if little is False else ExplicitVRLittleEndian


def _little_endian(pixels: bytes, vr: str, form: PixelFormat) -> bytes:
    """Swap the bytes of words (PS3.5 8.2); 8-bit values written as OW are swapped in pairs."""
    unit = 2 if form.bits_allocated == 8 and vr == "OW" else form.bits_allocated // 8
    whole = len(pixels) // unit * unit
    return np.frombuffer(pixels, f"u{unit}", whole // unit).byteswap().tobytes()


def _decompressed(dataset: Dataset, syntax: UID, form: PixelFormat) -> bytes:
    name = syntax.name if syntax.startswith(STANDARD_UID_ROOT) else "an unknown transfer syntax"
    _require_decoder(syntax, name)
    if form.n_bytes > _MAX_DECODED_BYTES:
        raise Unreadable("compressed pixels that claim more than 2 GiB", damaged=True)
    try:
        if syntax == RLELossless:  # pure Python: it cannot hang, and the size of the data limits its memory
            return dataset.pixel_array.astype(form.dtype, casting="same_kind").tobytes()
        return decode_stream(bytes(dataset.PixelData), syntax, form, _photometric(dataset))
    except Exception:  # decoders raise many types on damaged bytes; all mean the same here
        raise Unreadable(f"pixels cannot be decoded ({name})", damaged=True) from None


def _require_decoder(syntax: UID, name: str) -> None:
    try:
        available = get_decoder(syntax).is_available
    except (NotImplementedError, ValueError):
        raise MissingCodec(
            f"no decoder exists for {name}; export the images uncompressed", damaged=True
        ) from None
    if not available:
        raise MissingCodec(f"no decoder for {name}; install {_CODEC_PACKAGES} and run again", damaged=True)


def decode_stream(stream: bytes, syntax: str, form: PixelFormat, photometric: str) -> bytes:
    """Decode encapsulated PixelData in the decoder process, which is started on first use.

    Args:
        stream: PixelData with its fragments (PS3.5 A.4).
        syntax: UID of the transfer syntax.
        form: What the header says about the pixels.
        photometric: PhotometricInterpretation.

    Returns:
        Little-endian stored values, frame after frame.

    Raises:
        DecoderError: The stream is damaged, or the decoder died or took too long.
    """
    # the arguments of pydicom's Decoder.iter_array
    options = {
        "rows": form.rows,
        "columns": form.columns,
        "number_of_frames": form.frames,
        "samples_per_pixel": 1,
        "bits_allocated": form.bits_allocated,
        "bits_stored": form.bits_stored,
        "pixel_representation": int(form.signed),
        "photometric_interpretation": photometric,
    }
    request = {"syntax": syntax, "options": options, "n_bytes": len(stream), "frame_seconds": FRAME_SECONDS}
    with _lock:
        process = _process()
        try:
            _send(process, json.dumps(request).encode() + b"\n" + stream)
            return b"".join([_receive(process) for _ in range(form.frames)])
        except _RefusedError:
            raise
        except BaseException:  # the rest of the answer must not be read as that of the next request
            _stop()
            raise


class _RefusedError(DecoderError):
    """The decoder refused the stream and still runs."""


def _send(process: subprocess.Popen[bytes], content: bytes) -> None:
    assert process.stdin is not None  # a pipe, see _start
    try:
        process.stdin.write(content)
        process.stdin.flush()
    except BrokenPipeError:
        raise DecoderError(_DIED) from None


def _receive(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None  # a pipe, see _start
    line = process.stdout.readline()
    if not line:
        raise DecoderError(_DIED)
    answer = json.loads(line)
    if not answer["ok"]:
        raise _RefusedError("the stream is damaged")
    return process.stdout.read(answer["n_bytes"])


def _stop() -> None:
    """Stop the decoder of this process, if it runs."""
    process = _running.pop(os.getpid(), None)
    if process is not None:
        process.kill()
        process.communicate()


def _process() -> subprocess.Popen[bytes]:
    """Return the decoder of this process, started if needed; a forked process must not share its parent's pipe."""
    process = _running.get(os.getpid())
    if process is None or process.poll() is not None:
        _stop()
        process = _running[os.getpid()] = _start()
        atexit.register(_stop)
    return process


def _start() -> subprocess.Popen[bytes]:
    # threads of a numerical library would count against the memory limit
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        # -P: modules beside the script must not hide the standard library's
        [sys.executable, "-P", decoder_process.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
