"""From a model folder to unit vectors of sounds and sentences, by ONNX Runtime or by torch."""

from mmret.encoder.encoder import Encoder

__all__ = ["Encoder"]
