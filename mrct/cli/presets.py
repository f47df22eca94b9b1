"""Published systems as differences from params.yaml: presets/<name>.yaml, applied as one DVC experiment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrct.core.params import ParamsError, nearest, read_yaml
from mrct.tracking import flatten

FOLDER = Path("presets")


@dataclass(frozen=True)
class Preset:
    """A published system: its title and its values, nested as in params.yaml."""

    name: str
    title: str
    values: dict[str, Any]

    def overrides(self) -> list[str]:
        """Return `key=value` for DVC's -S, one per leaf, in Hydra's grammar for overrides."""
        return [f"{key}={_literal(value)}" for key, value in flatten(self.values).items()]

    def differences(self, params: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
        """Return (key, value in `params`, value here) where the two differ; None for a key that `params` lacks."""
        known = flatten(dict(params))
        return [
            (key, known.get(key), value)
            for key, value in flatten(self.values).items()
            if key not in known or known[key] != value
        ]


def names(folder: Path = FOLDER) -> list[str]:
    """Return the names of all presets in the folder.

    Raises:
        ParamsError: There is none.
    """
    found = sorted(file.stem for file in folder.glob("*.yaml"))
    if not found:
        raise ParamsError(f"{folder}: no preset here; run from the project's root, the folder of params.yaml")
    return found


def load_preset(name: str, folder: Path = FOLDER) -> Preset:
    """Read a preset; its title is the first line of the file, a comment.

    Raises:
        ParamsError: There is no such preset; the message names the most similar one.
    """
    known = names(folder)
    if name not in known:
        raise ParamsError(f"no preset {name!r}{nearest(name, known)}")
    file = folder / f"{name}.yaml"
    title = file.read_text().partition("\n")[0].removeprefix("#").strip()
    return Preset(name, title, read_yaml(file))


def dvc_command(preset: Preset, arguments: list[str]) -> list[str]:
    """Return the `dvc exp run` command with the preset's name; `arguments` come last and override the preset."""
    settings = [part for override in preset.overrides() for part in ("-S", override)]
    return ["exp", "run", "-n", preset.name, *settings, *arguments]


def _literal(value: Any) -> str:
    """Write a scalar or a list in Hydra's grammar; text is quoted, so that it is never read as a number or a null."""
    if isinstance(value, list):
        return f"[{','.join(map(_literal, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "'" + value.replace("'", r"\'") + "'"
    return repr(value)
