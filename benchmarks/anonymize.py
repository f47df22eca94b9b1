"""Compare the speed of the stage anonymize with a plain pydicom read-and-write loop, in the same run.

    python benchmarks/anonymize.py [FOLDER] [--repeats N]

FOLDER is an export of DICOM; without it two virtual patients are made in a temporary folder. First each phase runs in
one process, alternating with the plain loop over the same images, then the whole stage runs in one and in two
processes. The printed times are medians, and ratios compare runs of the same round. The sweep is timed separately,
because the plain loop has no counterpart.
"""

import argparse
import os
import shutil
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from time import perf_counter

import pydicom

from mrct.core.parallel import running
from mrct.deid.deidentify import Options
from mrct.deid.pseudonyms import demonstration
from mrct.deid.survey import Survey, chunked, exclude_mixed_patients, inspect, plan_chunks
from mrct.deid.writing import Chunk, sweep_images, write_images
from mrct.dicom.read import find_files
from stages import anonymize, cohort

MAPPING = demonstration()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        source = arguments.folder or _virtual_export(scratch / "export")
        kept = _images(source)
        size = sum(path.stat().st_size for path in kept)
        print(f"{len(kept)} images, {size / len(kept) / 1e3:.0f} kB each, {os.cpu_count()} cores")
        _compare_phases(source, kept, scratch, arguments.repeats)
        _compare_processes(source, len(kept), scratch, arguments.repeats)


def _virtual_export(folder: Path) -> Path:
    params = cohort.Params(seed=7, patients=2, image_size=256, contamination=True)
    cohort.run(params, cohort.LABELS, folder, folder.with_name("truth"))
    return folder


def _images(source: Path) -> list[Path]:
    return [entry.path for entry in _survey(source).entries if entry.action is None]


def _survey(source: Path) -> Survey:
    survey = Survey()
    for chunk in chunked(list(enumerate(find_files(source)))):
        survey.add(inspect(chunk))
    return survey


def _compare_phases(source: Path, kept: list[Path], scratch: Path, repeats: int) -> None:
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(repeats):
        _plain_loop(kept, scratch / "plain", seconds)
        _stage_phases(source, scratch / "ours", seconds)
    plain = statistics.median(seconds["plain loop"])
    for phase, values in seconds.items():
        median = statistics.median(values)
        print(f"{phase:24} {median:7.2f} s {len(kept) / median:8.1f} files/s {median / plain:6.2f} x plain")
    ratios = [
        loop / (headers + writing)
        for loop, headers, writing in zip(
            seconds["plain loop"], seconds["headers and values"], seconds["writing"], strict=True
        )
    ]
    print(f"one process, without the sweep: {statistics.median(ratios):.2f} times the plain loop's files/s")


def _plain_loop(kept: list[Path], out: Path, seconds: dict[str, list[float]]) -> None:
    out.mkdir()
    start = perf_counter()
    for number, path in enumerate(kept):
        pydicom.dcmread(path).save_as(out / f"{number}.dcm")
    seconds["plain loop"].append(perf_counter() - start)
    shutil.rmtree(out)


def _stage_phases(source: Path, out: Path, seconds: dict[str, list[float]]) -> None:
    start = perf_counter()
    survey = _survey(source)
    seconds["headers and values"].append(perf_counter() - start)
    writing = sweeping = 0.0
    for entries in plan_chunks(exclude_mixed_patients(survey.entries), MAPPING):
        phi_values = survey.phi_values[entries[0].patient_id]
        chunk = Chunk(source, out, entries, MAPPING, Options(), phi_values)
        start = perf_counter()
        written = write_images(chunk)
        middle = perf_counter()
        sweep_images(written, chunk)
        writing, sweeping = writing + middle - start, sweeping + perf_counter() - middle
    seconds["writing"].append(writing)
    seconds["sweep"].append(sweeping)
    shutil.rmtree(out)


def _compare_processes(source: Path, n_files: int, scratch: Path, repeats: int) -> None:
    seconds: dict[int, list[float]] = defaultdict(list)
    params = anonymize.Params(key_file="", max_shift_days=365, retain_age_and_sex=False)
    layout = anonymize.Source(source=str(source), source_layout="dicom")
    with running("processes"):  # one pool; its start is timed separately, in the first round of two processes
        for _ in range(repeats + 1):
            for workers in (1, 2):
                os.environ["MRCT_WORKERS"] = str(workers)
                start = perf_counter()
                anonymize.run(params, layout, scratch / "out", scratch / "work", MAPPING)
                seconds[workers].append(perf_counter() - start)
    first = [values.pop(0) for values in seconds.values()]
    print(f"start of the processes: {first[1] - statistics.median(seconds[2]):.2f} s, once")
    for workers, values in seconds.items():
        median = statistics.median(values)
        print(f"whole stage, {workers} process(es) {median:7.2f} s {n_files / median:8.1f} files/s")
    speedups = [one / two for one, two in zip(seconds[1], seconds[2], strict=True)]
    print(f"two processes: {statistics.median(speedups):.2f} times one")


if __name__ == "__main__":
    main()
