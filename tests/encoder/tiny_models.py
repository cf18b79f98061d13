"""Tiny models with random weights and a tokenizer of a dozen words, as folders; and sounds to encode."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapProcessor,
    PreTrainedTokenizerFast,
)

from mmret.models import ConvClapConfig, ConvClapModel, M2DClapConfig, M2DClapModel, M2DConfig

SENTENCES = ["a dog barks", "rain on a roof", "a dog barks and rain falls on a roof while a bell rings", "unheard"]
WORDS = ["a", "dog", "barks", "rain", "on", "roof", "and", "falls", "while", "bell", "rings"]
TEXT = {
    "vocab_size": 20,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 12,
    "type_vocab_size": 2,
    "initializer_range": 0.5,
}
M2D = {"input_size": (80, 70), "embed_dim": 16, "depth": 1, "num_heads": 2}
CLAP_AUDIO = {
    "spec_size": 64,
    "num_mel_bins": 16,
    "patch_embeds_hidden_size": 16,
    "depths": [1, 1],
    "num_attention_heads": [2, 2],
    "hidden_size": 32,
    "window_size": 2,
    "projection_dim": 8,
    "num_hidden_layers": 2,
}
CLAP_TEXT = {
    "vocab_size": 20,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 34,
    "projection_dim": 8,
}


def sound(seconds: float, sample_rate: int, *, seed: int = 0) -> NDArray[np.float32]:
    """A tone that rises in noise, (time,)."""
    time_s = np.arange(round(seconds * sample_rate)) / sample_rate
    noise = np.random.default_rng(seed).standard_normal(len(time_s))
    tone = np.sin(2 * np.pi * (200 + 300 * seed + 100 * time_s) * time_s)
    return (0.4 * tone + 0.05 * noise).astype(np.float32)


def tokenizer(*, pad: int, start: int, end: int, longest: int) -> PreTrainedTokenizerFast:
    """Words by number; special tokens at the numbers that the text tower expects."""
    vocabulary = {"[PAD]": pad, "[CLS]": start, "[SEP]": end, "[UNK]": 3}
    vocabulary |= {word: 4 + row for row, word in enumerate(WORDS)}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", start), ("[SEP]", end)]
    )
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    return PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=longest, **names)


def bert_tokenizer() -> PreTrainedTokenizerFast:
    return tokenizer(pad=0, start=1, end=2, longest=TEXT["max_position_embeddings"])


def conv_clap(folder: Path, *, text: bool = True) -> Path:
    """ConvClap whose parts all matter: no buffer is left at zero."""
    torch.manual_seed(0)
    config = ConvClapConfig(
        channels=(4, 4, 4, 4, 6),
        frame_dim=12,
        teacher_dim=8,
        num_tags=7,
        tag_hidden_dim=8,
        head_hidden_dim=8,
        projection_dim=16,
        top_tags=3,
        window_s=0.8,
        hop_s=0.4,
        min_samples=8_000,
        text_config=TEXT if text else None,
    )
    model = ConvClapModel(config).eval()
    model.tag_vectors.copy_(torch.nn.functional.normalize(torch.randn(7, 16), dim=-1))
    with torch.no_grad():  # large weights and statistics of what it will hear, or all sounds look alike
        for matrix in model.tower.to_frames.weight, *(w for w in model.caption_head.parameters() if w.ndim == 2):
            matrix.mul_(10)
        for _ in range(20):
            model.train().tower(torch.randn(8, 1, 80, 64) * 4 + torch.randn(8, 1, 80, 1) * 4 - 7)
    model.eval().save_pretrained(folder)
    if text:
        bert_tokenizer().save_pretrained(folder)
    return folder


def m2d_clap(folder: Path, *, text: bool = True) -> Path:
    """M2D-CLAP of 2025 in small: semantic audio projector, text tower inside."""
    torch.manual_seed(1)
    settings = {"audio_projector": "semantic", "text_projector": "linear", "text_dim": 16}
    settings["text_config"] = TEXT if text else None
    M2DClapModel(M2DClapConfig(audio_config=M2DConfig(**M2D), **settings)).save_pretrained(folder)
    if text:
        bert_tokenizer().save_pretrained(folder)
    return folder


def clap(folder: Path, *, fused: bool = False) -> Path:
    """transformers' own CLAP with its processor; clips of one second at 8 kHz."""
    torch.manual_seed(2)
    audio = CLAP_AUDIO | ({"enable_fusion": True, "fusion_type": "aff_2d", "aff_block_r": 2} if fused else {})
    ClapModel(ClapConfig(audio_config=audio, text_config=CLAP_TEXT, projection_dim=8)).save_pretrained(folder)
    extractor = ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=8_000,
        hop_length=125,
        max_length_s=1,
        fft_window_size=256,
        frequency_min=50,
        frequency_max=4_000,
        truncation="fusion" if fused else "rand_trunc",
    )
    words = tokenizer(pad=1, start=0, end=2, longest=32)
    ClapProcessor(extractor, words).save_pretrained(folder)
    return folder


def edit_json(path: Path, **changes: object) -> None:
    """Overwrite some values of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
