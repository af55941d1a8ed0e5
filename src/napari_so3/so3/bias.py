"""The bias of AL1, apart from torch: what only shows probabilities needs no more."""

import math


def al1_bias(n_rotations: int, prior: float = 0.5) -> float:
    """Bias per rotation that makes all-zero logits an AL1 probability of ``prior``.

    Parameters
    ----------
    n_rotations : int
        Number of rotations R.
    prior : float
        Probability in (0, 1).

    Returns
    -------
    float
        ``log((1 - prior)^(-1/R) - 1)``.

    Raises
    ------
    ValueError
        If the prior is not between 0 and 1.
    """
    if not 0.0 < prior < 1.0:
        raise ValueError(f"the prior is a probability between 0 and 1, not {prior}")
    return math.log(math.expm1(-math.log1p(-prior) / n_rotations))
