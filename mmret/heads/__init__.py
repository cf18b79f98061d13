"""Linear heads on fixed vectors, in numpy alone: learnt in seconds, applied without torch."""

from mmret.heads.fitting import Examples, FittedHead, LinearConfig, Scoring, fit_head, held_out_rows, stratified_rows
from mmret.heads.linear import LinearHead, one_hot

__all__ = [
    "Examples",
    "FittedHead",
    "LinearConfig",
    "LinearHead",
    "Scoring",
    "fit_head",
    "held_out_rows",
    "one_hot",
    "stratified_rows",
]
