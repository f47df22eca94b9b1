"""What selection made of a virtual cohort, held against the cohort's truth: tables in, verdict out.

Selection names patients and series by pseudonyms; the virtual cohort's mapping is published, so that they can be
followed. The caller gives the mapping as two functions, because this room knows no key.
"""

from collections.abc import Callable
from typing import NamedTuple

import pandas as pd


class Judgement(NamedTuple):
    """Rows of the joined table: unwanted series that a pair was made of, and clean ones that were not kept.

    `series` is the whole table: truth, with part, decision, rule and reason of each part; a series that
    de-identification did not let through has one row without them.
    """

    kept_unwanted: pd.DataFrame
    lost_clean: pd.DataFrame
    series: pd.DataFrame

    def summary(self) -> str:
        """Counts in one line: a series of several parts counts once."""
        unwanted = self.series.loc[self.series["wanted"] == "no", "series_uid"].nunique()
        clean = self.series.loc[self.series["wanted"] == "yes", "series_uid"].nunique()
        kept, lost = (rows["series_uid"].nunique() for rows in (self.kept_unwanted, self.lost_clean))
        return f"{unwanted - kept} of {unwanted} unwanted series removed, {lost} of {clean} clean ones lost"


def judge(
    truth: pd.DataFrame,
    series: pd.DataFrame,
    patients: pd.DataFrame,
    pseudonym: Callable[[str], str],
    folder: Callable[[str], str],
) -> Judgement:
    """`truth` of cohort_truth, `series` and `patients` of selected; `pseudonym` of a PatientID, `folder` of a UID.

    A series whose truth is of one echo alone is unwanted in its other parts. What a patient without a pair
    keeps is used by no later stage: it counts for a clean series, not against an unwanted one.
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
    clean = joined["wanted"] == "yes"
    return Judgement(joined[kept & paired & (joined["wanted"] == "no")], joined[clean & ~kept], joined)
