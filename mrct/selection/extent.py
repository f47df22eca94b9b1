"""Does a stack show enough of a head, finely enough?  Asked of what the other rules leave, by its own numbers."""

from mrct.dicom.series import Series
from mrct.dicom.stack import MAIN_SHARE, Stack, orientations
from mrct.selection.classify import Rules


def falls_short(series: Series, stack: Stack, rules: Rules) -> tuple[str, str]:
    """(rule, reason) of the first limit that the stack misses, or ("", ""); a limit of 0 is none."""
    if "uneven" in rules.reject and (reason := _uneven(series, stack)):
        return "uneven", reason
    coverage_mm = stack.n_slices * stack.slice_spacing_mm
    if coverage_mm < rules.min_coverage_mm:
        limit = f"less than select.min_coverage_mm = {rules.min_coverage_mm:g}"
        return "coverage", f"its even slices cover {coverage_mm:.0f} mm of the head, {limit}"
    field_mm = field_of_view_mm(stack)
    if field_mm < rules.min_field_mm:
        limit = f"less than select.min_field_mm = {rules.min_field_mm:g}"
        return "field_of_view", f"a field of view of {field_mm:.0f} mm cuts the head, {limit}"
    if rules.max_spacing_mm and stack.slice_spacing_mm > rules.max_spacing_mm:
        limit = f"more than select.max_spacing_mm = {rules.max_spacing_mm:g}"
        return "spacing", f"slices {stack.slice_spacing_mm:.3g} mm apart, {limit}"
    return "", ""


def field_of_view_mm(stack: Stack) -> float:
    """The longer side of a slice."""
    first = stack.instances[0]
    rows_mm, columns_mm = first.pixel_spacing_mm or (0.0, 0.0)
    return max(first.rows * rows_mm, first.columns * columns_mm)


def _uneven(series: Series, stack: Stack) -> str:
    """A stack without the slices beyond a gap is no whole examination; a stray slice at an end is none of it."""
    places = {item.position for item in orientations(series)[0]}
    used = len(stack.instances)
    return (
        "" if used >= MAIN_SHARE * len(places) else f"only {used} of {len(places)} slices form an even stack"
    )
