"""Figures of slices: the place and scale of each panel; charts of unusual inputs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from mrct.metrics.statistics import Interval
from mrct.reporting import theme
from mrct.reporting.figures import (
    DotPanel,
    best_of,
    curve_columns,
    methods_grid,
    patient_dots,
    training_curves,
    triptych,
)


def images_of(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


def slices(shape: tuple[int, int] = (20, 16)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    real = rng.normal(0, 300, shape)
    return rng.random(shape), real + 25.0, real


def test_triptych_shows_input_synthetic_real_and_synthetic_minus_real() -> None:
    mr, synthetic, real = slices()
    shown = images_of(triptych(mr, synthetic, real, window=theme.BRAIN))
    for got, wanted in zip(shown, (mr, synthetic, real, np.full_like(real, 25.0)), strict=True):
        np.testing.assert_allclose(got, wanted)


def test_triptych_scales_are_the_windows() -> None:
    figure = triptych(*slices(), window=theme.BRAIN)
    limits = [axes.images[0].get_clim() for axes in figure.axes if axes.images]
    assert limits[1:] == [(-60.0, 140.0), (-60.0, 140.0), (-100.0, 100.0)]


def test_difference_is_black_where_it_is_zero() -> None:
    assert theme.DIFFERENCE_COLORMAP(0.5)[:3] == pytest.approx((0, 0, 0), abs=0.01)
    too_high, too_low = theme.DIFFERENCE_COLORMAP(0.8), theme.DIFFERENCE_COLORMAP(0.2)
    assert too_high[0] > too_high[2]
    assert too_low[2] > too_low[0]


def test_anterior_is_on_top_and_left_of_the_picture_is_the_patients_right() -> None:
    image = triptych(*slices(), window=theme.BRAIN).axes[1].images[0]
    assert image.origin == "upper"


def test_triptych_of_unsigned_integers_does_not_wrap() -> None:
    dark, bright = np.full((8, 8), 1, np.uint8), np.full((8, 8), 3, np.uint8)
    assert images_of(triptych(dark, dark, bright, window=theme.MR))[3].min() == -2.0


def test_triptych_of_a_constant_image() -> None:
    flat = np.zeros((1, 1))
    assert len(images_of(triptych(flat, flat, flat, window=theme.BONE))) == 4


@pytest.mark.parametrize("wrong", [np.zeros((4, 5)), np.zeros((1, 4, 4))])
def test_triptych_refuses_other_shapes(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected one \(H, W\)"):
        triptych(np.zeros((4, 4)), wrong, np.zeros((4, 4)), window=theme.BRAIN)


@pytest.mark.parametrize(("n_methods", "n_cases"), [(1, 1), (8, 4), (2, 3)])
def test_methods_grid_shows_every_methods_slice_and_difference_in_its_row(
    n_methods: int, n_cases: int
) -> None:
    mr, _, real = slices()
    cases = {f"case {c}": (mr, real + 100 * c) for c in range(n_cases)}
    synthetic = {f"m{m}": [real + 100 * c + m for c in range(n_cases)] for m in range(n_methods)}
    notes = {f"m{m}": [f"{m} of {c}" for c in range(n_cases)] for m in range(n_methods)}
    figure = methods_grid(cases, synthetic, notes, window=theme.BONE)
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == 2 * n_cases * (1 + n_methods)
    first = panels[: 2 * n_cases]
    for c, (input_, target) in enumerate(cases.values()):
        np.testing.assert_array_equal(first[2 * c].images[0].get_array(), input_)
        np.testing.assert_array_equal(first[2 * c + 1].images[0].get_array(), target)
        assert first[2 * c].texts[-1].get_text() == f"case {c}"
    for m in range(n_methods):
        row = panels[2 * n_cases * (1 + m) :][: 2 * n_cases]
        assert row[0].texts[0].get_text() == f"m{m}"
        for c in range(n_cases):
            np.testing.assert_array_equal(row[2 * c].images[0].get_array(), synthetic[f"m{m}"][c])
            np.testing.assert_allclose(row[2 * c + 1].images[0].get_array(), m)
            assert row[2 * c + 1].texts[0].get_text() == f"{m} of {c}"


def test_methods_grid_keeps_names_and_panels_apart() -> None:
    """Eight methods with long names: no text is cut off at the edge or lies on another row's panel."""
    mr, _, real = slices((24, 20))
    names = [f"context-aware GAN {n}" for n in range(8)]
    cases = {f"P000000000{c}, slice 100": (mr, real) for c in range(4)}
    figure = methods_grid(
        cases,
        dict.fromkeys(names, [real] * 4),
        dict.fromkeys(names, ["MAE 1234.5 HU"] * 4),
        window=theme.BONE,
    )
    figure.draw_without_rendering()
    width, height = figure.bbox.width, figure.bbox.height
    for axes in figure.axes:
        for text in axes.texts:
            box = text.get_window_extent()
            assert box.x0 >= 0
            assert box.y0 >= 0
            assert box.x1 <= width
            assert box.y1 <= height
            panels = [panel.get_window_extent().padded(-1) for panel in figure.axes if panel.images]
            assert not any(box.overlaps(panel) for panel in panels), text.get_text()


def test_methods_grid_refuses_no_method_and_other_shapes() -> None:
    mr, _, real = slices()
    with pytest.raises(ValueError, match="got no method"):
        methods_grid({"a": (mr, real)}, {}, {}, window=theme.BONE)
    with pytest.raises(ValueError, match=r"expected one \(H, W\)"):
        methods_grid({"a": (mr, real)}, {"m": [real[1:]]}, {"m": [""]}, window=theme.BONE)


def test_display_window_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="low < high"):
        theme.DisplayWindow("wrong", 1.0, 1.0, 1.0, "HU")


def test_file_has_no_software_version_and_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        theme.save_png(triptych(*slices(), window=theme.BRAIN), tmp_path / name, dpi=40)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert "Software" not in image.info


def test_webp_is_scaled_down_never_up(tmp_path: Path) -> None:
    Image.new("L", (300, 100), 40).save(tmp_path / "a.png")
    for limit, width in ((150, 150), (1000, 300), (None, 300)):
        (tmp_path / "a.webp").write_bytes(theme.as_webp(tmp_path / "a.png", limit))
        with Image.open(tmp_path / "a.webp") as image:
            assert image.size == (width, width // 3)


def test_figures_leave_the_global_style_alone() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    triptych(*slices(), window=theme.BRAIN)
    assert dict(matplotlib.rcParams) == before


def test_validation_curves_come_first_and_empty_columns_not_at_all() -> None:
    history = pd.DataFrame(
        {"epoch": [1, 2], "pix_ct": [1.0, 0.5], "validation_mr_to_ct": [9.0, 8.0], "none": [np.nan] * 2}
    )
    assert curve_columns(history) == ["validation_mr_to_ct", "pix_ct"]


def test_best_epoch_is_marked_in_its_directions_validation_panel_only() -> None:
    best = {"mr_to_ct": 3, "ct_to_mr": 5}
    assert best_of("validation_mr_to_ct", best) == 3
    assert best_of("validation_ct_to_mr", best) == 5
    assert best_of("pix_ct", best) is None
    assert best_of("validation_mr_to_ct", {}) is None


def test_curve_draws_the_finite_values() -> None:
    history = pd.DataFrame({"epoch": [1, 2, 3], "pix_ct": [1.0, np.nan, 0.5]})
    line = training_curves(history, {}).axes[0].lines[0]
    np.testing.assert_array_equal(line.get_xydata(), [[1, 1.0], [3, 0.5]])


def test_a_line_stands_where_the_next_phase_begins_and_the_phase_is_no_curve() -> None:
    history = pd.DataFrame({"epoch": [1, 2, 3, 4, 5], "phase": [1, 1, 2, 2, 3], "mae_ct": np.ones(5)})
    assert curve_columns(history) == ["mae_ct"]
    lines = training_curves(history, {}).axes[0].lines
    assert [line.get_xdata()[0] for line in lines[1:]] == [2.5, 4.5]
    assert len(training_curves(history.drop(columns="phase"), {}).axes[0].lines) == 1


def test_curves_need_a_finite_number() -> None:
    with pytest.raises(ValueError, match="expected a loss term or a validation error"):
        training_curves(pd.DataFrame({"epoch": [1], "pix_ct": [np.nan]}), {})


def test_dots_of_one_patient_and_a_method_without_values() -> None:
    panel = DotPanel("MAE", "lower is better", {"a": np.array([5.0])}, {"a": Interval(5.0, None, None)})
    figure = patient_dots([panel], {"a": "A", "b": "B"}, theme.method_colors(["a", "b"]))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["A", "B"]
    with pytest.raises(ValueError, match="no metric"):
        patient_dots([], {"a": "A"}, {})
