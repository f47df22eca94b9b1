"""Pixels and what belongs to them: overlays, curves, audio, icons, lookup tables, unused bits, trailing bytes."""

import struct

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from virtual_hospital.elements import even, one_item, put_raw
from virtual_hospital.hiding.place import PhiValues, Place, family_bytes

_OVERLAY = 0x60040000


def _put_overlay_data(image: Dataset, phi: PhiValues) -> None:
    """Use an overlay plane of 16 x 16 bits; its bytes are the name."""
    for element, vr, value in (
        (0x0010, "US", struct.pack("<H", 16)),
        (0x0011, "US", struct.pack("<H", 16)),
        (0x0040, "CS", b"G"),
        (0x0050, "SS", struct.pack("<hh", 1, 1)),
        (0x0100, "US", struct.pack("<H", 1)),
        (0x0102, "US", struct.pack("<H", 0)),
        (0x3000, "OW", family_bytes(phi).ljust(32, b"\0")),
    ):
        put_raw(image, _OVERLAY + element, vr, value)


def _fill_unused_bits(image: Dataset, phi: PhiValues) -> bool:
    """Write the name into four unused high bits of the pixels, half a byte per pixel; return whether they exist."""
    if image.BitsAllocated != 16 or image.BitsStored > 12:
        return False
    name = np.frombuffer(family_bytes(phi) + b"\0", np.uint8)
    halves = np.stack([name >> 4, name & 15], 1).ravel().astype("<u2")
    stored = np.frombuffer(image.PixelData, "<u2").copy()
    stored[: len(halves)] |= halves << 12
    image.PixelData = stored.tobytes()
    return True


def _put_unused_bits(image: Dataset, phi: PhiValues) -> None:
    """Use the unused bits of the pixels; if there are none (16 bits stored), put the name after the image."""
    if not _fill_unused_bits(image, phi):
        _put_after_image(image, phi)


def _put_embedded_overlay(image: Dataset, phi: PhiValues) -> None:
    """Declare an overlay in the unused bits (PS3.5 8.1.2 of 1998, retired), and name the patient in its description."""
    put_raw(image, _OVERLAY + 0x0100, "US", struct.pack("<H", 16))
    put_raw(image, _OVERLAY + 0x0102, "US", struct.pack("<H", 12))
    put_raw(image, _OVERLAY + 0x0022, "LO", family_bytes(phi))
    _fill_unused_bits(image, phi)


def _put_after_image(image: Dataset, phi: PhiValues) -> None:
    image.PixelData = image.PixelData + even(family_bytes(phi))


def _put_curve(image: Dataset, phi: PhiValues) -> None:
    """Use curve data, retired in 2004, which older consoles still write."""
    put_raw(image, 0x50043000, "OW", family_bytes(phi))


def _put_audio(image: Dataset, phi: PhiValues) -> None:
    put_raw(image, 0x5004200C, "OB", b"RIFF\0\0\0\0WAVELIST" + family_bytes(phi))


def add_icon_pixels(icon: Dataset, rows: int, columns: int, pixels: bytes) -> None:
    """Add 8-bit pixels to an item of IconImageSequence; missing ones are 0."""
    icon.Rows, icon.Columns = rows, columns
    icon.BitsAllocated = icon.BitsStored = 8
    icon.SamplesPerPixel, icon.PhotometricInterpretation = 1, "MONOCHROME2"
    icon.add_new("PixelData", "OB", pixels[: rows * columns].ljust(rows * columns, b"\0"))


def _put_icon_pixels(image: Dataset, phi: PhiValues) -> None:
    icon = Dataset()
    add_icon_pixels(icon, 4, 8, family_bytes(phi))
    image.IconImageSequence = Sequence([icon])


def _put_waveform(image: Dataset, phi: PhiValues) -> None:
    wave = Dataset()
    wave.ChannelDefinitionSequence = one_item(ChannelLabel=phi.family)
    wave.add_new("WaveformData", "OB", phi.patient_id.encode().ljust(16, b"\0"))
    image.WaveformSequence = Sequence([wave])


def _put_color_profile(image: Dataset, phi: PhiValues) -> None:
    """Use the description tag of an ICC profile."""
    put_raw(image, "ICCProfile", "OB", bytes(128) + b"desc\0\0\0\0" + phi.institution.encode())


def _put_palette(image: Dataset, phi: PhiValues) -> None:
    put_raw(image, "RedPaletteColorLookupTableData", "OW", family_bytes(phi))


def _put_lut_data(image: Dataset, phi: PhiValues) -> None:
    table = Dataset()
    table.add_new("LUTData", "OW", family_bytes(phi).ljust(32, b"\0"))
    image.VOILUTSequence = Sequence([table])


def _put_extended_offsets(image: Dataset, phi: PhiValues) -> None:
    """Use the table of frame lengths, which belongs to encapsulated pixels alone."""
    put_raw(image, "ExtendedOffsetTable", "OV", bytes(8))
    put_raw(image, "ExtendedOffsetTableLengths", "OV", family_bytes(phi).ljust(16, b"\0"))


def _put_smallest_value(image: Dataset, phi: PhiValues) -> None:
    put_raw(image, "SmallestImagePixelValue", "OB", family_bytes(phi))


PLACES = (
    Place("overlay_data", "(6004,3000)", _put_overlay_data),
    Place("overlay_in_pixels", "(6004,0102) and bits 12 to 15 of PixelData", _put_embedded_overlay),
    Place("unused_bits", "bits 12 to 15 of PixelData", _put_unused_bits),
    Place("behind_image", "PixelData, behind the last row", _put_after_image),
    Place("curve_data", "(5004,3000)", _put_curve),
    Place("audio_sample_data", "(5004,200C)", _put_audio),
    Place("icon_pixels", "IconImageSequence>PixelData", _put_icon_pixels),
    Place("waveform", "WaveformSequence>ChannelDefinitionSequence>ChannelLabel", _put_waveform),
    Place("color_profile", "ICCProfile", _put_color_profile),
    Place("palette_data", "RedPaletteColorLookupTableData", _put_palette),
    Place("lut_data", "VOILUTSequence>LUTData", _put_lut_data),
    Place("extended_offset_table", "ExtendedOffsetTableLengths", _put_extended_offsets),
    Place("pixel_range_text", "SmallestImagePixelValue as OB", _put_smallest_value),
)
