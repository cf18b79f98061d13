"""The results in the repository: measured with the weights that ship, and shown as they are."""

from __future__ import annotations

import json

import pytest

from mmret.encoder.encoder import PRETRAINED
from mmret.encoder.manifest import read_manifest
from tests.conftest import ROOT

RESULTS = sorted((ROOT / "eval" / "results").glob("*.json"))
SHIPPED = PRETRAINED / "mmret-mini"

pytestmark = pytest.mark.skipif(not RESULTS or not SHIPPED.is_dir(), reason="no results or no model in this checkout")


def test_every_figure_of_the_shipped_model_was_measured_with_the_weights_that_ship():
    fingerprint = read_manifest(SHIPPED).fingerprint
    models = [json.loads(path.read_text())["model"] for path in RESULTS]
    measured = [model["fingerprint"] for model in models if model["name"] == "mmret-mini"]
    assert measured and set(measured) == {fingerprint}


def test_the_pages_say_what_the_result_files_say(script, capsys):
    pages = ["--page", str(ROOT / "docs" / "results.md"), "--card", str(SHIPPED / "README.md")]
    code = script("tables").main(["--results", str(ROOT / "eval" / "results"), *pages, "--check"])
    assert code == 0, capsys.readouterr().out
