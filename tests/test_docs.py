"""Tests of the documentation against the project: generated pages, links, parameters, commands and paths."""

import importlib.util
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml

from mrct.cli.main import app
from mrct.core.params import ParamsError, Section, parse
from mrct.methods.registry import METHODS
from mrct.training.method import Batch, TrainedMethod
from mrct.training.settings import Loop
from stages import configure

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "data/sample").rglob("*.md")])
CURRENT = [page for page in PAGES if page.name != "CHANGELOG.md"]
#: Commands of earlier versions that a page may still name, to say how a result was made.
GONE = {("docs/explanation/misalignment.md", "experiment")}
MOST_LINES_OF_README = 130


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def generator() -> ModuleType:
    """Load docs/generate.py, which is a script and not a package."""
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs/generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_code(text: str) -> str:
    """Return the text without code blocks and inline code."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE))


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page: Path) -> list[str]:
    """List the targets of the relative links and images of a page."""
    found = re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8")))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def keys(values: dict, prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{key}.")


@pytest.mark.parametrize("page", sorted(generator().PAGES))
def test_a_generated_page_is_what_the_script_makes(page):
    script = generator()
    committed = (script.REFERENCE / page).read_text(encoding="utf-8")
    assert script.PAGES[page]() == committed, "run  python docs/generate.py  and commit what it writes"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name(page)}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{name(page)}: {target}"


def test_every_page_of_docs_can_be_reached_from_its_index():
    found, todo = set(), [ROOT / "docs/README.md"]
    while todo:
        page = todo.pop()
        if page not in found:
            found.add(page)
            targets = [(page.parent / target.partition("#")[0]).resolve() for target in links(page)]
            targets += [file for target in targets if target.is_dir() for file in target.glob("*.md")]
            todo += [
                target
                for target in targets
                if target.suffix == ".md" and target.is_relative_to(ROOT / "docs")
            ]
    missing = set((ROOT / "docs").rglob("*.md")) - found
    assert not missing, f"docs/README.md leads nowhere to {sorted(map(name, missing))}"


def test_the_readme_can_be_read_in_five_minutes():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MOST_LINES_OF_README


def test_the_readme_names_the_commands_that_run_and_test_the_project():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for script in ("run.sh", "test.sh"):
        assert f"\n./{script} " in text
        assert (ROOT / script).is_file()


@pytest.mark.parametrize("page", CURRENT, ids=name)
def test_every_parameter_that_a_command_sets_exists(page):
    known = set(keys(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))))
    known |= {"plain"} if page.name == "add-a-method.md" else set()
    text = page.read_text(encoding="utf-8")
    for setting in re.findall(r"-S '?([\w.]+)=", text):
        assert setting in known | {"key"}, f"{name(page)}: -S {setting}= is no key of params.yaml"


@pytest.mark.parametrize("page", CURRENT, ids=name)
def test_every_command_of_mrct_that_a_page_names_exists(page):
    known = {
        command.name or command.callback.__name__ for command in app.registered_commands if command.callback
    }
    text = page.read_text(encoding="utf-8")
    code = re.findall(r"`([^`\n]+)`", text) + re.findall(
        r"^ *```\w*\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE
    )
    for snippet in code:
        for command in re.findall(r"^\s*mrct (\w+)", snippet, re.MULTILINE):
            if command not in ("COMMAND",) and (name(page), command) not in GONE:
                assert command in known, f"{name(page)}: mrct {command}"


@pytest.mark.parametrize("page", CURRENT, ids=name)
def test_every_stage_and_script_that_a_command_names_exists(page):
    text = page.read_text(encoding="utf-8")
    stages = set(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
    for stage in re.findall(r"dvc (?:repro|commit -f) ([a-z]\w*)", text):
        assert stage in stages, f"{name(page)}: dvc repro {stage}"
    for module in re.findall(r"-m stages\.(\w+)", text):
        assert (ROOT / f"stages/{module}.py").is_file(), f"{name(page)}: stages.{module}"


@pytest.mark.parametrize("page", CURRENT, ids=name)
def test_every_path_of_the_code_that_a_page_names_exists(page):
    places = r"`((?:mrct|stages|virtual_hospital|tests|benchmarks|presets|docs)/[\w/.-]*)[`\s]"
    for path in re.findall(places, page.read_text(encoding="utf-8")):
        assert (ROOT / path).exists(), f"{name(page)}: {path}"


def test_every_page_that_the_code_names_exists():
    code = [
        file
        for place in ("mrct", "stages", "virtual_hospital", "benchmarks")
        for file in (ROOT / place).rglob("*.py")
    ]
    assert code
    for file in [*code, ROOT / "params.yaml", ROOT / "dvc.yaml", *(ROOT / "presets").glob("*.yaml")]:
        for path in re.findall(r"docs/[\w/-]+\.\w+", file.read_text(encoding="utf-8")):
            assert (ROOT / path).is_file(), f"{name(file)}: {path}"


def test_the_readme_and_the_results_state_the_same_figures():
    """The README shows a part of the table of docs/explanation/results.md."""
    results = (ROOT / "docs/explanation/results.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    figures = re.findall(r"^\|.*\| (\**\d[\d.]*\** \[[\d., ]+\]) \|$", readme, re.MULTILINE)
    assert len(figures) == 5
    for figure in figures:
        assert figure in results


def test_the_method_that_the_guide_adds_can_be_configured_and_trained(tmp_path, monkeypatch):
    text = (ROOT / "docs/how-to/add-a-method.md").read_text(encoding="utf-8")
    code, section = (
        textwrap.dedent(re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)[0])
        for language in ("python", "yaml")
    )
    module = ModuleType("mrct.methods.plain")
    exec(compile(code, "docs/how-to/add-a-method.md", "exec"), module.__dict__)
    names = module.__dict__
    values, params = yaml.safe_load(section)["plain"], names["PlainParams"]
    assert issubclass(params, Section)
    assert set(values) == set(params.model_fields) | set(Loop.model_fields)
    parse(Loop, {key: values[key] for key in Loop.model_fields}, "loop")
    method = names["Plain"](parse(params, {key: values[key] for key in params.model_fields}, "plain"))
    assert isinstance(method, TrainedMethod)
    images = torch.rand(2, 1, 64, 64) * 2 - 1
    ((loss, terms),) = method.losses(Batch(images, images, {}), torch.Generator(), 0, lambda _, shown: shown)
    loss.backward()
    assert list(terms) == ["mae_ct"]
    assert list(method.optimizers()) == ["generators"]

    monkeypatch.setitem(sys.modules, "mrct.methods.plain", module)
    monkeypatch.setitem(METHODS, "plain", "mrct.methods.plain:Plain")
    monkeypatch.setattr("mrct.methods.plain", module, raising=False)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text() + "\n" + section)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    with pytest.raises(ParamsError, match=r"unknown key 'plain'.*lists it under `params`"):
        configure.run(configure.Params(methods=("plain",)), tmp_path / "out", tmp_path / "params.yaml")
    pipeline = (
        (tmp_path / "dvc.yaml").read_text().replace("intensity_map, unet,", "intensity_map, plain, unet,")
    )
    (tmp_path / "dvc.yaml").write_text(pipeline)
    configure.run(configure.Params(methods=("plain",)), tmp_path / "out", tmp_path / "params.yaml")
    assert (tmp_path / "out/plain.json").is_file()
