"""Tests that the packages, dvc.yaml's deps and the imports in the source agree."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from mrct.core.fingerprints import code_of
from mrct.methods.registry import METHODS

ROOT = Path(__file__).parent.parent
#: No result depends on them: progress bars, MLflow, and the names of the methods.
WITHOUT_RESULT = {ROOT / "mrct/terminal.py", ROOT / "mrct/tracking.py", ROOT / "mrct/methods/registry.py"}
MODULES = [
    path for name in ("mrct", "stages", "virtual_hospital") for path in sorted((ROOT / name).rglob("*.py"))
]
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
STAGES = [
    (name, method) for name, stage in PIPELINE.items() for method in (METHODS if "matrix" in stage else [""])
]


def _may_import() -> dict[str, set[str]]:
    """Read the table of CONTRIBUTING.md: package -> packages that it may import, both without `mrct.`."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = text.split("| package | purpose | may import |")[1].split("\n\n")[0].strip().split("\n")[1:]
    table = {}
    for row in rows:
        package, _, allowed = (cell.strip() for cell in row.strip("| ").split(" | "))
        names = [re.findall(r"`(?:mrct\.)?(\w+)`", cell) for cell in (package, allowed)]
        table[names[0][0]] = set(names[1])
    return table


MAY_IMPORT = _may_import()


def imported(file: Path) -> set[str]:
    """List the dotted names of our own modules that a file imports, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if module_file(name)}


def module_file(name: str) -> Path | None:
    path = (ROOT / Path(*name.split("."))).with_suffix(".py")
    return path if name.split(".")[0] in ("mrct", "stages", "virtual_hospital") and path.is_file() else None


def closure(files: set[Path]) -> set[Path]:
    """Return the files and all of our files that they import, directly or not, except those that affect no result."""
    found, todo = set(), list(files)
    while todo:
        current = todo.pop()
        if current not in found | WITHOUT_RESULT:
            found.add(current)
            todo += [path for name in imported(current) if (path := module_file(name))]
    return found


def needed(stage: str, method: str) -> set[Path]:
    """Return the code that a stage runs: its module and the method that it loads by name."""
    module = ROOT / "stages" / f"{stage}.py"
    methods = [method] if method else list(METHODS) if stage == "configure" else []
    return closure({module} | {ROOT / f"mrct/methods/{name}.py" for name in methods})


def package_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "mrct" and len(parts) > 1 else parts[0]


@pytest.mark.parametrize("file", MODULES, ids=lambda f: str(f.relative_to(ROOT)))
def test_packages_import_what_the_table_allows(file):
    own = package_of(file)
    for name in imported(file):
        package = package_of(module_file(name))
        if own == "virtual_hospital":
            assert package == own, f"{file.name} imports {name}"
        elif own not in ("cli", "stages", package):
            assert package in MAY_IMPORT[own], f"{file.name} imports {name}"
        elif own == "stages":
            assert package != "stages", f"{file.name} imports another stage"


def test_the_table_has_no_circle():
    """With a circle, no package could be understood on its own."""
    done: set[str] = set()
    packages = set(MAY_IMPORT) - {"cli", "virtual_hospital"}  # what they may import is said in words
    while done < packages:
        ready = {name for name in packages - done if MAY_IMPORT[name] <= done}
        assert ready, f"these packages import one another: {sorted(packages - done)}"
        done |= ready


def test_the_table_lists_every_package():
    assert set(MAY_IMPORT) == {package_of(file) for file in MODULES} - {"mrct", "stages", "__init__"}


def test_only_tracking_imports_mlflow():
    users = [
        file for file in MODULES if re.search(r"^\s*(from|import) mlflow", file.read_text(), re.MULTILINE)
    ]
    assert users == [ROOT / "mrct/tracking.py"]


def test_packages_never_name_a_folder_of_data():
    """Stages know the folders; core/contracts.py only states where a table lies."""
    for file in (ROOT / "mrct").rglob("*.py"):
        if package_of(file) == "cli" or file.name in ("contracts.py", "params.py"):
            continue
        strings = [
            node.value
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        assert not [text for text in strings if text.startswith("data/") and " " not in text], file


def test_every_package_says_what_it_is_for_and_exports_nothing():
    """One re-export would make every stage depend on everything."""
    for file in MODULES:
        if file.name == "__init__.py":
            body = ast.parse(file.read_text()).body
            if file.parent.name == "mrct":  # it also sets how the threads of OpenMP wait
                body = [
                    node
                    for node in body
                    if "environ" not in (text := ast.unparse(node)) and text != "import os"
                ]
            assert len(body) == 1, f"{file}: expected a docstring and nothing else"
            assert isinstance(body[0], ast.Expr), f"{file}: expected a docstring"


@pytest.mark.parametrize(("stage", "method"), STAGES)
def test_deps_cover_what_the_stage_imports(stage, method):
    """DVC does not follow imports: with a missing package, a change would not run the stage again."""
    deps = code_of(stage, method)
    missing = {
        file for file in needed(stage, method) if not any(dep in (file, *file.parents) for dep in deps)
    }
    assert not missing, f"{stage}: add to deps: {sorted(str(file.relative_to(ROOT)) for file in missing)}"


@pytest.mark.parametrize("stage", PIPELINE)
def test_deps_name_no_code_that_is_gone_or_not_imported(stage):
    """Code in deps that the stage does not import would run it again needlessly."""
    methods = [method for name, method in STAGES if name == stage]
    files = set().union(*(needed(stage, method) for method in methods))
    for dep in {dep for method in methods for dep in code_of(stage, method)}:
        assert any(dep in (file, *file.parents) for file in files), f"{stage}: {dep.relative_to(ROOT)}"
