"""Pairs of slices of a registered CT and MR: their selection, the split by patient, and contact sheets.

What other packages use:

- `slices`: `RegisteredVolumes`, `PairCriteria`, `assess_slices`, `surplus_pairs`.
- `splits`: `split_patients`, `split_fold`, `require_no_leakage`, `MIN_PATIENTS`.
- `contact_sheets`: `pages`, `draw_page`.
"""
