"""The page to sign is exactly one A4 page for any audit. Skipped without Chromium."""

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from helpers.report_factory import METHODS, write_inputs
from mrct.core.contracts import AUDITED_ATTRIBUTES, AUDITED_FILES
from mrct.core.files import read_json, write_json
from mrct.reporting.inputs import Folders
from stages import report

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--no-pdf-header-footer",
)  # fmt: skip
A4_POINTS = (595, 842)


def pages_of(page: Path, anchor: str, folder: Path) -> list[tuple[int, int]]:
    """Return the page sizes, in points, that Chromium prints for the anchor."""
    pdf = folder / "page.pdf"
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", f"--print-to-pdf={pdf}"]
    subprocess.run([*map(str, command), f"{page.as_uri()}{anchor}"], check=True, capture_output=True)
    boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf.read_bytes())
    return [(round(float(width)), round(float(height))) for width, height in boxes]


def crowd(folders: Folders) -> None:
    """Fill the audit: every verdict with five long reasons, every attribute with each code and action."""
    audit = folders.anonymized / "audit"
    actions = ("rejected", "quarantined", "skipped")
    more = [(action, f"{'a reason of many words ' * 4}{n}", "") for action in actions for n in "abcde"]
    files = AUDITED_FILES.read(folders.anonymized).drop(columns="source_index")
    files = pd.concat([files, pd.DataFrame(more, columns=files.columns)], ignore_index=True)
    AUDITED_FILES.write(folders.anonymized, files.rename_axis("source_index").reset_index())
    summary = read_json(audit / "summary.json") | {"files": files["action"].value_counts().to_dict()}
    summary["method_codes"] |= {f"11310{n}": "Retain Something Rather Long Option" for n in (1, 7, 8)}
    summary["retain_age_and_sex"] = True
    write_json(audit / "summary.json", summary)
    codes = ("X", "X/Z", "X/D", "X/Z/D", "X/Z/U*", "Z", "Z/D", "D", "U", "")
    rows = [
        (f"(0011,{n:04x})", f"SomeRatherLongAttributeName{n}", code, action, 123_456)
        for n in range(30) for code in codes for action in ("kept", "changed", "emptied", "dropped")
    ]  # fmt: skip
    columns = ["tag", "keyword", "profile", "action", "count"]
    AUDITED_ATTRIBUTES.write(folders.anonymized, pd.DataFrame(rows, columns=columns))


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_opened_at_its_anchor_it_prints_as_one_a4_page_alone(tmp_path: Path) -> None:
    folders = write_inputs(tmp_path / "in", n_test=1)
    crowd(folders)
    params = report.Params(patients=0, reference=METHODS[0])
    windows = {"full": (-1024.0, 3000.0)}
    intervals = report.Intervals(bootstrap_samples=20, seed=3, windows_8bit_hu=windows)
    page = report.run(params, intervals, folders, METHODS, virtual=True, out=tmp_path / "out")
    assert pages_of(page, "#deidentification", tmp_path) == [A4_POINTS]
    assert len(pages_of(page, "", tmp_path)) > 3
