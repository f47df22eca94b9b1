"""Tables with a schema: one CSV file per table, checked when it is written and when it is read.

A table is declared once, in mrct/core/contracts.py: a `Row` names the columns with their types and meanings, a `Table`
says which stage writes the file. docs/reference/tables.md is generated from these declarations.
"""

import csv
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from mrct.core.errors import DataError, NotFoundError
from mrct.core.files import atomic_file

# the import costs half a second and 50 MB per worker process, and most workers need no table
if TYPE_CHECKING:
    import pandas as pd


class Row(BaseModel):
    """Base of the rows: each field is a column, an empty cell is None or an empty text."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_enum_values=True)


class MetricRow(Row):
    """Base of the rows that have further columns of numbers, whose names depend on the parameters."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float | None]


@dataclass(frozen=True)
class Table:
    """One CSV file: `folder` and `file` are its place in the project, `stage` writes it, `about` describes a row."""

    stage: str
    folder: str
    file: str
    row: type[Row]
    about: str

    def write(self, folder: Path, rows: "Iterable[Mapping[str, Any] | Row] | pd.DataFrame") -> None:
        """Write the rows as `folder`/`file`, with a header; floats in the shortest form that is read back exactly.

        Raises:
            DataError: A column is missing or unknown, or a value has another type.
        """
        path = folder / self.file
        checked = [self._checked(record, number, path) for number, record in enumerate(_records(rows), 1)]
        columns = list(self.row.model_fields)
        columns += list(dict.fromkeys(name for row in checked for name in row.model_extra or {}))
        with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(columns)
            for row in checked:
                values = row.model_dump()
                writer.writerow([_cell(values.get(name)) for name in columns])

    def read(self, folder: Path) -> "pd.DataFrame":
        """Read the table in `folder`: text is str, integers are int64 (Int64 with empty cells), numbers are float64.

        Raises:
            NotFoundError: The file is missing.
            DataError: The file is not what `write` makes.
        """
        import pandas as pd

        path = folder / self.file
        if not path.is_file():
            raise NotFoundError(
                f"{path}: no such file; run the stage {self.stage} first (dvc repro {self.stage})"
            )
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            rows = [self._checked(_without_empty(row), number, path) for number, row in enumerate(reader, 1)]
            columns = list(reader.fieldnames or self.row.model_fields)
        table = pd.DataFrame([row.model_dump() for row in rows], columns=columns)
        return table.astype({name: self._dtype(name, rows) for name in columns})

    def _checked(self, record: Mapping[str, Any] | Row, number: int, path: Path) -> Row:
        try:
            return self.row.model_validate(record.model_dump() if isinstance(record, Row) else dict(record))
        except ValidationError as error:
            issue = error.errors()[0]
            column = ".".join(map(str, issue["loc"]))
            raise DataError(
                f"{path}: row {number}, column {column}: {issue['msg']}, got {issue['input']!r}; "
                f"expected the columns {', '.join(self.row.model_fields)}; run the stage {self.stage} again"
            ) from None

    def _dtype(self, column: str, rows: list[Row]) -> str:
        field = self.row.model_fields.get(column)
        kinds = set(get_args(field.annotation) or (field.annotation,)) if field else {float}
        if bool in kinds:
            return "bool"
        if int in kinds:
            return "Int64" if any(getattr(row, column) is None for row in rows) else "int64"
        return "float64" if float in kinds else "object"


def _records(rows: "Iterable[Mapping[str, Any] | Row] | pd.DataFrame") -> Iterable[Mapping[str, Any] | Row]:
    """Return the rows as records with None in empty cells."""
    pandas: Any = sys.modules.get("pandas")  # not imported here: only a caller with a DataFrame needs it
    records: Iterable[Any] = rows
    if pandas and isinstance(rows, pandas.DataFrame):
        records = rows.astype(object).to_dict("records")
    for row in records:
        yield row if isinstance(row, Row) else {name: None if _is_empty(v) else v for name, v in row.items()}


def _is_empty(value: Any) -> bool:
    """Check for None, NaN and pandas' NA."""
    return value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and value != value)


def _without_empty(row: Mapping[str, str]) -> dict[str, str | None]:
    return {name: value if value != "" else None for name, value in row.items()}


def _cell(value: Any) -> Any:
    return "" if value is None else value
