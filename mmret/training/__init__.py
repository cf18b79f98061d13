"""The training engine: one loop on Accelerate that can be stopped at any step and resumed exactly."""

from mmret.training.checkpoint import Checkpoint, Checkpoints
from mmret.training.config import TrainingConfig
from mmret.training.fit import FitResult, Objective, TrainingData, fit, load_weights
from mmret.training.log import read_log
from mmret.training.sampler import permutation, sample_generator

__all__ = [
    "Checkpoint",
    "Checkpoints",
    "FitResult",
    "Objective",
    "TrainingConfig",
    "TrainingData",
    "fit",
    "load_weights",
    "permutation",
    "read_log",
    "sample_generator",
]
