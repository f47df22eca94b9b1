"""Tests of what DVC runs again after a change, by `dvc status` on the real dvc.yaml with invented outputs.

Only stages whose own dependencies changed are named; DVC also runs the stages after them.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from dvc.utils.hydra import apply_overrides

from mrct.core.params import load
from mrct.methods.registry import METHODS
from stages import configure

ROOT = Path(__file__).parent.parent
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
TRAINED = {f"train@{method}" for method in METHODS}
SCORED = {f"evaluate@{method}" for method in METHODS}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make a project with our code, all methods, and a file for each output, as if everything had just run."""
    root = tmp_path_factory.mktemp("project")
    for name in ("mrct", "stages", "virtual_hospital"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "params.yaml", "data/sample/colin27/labels.nii.gz"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        apply_overrides("params.yaml", [f"methods=[{','.join(METHODS)}]"])
        with Repo.init(no_scm=True) as repo:
            for out in repo.index.outs:
                write_output(Path(out.fs_path))
            configure.run(load(configure.Params), configure.OUT)
            repo.commit(force=True)
        yield root


def write_output(path: Path) -> None:
    """Write a file for an output with a suffix; without one, a folder with the files on which others depend."""
    if path.suffix:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
        return
    for name in ("manifest.json", "acquisitions.json", "patients.csv", "audit/files.csv"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(path.name)


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def changed_stages() -> set[str]:
    with Repo() as repo:
        return {name.removeprefix("dvc.yaml:") for name in repo.status()}


def after(project: Path, file: str, change: Callable[[], object]) -> set[str]:
    """Return the stages to run after `change` of the file, which is restored."""
    before = (project / file).read_bytes()
    try:
        change()
        return changed_stages()
    finally:
        (project / file).write_bytes(before)


def after_setting(project: Path, override: str) -> set[str]:
    """Return the stages to run after `dvc exp run -S override`."""
    return after(project, "params.yaml", lambda: apply_overrides("params.yaml", [override]))


def after_editing(project: Path, file: str) -> set[str]:
    with_a_remark = (project / file).read_text() + "\n# changed\n"
    return after(project, file, lambda: (project / file).write_text(with_a_remark))


def test_after_a_run_nothing_is_left_to_do(project: Path) -> None:
    assert changed_stages() == set()


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("lambda_pix=50", {"sc_cyclegan"}),
        ("epochs=3", {"sc_cyclegan"}),
        ("unet.epochs=3", {"unet"}),
        ("pix2pix.lambda_adv=0.5", {"pix2pix"}),
        ("intensity_map.bins=64", {"intensity_map"}),
        ("augmentation.flip=true", set(METHODS) - {"mean_ct", "intensity_map"}),
        ("executor=dask", set()),
        ("example_every=1", set()),
    ],
)
def test_a_parameter_trains_again_the_methods_that_depend_on_it(
    project: Path, override: str, wanted: set[str]
) -> None:
    """`configure` runs first; its outputs show DVC which methods are concerned."""

    def change() -> None:
        apply_overrides("params.yaml", [override])
        configure.run(load(configure.Params), configure.OUT)

    before = folder_bytes(project / "data/methods")
    try:
        found = after(project, "params.yaml", change)
    finally:
        for name, content in before.items():
            (project / "data/methods" / name).write_bytes(content)
    assert found - {"configure"} == {f"train@{method}" for method in wanted}


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("evaluate.seed=4", {*SCORED, "report"}),
        ("report.reference=unet", {"report"}),
        ("select.weighting=any", {"select"}),
    ],
)
def test_a_parameter_runs_again_what_depends_on_it(project: Path, override: str, wanted: set[str]) -> None:
    assert after_setting(project, override) == wanted


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("mrct/methods/unet.py", {"configure", "train@unet", "evaluate@unet"}),
        ("mrct/training/engine.py", {"configure", *TRAINED, *SCORED}),
        ("mrct/inference/model.py", SCORED),
        ("stages/train.py", TRAINED),
        ("stages/evaluate.py", SCORED),
        ("mrct/reporting/report.css", {"report"}),
        ("mrct/registration/alignment.py", {"register"}),
        ("mrct/deid/attributes.csv", {"anonymize"}),
        ("mrct/terminal.py", set()),
        ("mrct/tracking.py", set()),
        ("mrct/cli/main.py", set()),
    ],
)
def test_changed_code_runs_again_who_uses_it(project: Path, file: str, wanted: set[str]) -> None:
    assert after_editing(project, file) == wanted


def test_a_method_taken_out_leaves_the_others_as_they_are(project: Path) -> None:
    rest = [method for method in METHODS if method != "unet"]
    assert after_setting(project, f"methods=[{','.join(rest)}]") == {"configure", "report"}
