"""Compare a selection of series with the truth about the virtual patients.

A selection names patients and series by pseudonyms. The caller passes the mapping as two functions, because this
package does not know the key.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class SelectionScore:
    """The series that were selected wrongly.

    Attributes:
        series: The truth, joined with part, decision, rule and reason of each part of each series. A series that
            de-identification rejected has one row with empty cells there.
        kept_unwanted: Rows of unwanted series that a pair was made from.
        lost_clean: Rows of clean series that were not kept.
    """

    series: pd.DataFrame
    kept_unwanted: pd.DataFrame
    lost_clean: pd.DataFrame

    def summary(self) -> str:
        """Return the counts in one line; a series of several parts counts once."""
        unwanted = self.series.loc[self.series["wanted"] == "no", "series_uid"].nunique()
        clean = self.series.loc[self.series["wanted"] == "yes", "series_uid"].nunique()
        kept, lost = (rows["series_uid"].nunique() for rows in (self.kept_unwanted, self.lost_clean))
        return f"{unwanted - kept} of {unwanted} unwanted series removed, {lost} of {clean} clean ones lost"


def score_selection(
    truth: pd.DataFrame,
    series: pd.DataFrame,
    patients: pd.DataFrame,
    pseudonym: Callable[[str], str],
    folder: Callable[[str], str],
) -> SelectionScore:
    """Compare a selection with the truth.

    If `wanted` applies to one echo of a series, its other parts count as unwanted. No later stage uses a series of a
    patient without a pair: such a series counts as kept if it is clean, and as removed if it is unwanted.

    Args:
        truth: data/cohort_truth/series.csv.
        series: data/selected/series.csv.
        patients: data/selected/patients.csv.
        pseudonym: Returns the pseudonym of a PatientID.
        folder: Returns the name of a series from its SeriesInstanceUID.
    """
    known = truth.assign(
        patient=truth["patient_id"].map(pseudonym), folder=truth["series_uid"].map(folder)
    ).rename(columns={"te_ms": "wanted_te_ms"})
    found = series[["patient", "series", "decision", "rule", "reason", "te_ms"]]
    found = found.assign(folder=found["series"].str.partition("-")[0])
    joined = known.merge(found, on=["patient", "folder"], how="left")
    other_echo = joined["wanted_te_ms"].notna() & (joined["wanted_te_ms"].astype(float) != joined["te_ms"])
    joined.loc[other_echo, "wanted"] = "no"
    kept = joined["decision"] == "kept"
    paired = joined["patient"].isin(patients.loc[patients["status"] == "paired", "patient"])
    unwanted, clean = joined["wanted"] == "no", joined["wanted"] == "yes"
    return SelectionScore(joined, joined[kept & paired & unwanted], joined[clean & ~kept])
