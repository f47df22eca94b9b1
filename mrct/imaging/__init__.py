"""Volumes in space, head and brain masks, the networks' grid, and mutual information.

What other packages use:

- `volumes`: `read_volume`, `write_volume`, conversion to arrays and 4x4 matrices, resampling.
- `plausibility`: `examine`, whether a CT holds HU and an MR is one.
- `masks`: `head_mask_of_ct`, `head_mask_of_mr`, `MaskError`.
- `brain`: `brain_mask`.
- `grid`: `Grid`, `make_grid`, `to_grid`, `from_grid`.
- `mutual_information`: the joint histogram and what is computed from it.
"""
