"""The HTML page: pictures embedded, so that it is one file that opens offline and can be mailed."""

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mrct.reporting import labels, theme

HERE = Path(__file__).parent
THUMBNAIL_WIDTH, SHEET_WIDTH = 160, 1400


def render(content: dict[str, Any]) -> str:
    """The page; every value is HTML-escaped, an undefined one is an error."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": labels.number,
        "method_name": labels.method_name,
        "thousands": thousands,
    }
    return environment.get_template("report.html").render(css=(HERE / "report.css").read_text(), **content)


def embed(png: Path, max_width: int | None = None) -> str:
    """A PNG as a data URI (WebP inside)."""
    return "data:image/webp;base64," + base64.b64encode(theme.as_webp(png, max_width)).decode("ascii")


def thousands(value: float) -> str:
    """`12345` -> `12,345`."""
    return f"{int(value):,}"
