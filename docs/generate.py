"""Write the generated pages of docs/reference from the declarations in the code.

    python docs/generate.py

Each page has one source: parameters.md comes from params.yaml and presets/, tables.md from mrct.core.contracts,
attributes.md from mrct/deid/attributes.csv and profile.csv, selection-rules.md from mrct.selection, methods.md from
mrct/methods. tests/test_docs.py fails when a committed page differs from what this script makes.
"""

import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import yaml

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # run as a script, the folder of this file is first
    sys.path.insert(0, str(ROOT))
REFERENCE = ROOT / "docs/reference"
NOTE = "<!-- Written by docs/generate.py. Do not edit: change the source and run the script again. -->"

#: The preset that holds the paper's value of a section's keys; keys outside these sections have Jeong's.
PRESET_OF_SECTION = {
    "unet": "kaiser2019_unet",
    "pix2pix": "kaiser2019_pix2pix",
    "context_gan3d": "kaiser2019_context",
    "swin_pix2pix": "karimzadeh2023",
}
MAIN_PRESET = "jeong2024"
#: How a preset's comment begins where the paper itself gives the value.
IN_PAPER = re.compile(r"Tables? |sec\. |eq\. |Dataset|Model Architectures|title$|the one of the paper$")
#: What a comment of params.yaml says of the paper, where the column of the paper says it as well.
OF_PAPER = re.compile(r"^(?:paper|Tables? \d+(?: and \d+)?)(?:: [^;]+)?(?:; |$)")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = [list(header), ["---"] * len(header), *map(list, rows)]
    return ["| " + " | ".join(map(_escaped, line)) + " |" for line in lines]


def _escaped(cell: str) -> str:
    """The cell without what ends it early, or is HTML; code in backticks stays as it is but for bars."""
    parts = cell.replace("|", "\\|").split("`")
    return "`".join(part if number % 2 else part.replace("<", "&lt;") for number, part in enumerate(parts))


def page(title: str, *parts: Iterable[str]) -> str:
    """A whole page: the parts are groups of lines, parted by an empty line."""
    groups = [[NOTE], [f"# {title}"], *[list(part) for part in parts]]
    return "\n\n".join("\n".join(group) for group in groups if group) + "\n"


def prose(text: str) -> list[str]:
    """Lines of a paragraph."""
    return textwrap.wrap(" ".join(text.split()), 118, break_long_words=False, break_on_hyphens=False)


# --- parameters ------------------------------------------------------------------------------------


class Key(NamedTuple):
    """A key of params.yaml: dotted name, value as written, comment, heading that it stands under."""

    name: str
    value: str
    comment: str
    heading: str


class _Comments(NamedTuple):
    """Comments of a YAML file: (column, text) by line, and the headings `# --- text ---` by line."""

    text: dict[int, tuple[int, str]]
    headings: dict[int, str]


def read_keys(path: Path) -> list[Key]:
    """All leaves of a YAML file in their order, and each section (a mapping) before its leaves, with value ""."""
    source = path.read_text(encoding="utf-8")
    root = yaml.compose(source)
    assert isinstance(root, yaml.MappingNode)
    comments = _comments(source)
    return list(_keys(root, "", comments, source))


def _comments(source: str) -> _Comments:
    text, headings = {}, {}
    for number, line in enumerate(source.split("\n")):
        # a value of params.yaml never holds " #"
        found = re.match(r"^(.*?)(?:^|(?<=\s))#(.*)$", line)
        if not found:
            continue
        if heading := re.fullmatch(r"\s*-{3,}\s*(.*?)\s*-{3,}\s*", found[2]):
            headings[number] = heading[1]
        else:
            text[number] = (len(found[1]), found[2].strip())
    return _Comments(text, headings)


def _keys(node: yaml.MappingNode, prefix: str, comments: _Comments, source: str) -> Iterator[Key]:
    lines = source.split("\n")
    for name_node, value in node.value:
        first, column = name_node.start_mark.line, name_node.start_mark.column
        name = prefix + name_node.value
        heading = next(
            (text for line, text in sorted(comments.headings.items(), reverse=True) if line < first), ""
        )
        is_section = isinstance(value, yaml.MappingNode) and bool(value.value) and not value.flow_style
        last = first if is_section else value.end_mark.line
        if value.start_mark.index == value.end_mark.index:  # an empty value ends before its comment
            last = first
        words = [" ".join(_above(first, column, comments, lines))]
        if last in comments.text:
            words.append(" ".join([comments.text[last][1], *_below(last, column, comments, lines)]))
        shown = (
            "" if is_section else re.sub(r"\s+", " ", source[value.start_mark.index : value.end_mark.index])
        )
        yield Key(name, shown, "; ".join(filter(None, words)), heading)
        if is_section:
            yield from _keys(value, f"{name}.", comments, source)


def _is_comment(number: int, lines: list[str]) -> bool:
    return 0 <= number < len(lines) and lines[number].lstrip().startswith("#")


def _above(first: int, column: int, comments: _Comments, lines: list[str]) -> list[str]:
    """The comment lines directly above a key, at its own indent."""
    words: list[str] = []
    number = first - 1
    while _is_comment(number, lines) and number in comments.text and comments.text[number][0] == column:
        words.insert(0, comments.text[number][1])
        number -= 1
    return [] if number < 0 else words  # those at the top of the file are about the file


def _below(last: int, column: int, comments: _Comments, lines: list[str]) -> list[str]:
    """The comment lines that go on below a key, indented further than it."""
    words = []
    number = last + 1
    while _is_comment(number, lines) and number in comments.text and comments.text[number][0] > column + 2:
        words.append(comments.text[number][1])
        number += 1
    return words


def paper_values() -> dict[str, str]:
    """Dotted key -> the paper's value with its place, where the preset says that the paper gives it."""
    found = {}
    for section, preset in [("", MAIN_PRESET), *PRESET_OF_SECTION.items()]:
        for key in read_keys(ROOT / f"presets/{preset}.yaml"):
            mine = (
                key.name.startswith(f"{section}.")
                if section
                else key.name.split(".")[0] not in PRESET_OF_SECTION
            )
            if mine and key.value and IN_PAPER.match(key.comment):
                found[key.name] = f"`{key.value}` ({key.comment})"
    return found


def parameters() -> str:
    """Every key of params.yaml, by section, with its default, the paper's value and its meaning."""
    keys, paper = read_keys(ROOT / "params.yaml"), paper_values()
    sections = {key.name: key for key in keys if not key.value}
    parts: list[list[str]] = []
    heading = group = None
    rows: list[tuple[str, str, str, str]] = []

    def flush() -> None:
        if rows:
            parts.append(table(("key", "default", "paper", "meaning"), rows))
            rows.clear()

    for key in keys:
        if key.name in sections:
            continue
        top = key.name.split(".")[0]
        section = top if top in sections and top not in ("generator", "discriminator", "augmentation") else ""
        if key.heading != heading or section != group:
            flush()
        if section and section != group:
            about = sections[section].comment
            parts += [[f"## `{section}`"], [_capitalized(about)] if about else []]
        elif not section and (key.heading != heading or section != group):
            title = _capitalized(key.heading)  # a key between sections goes by its own name
            parts.append([f"## `{top}`" if [f"## {title}"] in parts else f"## {title}"])
        heading, group = key.heading, section
        given = paper.get(key.name, "")
        rows.append(
            (
                f"`{key.name}`",
                f"`{key.value}`",
                given,
                OF_PAPER.sub("", key.comment) if given else key.comment,
            )
        )
    flush()
    how = prose(
        """All keys of [params.yaml](../../params.yaml). Set one in that file, or for one experiment with
        `dvc exp run -S key=value`. A mistyped key is an error that names the nearest right one."""
    )
    columns = prose(
        f"""The column *paper* holds the value of the paper and its place there, as the preset of the method gives it
        (Jeong 2024, `presets/{MAIN_PRESET}.yaml`, for all keys outside the sections of other methods). It is empty
        where the paper leaves the value open."""
    )
    return page("Parameters", how, columns, *parts)


def _capitalized(text: str) -> str:
    """With a capital, unless the first word has one inside, as scCycleGAN."""
    return text if text.split()[0].lower() != text.split()[0] else text[0].upper() + text[1:]


# --- tables ----------------------------------------------------------------------------------------


def tables() -> str:
    """Every CSV table that passes between the stages, column by column."""
    from mrct.core import contracts
    from mrct.core.tables import MetricRow

    parts: list[list[str]] = []
    for one in contracts.TABLES:
        parts.append([f"## `{one.folder}/{one.file}`"])
        about = f"Written by `{one.stage}`: {one.about}."
        if issubclass(one.row, MetricRow) and one.row.__doc__:
            about += " " + " ".join(one.row.__doc__.split())
        parts.append([about])
        rows = [
            (f"`{name}`", type_name(field.annotation, field.metadata), field.description or "")
            for name, field in one.row.model_fields.items()
        ]
        parts.append(table(("column", "type", "meaning"), rows))
    intro = prose(
        """All tables are CSV files in UTF-8 with a header. They are declared in `mrct/core/contracts.py` and checked
        when they are written and when they are read."""
    )
    words = [
        ("patient", "pseudonym: `P` and 10 hex digits"),
        ("series", "name of a series within the patient"),
        ("k", "index of a slice from the feet up, starting at 0"),
        ("position", "in mm, in the patient's coordinate system (LPS)"),
        ("may be empty", "an empty cell means that the value is not known or does not apply"),
    ]
    return page("Tables", intro, table(("word", "meaning"), words), *parts)


def type_name(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """A column's type in words: `text`, `integer`, `number`, `true or false`, or the values that it may hold."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return type_name(inner, more)
    if get_origin(annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
        return type_name(kinds[0]) + ", may be empty"
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return ", ".join(f"`{member.value}`" for member in annotation)
    name = {str: "text", bool: "true or false", int: "integer", float: "number"}[annotation]
    return f"{name}, may be empty" if metadata and annotation is str else name


# --- attributes ------------------------------------------------------------------------------------

#: What a rule of attributes.csv does with a value, and why the attribute may stay.
ATTRIBUTE_RULES = {
    "uid": (
        "a keyed UID below 2.25 takes its place; UIDs of the standard itself stay",
        "references between images, series and frames of reference stay intact",
    ),
    "pseudonym": ("the patient's pseudonym takes its place", "images of one patient stay together"),
    "date": (
        "moved by the patient's one shift; a partial or impossible date and a placeholder are emptied",
        "the days between examinations stay exact; `select` needs those between CT and MR",
    ),
    "date_time": ("the date is moved as above, the time of day goes", "as a date"),
    "code": (
        "known words and defined terms only",
        "they tell what kind of image it is; `select` reads them",
    ),
    "descriptor": (
        "words of a fixed vocabulary only (`mrct/leaks/vocabulary.txt`)",
        "they tell sequence, plane and body part; `select` reads them",
    ),
    "device": ("known names of vendors and devices only", "contrast and HU depend on the scanner"),
    "agent": (
        "known words only, else AGENT or NONE",
        "whether a contrast agent was given decides on the use of a series",
    ),
    "unit": (
        "a defined term only, else OTHER",
        "values in another unit than HU must not pass as HU",
    ),
    "number": (
        "a finite number that is small enough to be a measurement; an id or a date is dropped",
        "geometry, timing, dose and scaling of the image",
    ),
    "pointer": (
        "the tag of an attribute of the standard; anything else is dropped",
        "dimensions of multi-frame images",
    ),
    "padding": ("a stored value of 16 bits", "the value of pixels outside the image"),
    "coded": (
        "items whose code PS3.16 lists, with the published meaning",
        "anatomy and purposes of reference",
    ),
    "sequence": ("its items, each attribute by its own rule", "functional groups and references"),
    "sex": ("emptied; kept with `anonymize.retain_age_and_sex`", "the IOD wants the attribute"),
    "age": (
        "dropped; kept with `anonymize.retain_age_and_sex`, over 89 years as 090Y",
        "on request alone",
    ),
    "empty": ("emptied, or a dummy where the IOD wants a value", "the IOD wants the attribute"),
}
IODS = {"ct": "CT", "mr": "MR", "enhanced_ct": "enhanced CT", "enhanced_mr": "enhanced MR"}


def attributes() -> str:
    """Every attribute that may leave the hospital, with its rule and what the profile demands."""
    from pydicom.datadict import keyword_for_tag

    from mrct.deid.allow_list import EDITION, basic_action, demanded_action, read_allow_list

    allowed = read_allow_list()
    tags = sorted({tag for rules in allowed.values() for tag in rules})
    unknown = {rule.name for rules in allowed.values() for rule in rules.values()} - ATTRIBUTE_RULES.keys()
    if unknown:
        raise SystemExit(f"docs/generate.py: add the rules {sorted(unknown)} to ATTRIBUTE_RULES")
    rows = []
    for tag in tags:
        here = {iod: rules[tag] for iod, rules in allowed.items() if tag in rules}
        names = list(dict.fromkeys(rule.name for rule in here.values()))
        demand = basic_action(tag)
        applied = demanded_action(tag, patient_characteristics=False)
        profile = demand if demand == applied else f"{demand}, with the options {applied}"
        rows.append(
            (
                f"({tag >> 16:04X},{tag & 0xFFFF:04X})",
                keyword_for_tag(tag),
                ", ".join(names),
                *(str(here[iod].type) if iod in here else "" for iod in IODS),
                profile,
            )
        )
    intro = prose(
        f"""An image leaves `anonymize` with its pixels, the attributes of this page and a statement of what was
        done to it. Private attributes, unknown attributes, overlays, curves and everything else are dropped.
        The list is `mrct/deid/attributes.csv`; a rule
        that is weaker than the confidentiality profile (DICOM PS3.15 table E.1-1, edition {EDITION}, as data in
        `mrct/deid/profile.csv`) is an error when the program starts. Why it is done this way:
        [De-identification](../explanation/de-identification.md)."""
    )
    rules = [(name, does, why) for name, (does, why) in ATTRIBUTE_RULES.items()]
    columns = prose(
        f"""{len(rows)} attributes. The columns of the four kinds of image hold the attribute's type in that IOD (DICOM
        PS3.3): 1 must have a value, 2 must be present, 3 may be absent; an empty cell means that the attribute is
        dropped there. The last column is the action of the Basic Profile (X remove, Z empty, D dummy, U new UID, C
        clean, K keep); where an option (Clean Descriptors, Modified Dates) changes it, both are named. There an empty
        cell means that the profile does not name the attribute."""
    )
    return page(
        "Attributes that survive de-identification",
        intro,
        ["## Rules"],
        table(("rule", "what stays of the value", "why the attribute may stay"), rules),
        ["## Attributes"],
        columns,
        table(("tag", "attribute", "rule", *IODS.values(), "profile"), rows),
    )


# --- selection rules -------------------------------------------------------------------------------


def selection() -> str:
    """Every rule that rejects a series."""
    from mrct.selection.classify import RULES
    from mrct.selection.parameters import REJECTABLE

    rows = []
    for rule in RULES:
        lifted = f"`select.accept=[{rule.name}]`" if rule.name in REJECTABLE else ""
        lifted = "`select.weighting=any`" if rule.name == "weighting" else lifted
        rows.append((f"`{rule.name}`", rule.meaning, f"`select.{rule.limit}=0`" if rule.limit else lifted))
    intro = prose(
        """A series is used if no rule of this page matches. The rules are asked in this order; the first that matches
        is named in the column `rule` of `data/selected/series.csv`, with its reason in the column `reason`. The last
        column is the parameter that switches a rule off, for example `-S 'select.accept=[tse]'`; see
        [Relax a rule](../how-to/relax-a-rule.md). A rule without one always holds. A series that several rules
        reject needs all of their parameters."""
    )
    return page("Selection rules", intro, table(("rule", "rejects", "switched off by"), rows))


# --- methods -----------------------------------------------------------------------------------------


def methods() -> str:
    """Every method that `methods` may name."""
    from mrct.methods.registry import METHODS, load_method
    from mrct.training.method import TrainedMethod
    from mrct.training.patches import PatchParams

    rows = []
    for name in METHODS:
        method = load_method(name)
        how = "fitted to slices"
        if issubclass(method, TrainedMethod):
            how = "trained on cubes" if issubclass(method.Params, PatchParams) else "trained on slices"
        place = "top-level keys" if method.top_level else f"[`{name}`](parameters.md#{name})"
        module = sys.modules[method.__module__]
        rows.append(
            (
                f"`{name}`",
                _first_sentence(module.__doc__ or ""),
                how,
                place if method.Params.model_fields else "none",
                ", ".join(f"`{preset}`" for preset in presets_of(name, method.top_level)),
            )
        )
    intro = prose(
        """The key `methods` names the methods of a run, for example `-S 'methods=[sc_cyclegan,unet,pix2pix]'`. All are
        trained on the same volumes and scored on the same test patients. A new one:
        [Add a method](../how-to/add-a-method.md)."""
    )
    return page("Methods", intro, table(("method", "what it is", "how", "parameters", "presets"), rows))


def _first_sentence(text: str) -> str:
    """The first sentence of a docstring, without a full stop."""
    return re.split(r"(?<!sec)(?<!eq)\.(?:\s|$)", " ".join(text.split()))[0]


def presets_of(method: str, top_level: bool) -> list[str]:
    """Names of the presets that set the method's parameters."""
    found = []
    for file in sorted((ROOT / "presets").glob("*.yaml")):
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
        if method in values or (top_level and "learning_rate" in values):
            found.append(file.stem)
    return found


PAGES: dict[str, Callable[[], str]] = {
    "parameters.md": parameters,
    "tables.md": tables,
    "attributes.md": attributes,
    "selection-rules.md": selection,
    "methods.md": methods,
}


def main() -> None:
    """Write all pages."""
    REFERENCE.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        (REFERENCE / name).write_text(make(), encoding="utf-8")
        print(f"docs/reference/{name}")


if __name__ == "__main__":
    main()
