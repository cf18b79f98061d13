"""Text-to-audio and audio-to-text retrieval over a folder of captioned recordings (captions.csv and audio/).

    python eval/retrieval.py --data captioned --out eval/results/retrieval_captioned.json

Every caption is a query over all clips, and every clip a query over all captions. A clip answers each caption whose
words are those of one of its own, so recordings that share a caption are all right.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import mmret
from mmret.cli.script import run_script
from mmret.data import CaptionedClip, read_captioned
from mmret.metrics import retrieval_report
from mmret.metrics.ranking import relevance_from_captions
from mmret.metrics.result_file import describe_model, write_result


def retrieve(encoder: mmret.Encoder, clips: Sequence[CaptionedClip]) -> dict[str, Any]:
    """Figures of both directions with their intervals, bootstrapped over clips with all their captions."""
    captions = [text for clip in clips for text in clip.captions]
    owner = np.repeat(np.arange(len(clips)), [len(clip.captions) for clip in clips])
    relevant = relevance_from_captions([clip.captions for clip in clips])
    similarity = encoder.encode_audio([clip.path for clip in clips]) @ encoder.encode_text(captions).T
    directions = {
        "t2a": retrieval_report(similarity.T, relevant.T, groups=owner),
        "a2t": retrieval_report(similarity, relevant),
    }
    return {
        "sizes": {"A": len(clips), "T": len(captions), "relevant_pairs": int(relevant.sum())},
        "metrics": {name: report.metrics for name, report in directions.items()},
        "hit@1_best_ties": {name: report.hit_at_1_best_ties for name, report in directions.items()},
        "intervals": {name: report.intervals for name, report in directions.items()},
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate as the arguments say and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mmret-mini", help="name, folder or hub id")
    parser.add_argument("--data", type=Path, required=True, help="folder with captions.csv and audio/")
    parser.add_argument("--label", help="name of the row in docs/results.md; default: the model's")
    parser.add_argument("--out", type=Path, default=Path("eval/results/retrieval.json"))
    arguments = parser.parse_args(argv)

    clips = read_captioned(arguments.data)
    encoder = mmret.Encoder.from_pretrained(arguments.model)
    figures = retrieve(encoder, clips)
    protocol = {
        "name": "retrieval",
        "label": arguments.label or encoder.name,
        "data": arguments.data.resolve().name,
        "relevant": "clips with the same caption",
        "ties": "worst",
    }
    path = write_result(arguments.out, {"protocol": protocol, "model": describe_model(encoder), **figures})
    for direction, metrics in figures["metrics"].items():
        hits = " / ".join(f"{metrics[f'hit@{k}']:.4f}" for k in (1, 5, 10))
        print(f"{direction}  hit@1/5/10 {hits}  median rank {metrics['median_rank']:g}  -> {path}")


if __name__ == "__main__":
    run_script(main)
