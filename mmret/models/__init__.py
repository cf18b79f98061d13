"""Networks as transformers models; importing this package registers them with AutoConfig and AutoModel."""

from __future__ import annotations

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForAudioClassification,
    AutoModelForPreTraining,
)

from mmret.models.conv_clap import ConvClapConfig, ConvClapModel
from mmret.models.conv_clap_heads import ConvClapForAudioClassification
from mmret.models.m2d import M2DConfig, M2DModel
from mmret.models.m2d_checkpoint import convert_checkpoint, load_m2d_checkpoint, load_m2d_pretraining
from mmret.models.m2d_clap import M2DClapConfig, M2DClapForPreTraining, M2DClapModel
from mmret.models.m2d_features import M2DFeatures
from mmret.models.m2d_heads import M2DForAudioClassification, WeightedLayers
from mmret.models.m2d_pretraining import M2DForPreTraining

__all__ = [
    "ConvClapConfig",
    "ConvClapForAudioClassification",
    "ConvClapModel",
    "M2DClapConfig",
    "M2DClapForPreTraining",
    "M2DClapModel",
    "M2DConfig",
    "M2DFeatures",
    "M2DForAudioClassification",
    "M2DForPreTraining",
    "M2DModel",
    "WeightedLayers",
    "convert_checkpoint",
    "load_m2d_checkpoint",
    "load_m2d_pretraining",
]

for _config in (M2DConfig, M2DClapConfig, ConvClapConfig):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
AutoModel.register(M2DConfig, M2DModel, exist_ok=True)
AutoModel.register(M2DClapConfig, M2DClapModel, exist_ok=True)
AutoModel.register(ConvClapConfig, ConvClapModel, exist_ok=True)
AutoModelForAudioClassification.register(M2DConfig, M2DForAudioClassification, exist_ok=True)
AutoModelForAudioClassification.register(ConvClapConfig, ConvClapForAudioClassification, exist_ok=True)
AutoModelForPreTraining.register(M2DConfig, M2DForPreTraining, exist_ok=True)
AutoModelForPreTraining.register(M2DClapConfig, M2DClapForPreTraining, exist_ok=True)
