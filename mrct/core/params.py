"""Strict parameters: one frozen model per stage, read from params.yaml. A mistyped key is an error.

A stage declares `class Params(Section)` and calls `load(Params, "register")`. Without the name of a section, a model
reads the keys that it names at the top level of the file.
"""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mrct.core.errors import DataError

PARAMS_FILE = Path("params.yaml")


class ParamsError(DataError):
    """Error for an unknown key or a wrong value in params.yaml."""


class _Loader(yaml.SafeLoader):
    """Loader for YAML 1.1 that reads 1e-05 as a number, as YAML 1.2 does: DVC writes it so after -S key=0.00001."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)


class Section(BaseModel):
    """Base of the parameter models: frozen, without unknown keys, without silent conversion of text to numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Execution(Section):
    """Keys that say where the work runs and what is shown; they belong to no stage, as no result depends on them."""

    executor: Literal["processes", "dask"] = "processes"
    scheduler: str = ""
    example_every: int = Field(default=0, ge=0)


S = TypeVar("S", bound=Section)


def read(path: Path = PARAMS_FILE) -> dict[str, Any]:
    """Read the whole file as plain Python values.

    Raises:
        ParamsError: The file is missing, is not a mapping, or holds a top-level key that no stage reads.
    """
    content = read_yaml(path)
    _require_known(content, path)
    return content


def read_yaml(path: Path) -> dict[str, Any]:
    """Read any file of parameters as plain Python values.

    Raises:
        ParamsError: The file is missing or not a mapping.
    """
    if not path.is_file():
        raise ParamsError(f"{path}: no such file; run from the root of the project, which holds params.yaml")
    content = yaml.load(path.read_text(), _Loader)
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: got {type(content).__name__}, expected a mapping of parameters")
    return content


def load(model: type[S], section: str | None = None, path: Path = PARAMS_FILE) -> S:
    """Read a section as `model`, or without a section the top-level keys that `model` names.

    Raises:
        ParamsError: The section or a key is missing, unknown or wrong.
    """
    content = read(path)
    if section is None:
        return parse(model, {key: content[key] for key in model.model_fields if key in content}, str(path))
    return parse(model, _section(content, section, path), f"{path}: {section}")


def load_parts(
    models: tuple[type[Section], ...], section: str | None, path: Path = PARAMS_FILE
) -> tuple[Any, ...]:
    """Read several models from one section, or from the file's top level; each takes the keys that it names.

    Raises:
        ParamsError: The section is missing or holds a key that no model names, or a value is wrong.
    """
    content = read(path)
    values = content if section is None else _section(content, section, path)
    where = str(path) if section is None else f"{path}: {section}"
    known = {key for model in models for key in model.model_fields}
    for key in values if section else ():
        if key not in known:
            raise ParamsError(f"{where}: unknown key {key!r}{nearest(key, known)}")
    return tuple(
        parse(model, {key: values[key] for key in model.model_fields if key in values}, where)
        for model in models
    )


def _section(content: dict[str, Any], section: str, path: Path) -> dict[str, Any]:
    if section not in content:
        raise ParamsError(f"{path}: no section {section!r}{nearest(section, content)}")
    return content[section] or {}


def parse(model: type[S], values: dict[str, Any], where: str) -> S:
    """Validate `values` as `model`.

    Raises:
        ParamsError: A key or value is wrong; the text begins with `where` and names each, with the nearest right key.
    """
    try:
        return model.model_validate(_tuples(values))
    except ValidationError as error:
        lines = [f"{where}: {_explain(issue, model)}" for issue in error.errors()]
        raise ParamsError("\n".join(lines)) from None


def _require_known(content: dict[str, Any], path: Path) -> None:
    """Raise ParamsError for a top-level key on which no stage of the dvc.yaml beside the file depends."""
    pipeline = path.with_name("dvc.yaml")
    if not pipeline.is_file():
        return
    stages = yaml.safe_load(pipeline.read_text())["stages"].values()
    known = {str(key).split(".")[0] for stage in stages for key in stage.get("params", [])}
    known |= set(Execution.model_fields)
    for key in content:
        if key not in known:
            raise ParamsError(
                f"{path}: unknown key {key!r}{nearest(key, known)}; no stage of {pipeline} lists it under `params`"
            )


def _tuples(value: Any) -> Any:
    """Turn lists into tuples, so that frozen models are hashable and strict tuple fields accept them."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _explain(issue: Any, model: type[BaseModel]) -> str:
    name = ".".join(str(part) for part in issue["loc"])
    if issue["type"] == "extra_forbidden":
        return f"unknown key {name!r}{nearest(str(issue['loc'][-1]), _all_fields(model))}"
    if issue["type"] in ("literal_error", "enum"):
        choices = re.findall(r"'([^']*)'", issue["ctx"]["expected"])
        return f"{name} = {issue['input']!r}{nearest(str(issue['input']), choices)}"
    return f"{name} = {issue.get('input')!r}: {issue['msg']}"


def _all_fields(model: type[BaseModel]) -> set[str]:
    names = set(model.model_fields)
    for field in model.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names |= _all_fields(field.annotation)
    return names


def nearest(key: str, known: Iterable[str]) -> str:
    """Return the end of an error: `; did you mean 'unet'?`, or all known names if none is similar to `key`."""
    known = list(known)
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(known))}"
