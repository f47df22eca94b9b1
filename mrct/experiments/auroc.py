"""Area under the ROC curve from ranks."""

import numpy as np
from scipy import stats


def auroc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Scores (n,) and (m,) -> share of the n·m pairs in which the positive is higher, ties counting half; in [0, 1].

    Mann and Whitney's U over n·m, from ranks with ties averaged. NaN where one of both is empty.
    """
    n, m = len(positives), len(negatives)
    if not n or not m:
        return float("nan")
    ranks = stats.rankdata(np.concatenate([positives, negatives]))
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))
