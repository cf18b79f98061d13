"""Turn the corpus into log-mels for the pre-training recipes: all of it for M2D, its labelled clips for M2D-CLAP.

    python train/mini/log_mels.py WORK_DIR --esc50 ESC-50

Writes WORK_DIR/log_mels (one map of overlapping windows of 2.56 s) and WORK_DIR/labelled (each ESC-50 clip at its own
length, and captions.npz with the sentence vectors of its class in several templates). Short clips are repeated.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from align import TEMPLATES, SentenceEncoder, default_text_folder
from examples import FRAMES, SAMPLES
from numpy.typing import NDArray

from mmret.audio.logmel import LogMel, LogMelConfig
from mmret.cli.script import run_script
from mmret.data.esc50 import read_esc50
from mmret.data.log_mel_crops import measure_statistics
from mmret.data.log_mel_folder import MAP_NAME, open_log_mels, write_list, write_statistics

STEP_FRAMES = FRAMES // 2


class Corpus:
    """Clips of clips.npz and their log-mels."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as stored:
            self._samples, self._offsets = stored["samples"], stored["offsets"]
            self.source, self.name, self.target = stored["source"], stored["name"], stored["target"]
        self._log_mel = LogMel(LogMelConfig())

    def frames(self, clip: int) -> int:
        """Whole hops of a clip: the last frame of its log-mel, half of which is reflection, is not counted."""
        samples = max(SAMPLES, int(self._offsets[clip + 1] - self._offsets[clip]))
        return samples // self._log_mel.config.hop_length

    def log_mel(self, clip: int) -> NDArray[np.float16]:
        """Log-mel (80, frames) of a clip, repeated until it lasts 2.56 s."""
        wave = self._samples[self._offsets[clip] : self._offsets[clip + 1]].astype(np.float32) / 32768
        if len(wave) < SAMPLES:
            wave = np.resize(wave, SAMPLES)
        return self._log_mel(wave).astype(np.float16)


def window_starts(frames: int) -> list[int]:
    """Starts of windows of FRAMES, at equal distances of at most half a window, that reach both ends.

    >>> window_starts(256), window_starts(500)
    ([0], [0, 122, 244])
    """
    count = 1 + -(-(frames - FRAMES) // STEP_FRAMES)
    return [int(start) for start in np.linspace(0, frames - FRAMES, count)]


def write_windows(corpus: Corpus, folder: Path) -> None:
    """Store windows of all clips as one map."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = range(len(corpus.name))
    starts = [window_starts(corpus.frames(clip)) for clip in clips]
    names = [f"{corpus.source[clip]}/{corpus.name[clip]}" for clip in clips for _ in starts[clip]]
    temporary = folder / f"{MAP_NAME}.tmp"
    stored = np.lib.format.open_memmap(temporary, "w+", np.float16, (len(names), 80, FRAMES))
    row = 0
    for clip in clips:
        log_mel = corpus.log_mel(clip)
        for start in starts[clip]:
            stored[row] = log_mel[:, start : start + FRAMES]
            row += 1
    stored.flush()
    temporary.replace(folder / MAP_NAME)
    write_list(folder, names)
    _write_statistics(folder)


def write_labelled(corpus: Corpus, folder: Path, vectors: dict[int, NDArray[np.float16]]) -> None:
    """Store the labelled clips one by one; `vectors` (captions, dim) by class."""
    folder.mkdir(parents=True, exist_ok=True)
    stems = {int(clip): Path(str(corpus.name[clip])).stem for clip in np.flatnonzero(corpus.target >= 0)}
    for clip, stem in stems.items():
        np.save(folder / f"{stem}.npy", corpus.log_mel(clip))
    np.savez(folder / "captions.npz", **{stem: vectors[int(corpus.target[clip])] for clip, stem in stems.items()})
    write_list(folder, [f"{stem}.npy" for stem in stems.values()])
    _write_statistics(folder)


def _write_statistics(folder: Path) -> None:
    write_statistics(folder, *measure_statistics(open_log_mels(folder), FRAMES, np.random.default_rng(0)))


@torch.no_grad()
def pooled(text: SentenceEncoder, sentences: Sequence[str]) -> NDArray[np.float16]:
    """Mean over the tokens (sentences, dim), not of unit length: what M2D-CLAP's text projector is given."""
    rows = [text.tokenizer(sentence, return_tensors="pt") for sentence in sentences]
    return np.concatenate([text.model(**row).last_hidden_state.mean(dim=1).numpy() for row in rows]).astype(np.float16)


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare both folders from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--esc50", type=Path, required=True, help="ESC-50 in its published layout")
    args = parser.parse_args(argv)
    corpus = Corpus(args.work_dir / "clips.npz")
    labels = {clip.target: clip.label for clip in read_esc50(args.esc50)}
    text = SentenceEncoder(default_text_folder())
    vectors = {target: pooled(text, [t.format(label) for t in TEMPLATES]) for target, label in labels.items()}
    write_labelled(corpus, args.work_dir / "labelled", vectors)
    write_windows(corpus, args.work_dir / "log_mels")
    print(f"{len(open_log_mels(args.work_dir / 'log_mels').names)} windows")


if __name__ == "__main__":
    run_script(main)
