"""Behind, above and beside the pixels: overlays, curves, sound, icons, unused bits, surplus bytes."""

import struct

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from virtual_hospital.hiding.place import Place, Secrets, put_raw

_OVERLAY = 0x60040000


def _put_overlay_data(image: Dataset, secrets: Secrets) -> None:
    """A 16 x 16 bitmap plane whose bits spell the name."""
    for element, vr, value in (
        (0x0010, "US", struct.pack("<H", 16)),
        (0x0011, "US", struct.pack("<H", 16)),
        (0x0040, "CS", b"G"),
        (0x0050, "SS", struct.pack("<hh", 1, 1)),
        (0x0100, "US", struct.pack("<H", 1)),
        (0x0102, "US", struct.pack("<H", 0)),
        (0x3000, "OW", secrets.family.encode().ljust(32, b"\0")),
    ):
        put_raw(image, _OVERLAY + element, vr, value)


def _unused_bits(image: Dataset, secrets: Secrets) -> bool:
    """Whether the pixels have four unused high bits; they then hold the name, half a byte a pixel."""
    if image.BitsAllocated != 16 or image.BitsStored > 12:
        return False
    name = np.frombuffer(secrets.family.encode() + b"\0", np.uint8)
    halves = np.stack([name >> 4, name & 15], 1).ravel().astype("<u2")
    stored = np.frombuffer(image.PixelData, "<u2").copy()
    stored[: len(halves)] |= halves << 12
    image.PixelData = stored.tobytes()
    return True


def _put_unused_bits(image: Dataset, secrets: Secrets) -> None:
    """Without unused bits (16 bits stored) the name lies behind the image, as a second best."""
    if not _unused_bits(image, secrets):
        _put_behind_image(image, secrets)


def _put_embedded_overlay(image: Dataset, secrets: Secrets) -> None:
    """The retired overlay in unused bits (PS3.5 8.1.2 of 1998), declared; its origin spells the name too."""
    put_raw(image, _OVERLAY + 0x0100, "US", struct.pack("<H", 16))
    put_raw(image, _OVERLAY + 0x0102, "US", struct.pack("<H", 12))
    put_raw(image, _OVERLAY + 0x0022, "LO", secrets.family.encode())
    _unused_bits(image, secrets)


def _put_behind_image(image: Dataset, secrets: Secrets) -> None:
    name = secrets.family.encode()
    image.PixelData = image.PixelData + name + b"\0" * (len(name) % 2)


def _put_curve(image: Dataset, secrets: Secrets) -> None:
    """Curve data, retired in 2004, that older consoles still write."""
    put_raw(image, 0x50043000, "OW", secrets.family.encode())


def _put_sound(image: Dataset, secrets: Secrets) -> None:
    put_raw(image, 0x5004200C, "OB", b"RIFF\0\0\0\0WAVELIST" + secrets.family.encode())


def _put_icon_pixels(image: Dataset, secrets: Secrets) -> None:
    icon = Dataset()
    icon.Rows, icon.Columns = 4, 8
    icon.BitsAllocated = icon.BitsStored = 8
    icon.SamplesPerPixel, icon.PhotometricInterpretation = 1, "MONOCHROME2"
    icon.add_new("PixelData", "OB", secrets.family.encode()[:32].ljust(32, b"\0"))
    image.IconImageSequence = Sequence([icon])


def _put_waveform(image: Dataset, secrets: Secrets) -> None:
    channel = Dataset()
    channel.ChannelLabel = secrets.family
    wave = Dataset()
    wave.ChannelDefinitionSequence = Sequence([channel])
    wave.add_new("WaveformData", "OB", secrets.patient_id.encode().ljust(16, b"\0"))
    image.WaveformSequence = Sequence([wave])


def _put_color_profile(image: Dataset, secrets: Secrets) -> None:
    """An ICC profile with its description tag."""
    put_raw(image, "ICCProfile", "OB", bytes(128) + b"desc\0\0\0\0" + secrets.institution.encode())


def _put_palette(image: Dataset, secrets: Secrets) -> None:
    put_raw(image, "RedPaletteColorLookupTableData", "OW", secrets.family.encode())


def _put_lut_data(image: Dataset, secrets: Secrets) -> None:
    table = Dataset()
    table.add_new("LUTData", "OW", secrets.family.encode().ljust(32, b"\0"))
    image.VOILUTSequence = Sequence([table])


def _put_extended_offsets(image: Dataset, secrets: Secrets) -> None:
    """A table of 64-bit offsets, where native pixels have none."""
    put_raw(image, "ExtendedOffsetTable", "OV", bytes(8))
    put_raw(image, "ExtendedOffsetTableLengths", "OV", secrets.family.encode().ljust(16, b"\0"))


def _put_smallest_value(image: Dataset, secrets: Secrets) -> None:
    put_raw(image, "SmallestImagePixelValue", "OB", secrets.family.encode())


PLACES = (
    Place("overlay_data", "(6004,3000)", _put_overlay_data),
    Place("overlay_in_pixels", "(6004,0102) and bits 12 to 15 of PixelData", _put_embedded_overlay),
    Place("unused_bits", "bits 12 to 15 of PixelData", _put_unused_bits),
    Place("behind_image", "PixelData, behind the last row", _put_behind_image),
    Place("curve_data", "(5004,3000)", _put_curve),
    Place("audio_sample_data", "(5004,200C)", _put_sound),
    Place("icon_pixels", "IconImageSequence>PixelData", _put_icon_pixels),
    Place("waveform", "WaveformSequence>ChannelDefinitionSequence>ChannelLabel", _put_waveform),
    Place("color_profile", "ICCProfile", _put_color_profile),
    Place("palette_data", "RedPaletteColorLookupTableData", _put_palette),
    Place("lut_data", "VOILUTSequence>LUTData", _put_lut_data),
    Place("extended_offset_table", "ExtendedOffsetTableLengths", _put_extended_offsets),
    Place("pixel_range_text", "SmallestImagePixelValue as OB", _put_smallest_value),
)
