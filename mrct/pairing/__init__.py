"""Pairs of slices: which slices of a registered CT and MR make a pair, who is for what, and the contact sheets.

What other packages use:

- `slices`: `RegisteredVolumes`, `PairCriteria`, `assess_slices`, `surplus_pairs`.
- `splits`: `split_patients`, `split_fold`, `require_no_leakage`, `MIN_PATIENTS`.
- `contact_sheets`: `pages`, `draw_page`.
"""
