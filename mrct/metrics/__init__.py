"""Metrics of synthetic images, as pure functions of arrays.

- `hu.volume_metrics`, `hu.bone_iou`: synthetic CT in HU.
- `grey.grey_metrics`, `grey.mr_overlap`: 8-bit metrics of the paper, and synthetic MR.
- `statistics.bootstrap_interval`, `statistics.paired_interval`: intervals over patients.
- `checks.require_bounds`: refuses impossible values.
- `image`: MAE, PSNR, SSIM and IoU with the scale as an argument.
"""
