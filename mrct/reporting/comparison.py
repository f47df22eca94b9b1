"""The methods side by side: one row a method, over the same patients, against one reference method."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mrct.reporting.labels import DIRECTIONS, Windows, interval, method_name, metric, number
from mrct.reporting.tables import Reference, Results, columns_of

#: The metrics that compare methods: four columns a direction at most, the same that are drawn as dots.
KEY_METRICS = {
    "mr_to_ct": ("mae_hu", "ssim", "ssim_2d", "psnr_db", "iou_bone_300hu"),
    "ct_to_mr": ("mae_8bit", "ssim_8bit", "psnr_8bit_db", "iou_otsu"),
}
MAX_METRICS = 4


def with_direction(results: Sequence[Results], direction: str) -> list[Results]:
    """The methods that translate this way, in the page's order."""
    return [result for result in results if result.has(direction)]


def key_columns(results: Sequence[Results], direction: str, windows: Windows) -> list[str]:
    """The metrics by which methods are compared: those of KEY_METRICS that any method has, else any."""
    shown = columns_of(results, direction, windows)
    return ([column for column in KEY_METRICS[direction] if column in shown] or shown)[:MAX_METRICS]


def block(
    results: Sequence[Results], reference: Reference, direction: str, windows: Windows
) -> dict[str, Any]:
    """One direction's table; `without` names the methods that do not translate this way."""
    shown = with_direction(results, direction)
    labels = [metric(column, windows) for column in key_columns(shown, direction, windows)]
    rows = []
    for result in shown:
        cells = []
        for label in labels:
            mean, low, high = result.interval(direction, label.column)
            cells.append(
                {
                    "mean": number(mean, label.digits),
                    "interval": interval(low, high, label.digits),
                    "difference": reference.difference(result, direction, label),
                }
            )
        is_reference = result.method == reference.results.method
        rows.append({"name": method_name(result.method), "reference": is_reference, "cells": cells})
    return {
        "direction": direction,
        "name": DIRECTIONS[direction],
        "labels": labels,
        "rows": rows,
        "reference_has_it": reference.results.has(direction),
        "without": [method_name(result.method) for result in results if not result.has(direction)],
    }


def size_rows(
    results: Sequence[Results],
    models: Mapping[str, Mapping[str, Any]],
    histories: Mapping[str, pd.DataFrame],
) -> list[dict[str, Any]]:
    """A row a method: what it translates, how large it is, how long it was trained, which epoch was kept.

    None where a method was fitted and not trained.
    """
    rows = []
    for result in results:
        model = models.get(result.method, {})
        n_parameters = model.get("n_parameters") or {}
        best = model.get("best_epoch") or {}
        history = histories.get(result.method)
        rows.append(
            {
                "name": method_name(result.method),
                "directions": [name for direction, name in DIRECTIONS.items() if result.has(direction)],
                "n_parameters": max(n_parameters.values(), default=None),
                "epochs": None if history is None else len(history),
                "best": [
                    (DIRECTIONS[direction], best[direction]) for direction in DIRECTIONS if direction in best
                ],
            }
        )
    return rows
