"""Folders of tiny models, built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmret.encoder.export import export_folder
from tests.encoder import tiny_models


@pytest.fixture(scope="session")
def conv_folder(tmp_path_factory) -> Path:
    return tiny_models.conv_clap(tmp_path_factory.mktemp("conv") / "tiny")


@pytest.fixture(scope="session")
def exported_conv(conv_folder, tmp_path_factory) -> Path:
    return export_folder(conv_folder, tmp_path_factory.mktemp("exported") / "tiny")


@pytest.fixture(scope="session")
def m2d_folder(tmp_path_factory) -> Path:
    return tiny_models.m2d_clap(tmp_path_factory.mktemp("m2d") / "tiny_m2d")


@pytest.fixture(scope="session")
def exported_m2d(m2d_folder, tmp_path_factory) -> Path:
    return export_folder(m2d_folder, tmp_path_factory.mktemp("exported") / "tiny_m2d")


@pytest.fixture(scope="session")
def clap_folder(tmp_path_factory) -> Path:
    return tiny_models.clap(tmp_path_factory.mktemp("clap") / "tiny_clap")
