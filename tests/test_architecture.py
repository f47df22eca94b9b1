"""The table in CONTRIBUTING.md, and dvc.yaml's deps: both held against the imports in the source."""

import ast
from pathlib import Path

import pytest
import yaml

from mrct.training.run import CODE

ROOT = Path(__file__).parent.parent
BASE = {"params", "files", "parallel", "tracking"}
MAY_IMPORT = {
    **{module: set() for module in BASE},
    "dicom": set(),
    "resume": set(),
    "deid": {"dicom", "resume"},
    "imaging": set(),
    "cohort": {"dicom", "imaging"},
    "networks": set(),
    "metrics": set(),
    "losses": {"metrics"},
    "methods": {"networks", "losses"},
    "training": {"methods", "metrics", "networks", "losses", "inference", "resume"},
    "inference": {"networks", "imaging", "dicom", "methods"},
    "reporting": {"metrics", "imaging"},
    "presets": {"params", "tracking"},
    "experiments": {"training", "methods", "metrics", "networks", "imaging", "losses", "reporting", "resume"},
    "runner": {"params", "parallel"},
}
MODULES = sorted((ROOT / "mrct").rglob("*.py")) + sorted((ROOT / "stages").glob("*.py"))
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
METHODS = [f.stem for f in MODULES if f.parent.name == "methods" and "class Params(" in f.read_text()]
METHODS.remove("sc_cyclegan")  # it has stages of its own
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


def imported(file: Path) -> set[str]:
    """Dotted names of our own modules that a file imports, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] in ("mrct", "stages") and module_file(name)}


def module_file(name: str) -> Path | None:
    path = ROOT / Path(*name.split("."))
    return path.with_suffix(".py") if path.with_suffix(".py").is_file() else None


def closure(file: Path) -> set[Path]:
    """The file and all of our files that it imports, directly or not."""
    found, todo = set(), [file]
    while todo:
        current = todo.pop()
        if current not in found:
            found.add(current)
            todo += [path for name in imported(current) if (path := module_file(name))]
    return found


@pytest.mark.parametrize("file", MODULES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_follow_the_table(file):
    parts = file.relative_to(ROOT).with_suffix("").parts
    own = parts[1] if len(parts) > 1 else parts[0]
    for name in imported(file):
        package, room = name.split(".")[:2]
        if parts[:2] == ("mrct", "cli"):
            continue  # the command line stands outside: it may call stages and rooms
        assert package != "stages", f"{file.name} imports the stage {name}"
        if parts[0] == "mrct" and room != own:
            assert room in (MAY_IMPORT[own] | (BASE if own not in BASE else set())), (
                f"{file.name} imports {name}"
            )


def test_only_tracking_imports_mlflow():
    users = [
        f.name
        for f in MODULES
        if "mlflow"
        in {
            name.split(".")[0]
            for node in ast.walk(ast.parse(f.read_text()))
            for name in (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
    ]
    assert users == ["tracking.py"]


def test_rooms_never_read_params_yaml_or_data():
    for file in (ROOT / "mrct").rglob("*.py"):
        if file.name in ("params.py", "cli.py"):
            continue
        strings = [
            n.value
            for n in ast.walk(ast.parse(file.read_text()))
            if isinstance(n, ast.Constant) and isinstance(n.value, str)
        ]
        assert not [s for s in strings if s.startswith("data/") and " " not in s], file


def test_package_files_are_empty():
    assert not [f for f in MODULES if f.name == "__init__.py" and f.read_text().strip()]


def _expand(stage: dict) -> list[dict[str, str]]:
    """The items of a matrix stage, every method that `baselines` can name; one empty item otherwise."""
    if "matrix" not in stage:
        return [{}]
    return [{"item.method": method} for method in METHODS]


def _deps(stage: dict, item: dict[str, str]) -> list[Path]:
    values = {"source": PARAMS["source"], **item}
    names = [str(dep) for dep in stage["deps"]]
    for key, value in values.items():
        names = [name.replace("${" + key + "}", value) for name in names]
    return [ROOT / name for name in names]


@pytest.mark.parametrize("name", sorted(PIPELINE))
def test_deps_cover_what_the_stage_imports(name):
    """DVC does not follow imports: a missing file here would leave a stage unrun after a change."""
    stage = PIPELINE[name]
    module = stage["cmd"].split()[2].replace(".", "/") + ".py"
    for item in _expand(stage):
        deps = _deps(stage, item)
        needed = closure(ROOT / module) | {f for f in deps if "methods" in f.parts for f in closure(f)}
        missing = {f for f in needed if not any(f == dep or dep in f.parents for dep in deps)}
        assert not missing, f"{name}: add to deps: {sorted(str(f.relative_to(ROOT)) for f in missing)}"


@pytest.mark.parametrize("name", sorted(PIPELINE))
def test_deps_name_no_code_that_is_gone_or_foreign(name):
    """Code in deps that the stage does not import would re-run it for nothing."""
    stage = PIPELINE[name]
    module = stage["cmd"].split()[2].replace(".", "/") + ".py"
    for item in _expand(stage):
        deps = _deps(stage, item)
        needed = closure(ROOT / module) | {f for f in deps if "methods" in f.parts for f in closure(f)}
        for dep in deps:
            if dep.suffix == ".py":
                assert dep in needed, f"{name}: {dep.relative_to(ROOT)} is not imported"


def test_a_checkpoint_is_keyed_by_all_rooms_that_training_runs():
    """Otherwise a stopped run could go on with other code."""
    needed = closure(ROOT / "mrct/training/engine.py") | closure(ROOT / "mrct/methods/sc_cyclegan.py")
    rooms = {file.parent.name for file in needed} - {"mrct"}
    assert rooms == {place.name for place in CODE if place.is_dir()}
