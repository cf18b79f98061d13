"""Turn speech into log-mels and the features of a trained speech model, for train/m2d_s.py to distil.

    python train/speech_features.py SPEECH_DIR OUT_DIR --model facebook/hubert-base-ls960

Any model that AutoModel opens and that turns 16 kHz waveforms into hidden states every 20 ms will do: HuBERT, WavLM,
wav2vec 2.0. OUT_DIR/NAME.npy holds the log-mel (1, mels, frames) of a recording, OUT_DIR/features/NAME.npy what --layer
says (time, dim) as float16, and files.csv how many of them are not of padding: recordings shorter than 7 s end in
silence, as in the preparation of M2D-S. Run it again to go on after a stop. A recording that cannot be read is named
with its reason, the rest is written, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from prepare_log_mels import recordings, store, with_silence  # the neighbouring script
from recipe import require_model
from transformers import AutoConfig, AutoModel

from mmret.audio.decode import decode
from mmret.audio.logmel import LogMel, LogMelConfig
from mmret.cli.script import run_script
from mmret.data.log_mel_folder import write_list
from mmret.data.offline_targets import FEATURES_DIR
from mmret.errors import AudioError, ModelFormatError

SAMPLE_RATE = 16_000
SHORTEST_S = 7.0
STEP = 320  # samples in 20 ms
LAYER = 9  # of HuBERT base; 0 is what its transformer begins with
TINY = 1e-7


class SpeechModel:
    """Hidden states of one layer of a speech model, frozen."""

    def __init__(self, source: str, layer: int, device: str) -> None:
        require_model(source, "facebook/hubert-base-ls960")
        config = AutoConfig.from_pretrained(source)
        step, layers = int(np.prod(getattr(config, "conv_stride", (0,)))), getattr(config, "num_hidden_layers", 0)
        if step != STEP:
            raise ModelFormatError(
                f"{source} ({config.model_type}) does not step {STEP} samples, so its features do not fall on two "
                "frames of a log-mel each; use a model such as HuBERT, WavLM or wav2vec 2.0"
            )
        if not 0 <= layer <= layers:
            raise ModelFormatError(f"{source} has the layers 0 to {layers}, not {layer}; choose another --layer")
        self._model = AutoModel.from_pretrained(source).eval().to(device)
        self._layer, self._device = layer, device

    @torch.inference_mode()
    def __call__(self, waveform: NDArray[np.float32]) -> NDArray[np.float16]:
        """Waveform (time,) at 16 kHz -> features (time / 320, dim), of the wave with mean 0 and variance 1."""
        scaled = (waveform - waveform.mean()) / np.sqrt(waveform.var() + TINY)
        given = torch.from_numpy(scaled)[None].to(self._device)
        hidden = self._model(given, output_hidden_states=True).hidden_states[self._layer][0]
        return np.asarray(hidden.float().cpu().numpy().astype(np.float16))


def write_recording(source: Path, out_dir: Path, name: str, model: SpeechModel) -> int:
    """Store log-mel and features of one recording unless they are there; how many features are not of padding."""
    waveform = decode(source, SAMPLE_RATE)
    padded = with_silence(waveform, SAMPLE_RATE, SHORTEST_S)
    kept = out_dir / FEATURES_DIR / name
    if not ((out_dir / name).is_file() and kept.is_file()):
        store(kept, model(padded))
        store(out_dir / name, LogMel(LogMelConfig.for_rate(SAMPLE_RATE))(padded)[None])
    features = np.load(kept, mmap_mode="r", allow_pickle=False)
    return len(features) * len(waveform) // len(padded)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; the exit code is 1 where a recording could not be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio_dir", type=Path)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--model", required=True, help="folder or hub id of a speech model")
    parser.add_argument("--layer", type=int, default=LAYER, help="hidden state to keep; 0 precedes the first layer")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(arguments)
    paths = recordings(args.audio_dir)  # a mistyped path is told before a model is loaded
    model = SpeechModel(args.model, args.layer, args.device)
    names: list[str] = []
    valid: list[int] = []
    complaints = 0
    for path in paths:
        try:
            valid.append(write_recording(args.audio_dir / path, args.out_dir, f"{path}.npy", model))
            names.append(f"{path}.npy")
        except AudioError as error:
            complaints += 1
            print(error, file=sys.stderr)
    args.out_dir.mkdir(parents=True, exist_ok=True)
    write_list(args.out_dir, names, {"valid_features": valid})
    return 1 if complaints else 0


if __name__ == "__main__":
    run_script(main)
