import numpy as np
import pytest

from mrct.registration.residual import outline_distance_mm

PIXEL = (2.0, 1.0)


def disk(shift_j=0, shift_i=0, radius_mm=30.0, slices=2):
    j, i = np.indices((60, 120))
    inside = np.hypot((j - 30 - shift_j) * 2.0, i - 60 - shift_i) <= radius_mm
    return np.repeat(inside[None], slices, axis=0)


EVERYWHERE = np.ones((2, 60, 120), bool)


def test_equal_outlines_have_no_distance():
    assert outline_distance_mm(disk(), disk(), EVERYWHERE, PIXEL) == 0.0


@pytest.mark.parametrize("shift", [{"shift_j": 3}, {"shift_i": 6}], ids=["rows", "columns"])
def test_a_shift_is_seen_in_mm_along_either_axis(shift):
    """Of a shifted circle's outline a tenth lies farther off than |cos| = 0.98 of the shift."""
    assert outline_distance_mm(disk(), disk(**shift), EVERYWHERE, PIXEL) == pytest.approx(6.0, abs=1.0)


def test_a_larger_circle_is_its_radius_away():
    found = outline_distance_mm(disk(), disk(radius_mm=34.0), EVERYWHERE, PIXEL)
    assert found == pytest.approx(4.0, abs=0.8)


def test_both_images_weigh_the_same():
    one, other = disk(), disk(shift_i=5, radius_mm=27.0)
    assert outline_distance_mm(one, other, EVERYWHERE, PIXEL) == outline_distance_mm(
        other, one, EVERYWHERE, PIXEL
    )


def test_what_one_scan_does_not_show_does_not_count():
    other = disk()
    other[:, :, 80:] = False  # cut off where the scan ends
    seen = EVERYWHERE.copy()
    seen[:, :, 78:] = False
    assert outline_distance_mm(disk(), other, EVERYWHERE, PIXEL) > 3
    assert outline_distance_mm(disk(), other, seen, PIXEL) == 0.0
    lacking = disk()
    lacking[1] = False
    assert outline_distance_mm(disk(), lacking, EVERYWHERE, PIXEL) == 0.0


def test_nothing_to_compare_is_no_number():
    assert np.isnan(outline_distance_mm(disk(), ~EVERYWHERE, EVERYWHERE, PIXEL))
    assert np.isnan(outline_distance_mm(disk(), disk(), ~EVERYWHERE, PIXEL))
