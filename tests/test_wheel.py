"""The package as it is installed: what its wheel holds, and the two commands that come with it."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PACKAGES = ("convert", "ms_seg")
PROJECT = ("LICENSE", "README.md", "pyproject.toml", "requirements.txt")
MADE_BY_RUNNING = ("__pycache__", "kernel_meta", "rank_0")
COMMANDS = {"ms_seg": "ms_seg.__main__:main", "ms_seg-convert": "convert.__main__:main"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's own files alone, so that building leaves nothing behind in its folder."""
    folder = tmp_path_factory.mktemp("source")
    for name in PROJECT:
        shutil.copy(ROOT / name, folder)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(*MADE_BY_RUNNING))
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder]
    result = subprocess.run([*command, source], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed package, whose requirements are those of the tests; its commands are in bin."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", folder, wheel]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return folder


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def text(wheel: Path, ending: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(ending)]
        return archive.read(name).decode()


def test_every_file_of_the_packages_is_in_the_wheel_and_nothing_else(wheel: Path, source: Path):
    """C files and headers, label sets, assets and py.typed among them; no test and no script."""
    expected = {
        file.relative_to(source).as_posix()
        for package in PACKAGES
        for file in (source / package).rglob("*")
        if file.is_file()
    }
    assert {"ms_seg/py.typed", "convert/py.typed", "ms_seg/label_sets/ade20k.tsv"} < expected
    assert {Path(name).suffix for name in expected} >= {".c", ".h", ".tsv", ".pth", ".ckpt", ".png", ".json", ".txt"}
    assert {name for name in names(wheel) if ".dist-info/" not in name} == expected


def test_the_licence_is_apache_2_and_its_text_is_in_the_wheel(wheel: Path):
    metadata = email.message_from_string(text(wheel, ".dist-info/METADATA"))
    assert (metadata["License-Expression"], metadata["License-File"]) == ("Apache-2.0", "LICENSE")
    licence = text(wheel, ".dist-info/licenses/LICENSE")
    assert licence == (ROOT / "LICENSE").read_text()
    assert licence.split()[:4] == ["Apache", "License", "Version", "2.0,"]


def test_what_its_answers_were_proved_with_is_among_what_it_can_be_installed_with(wheel: Path):
    metadata = email.message_from_string(text(wheel, ".dist-info/METADATA"))
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    proved = {name: version for line in lines if line and line[0] != "#" for name, version in [line.split("==")]}
    needed = [Requirement(line) for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert [requirement.name for requirement in needed] == list(proved)
    assert all(requirement.specifier.contains(proved[requirement.name]) for requirement in needed)
    assert not [str(requirement) for requirement in needed if "==" in str(requirement)]


def test_the_commands_are_those_of_the_modules(wheel: Path):
    scripts = ConfigParser()
    scripts.optionxform = str
    scripts.read_string(text(wheel, ".dist-info/entry_points.txt"))
    assert dict(scripts["console_scripts"]) == COMMANDS


def run(installed: Path, folder: Path, command: str, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, installed / "bin" / command, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_calls_itself_what_was_typed_and_ends_as_its_module_does(
    installed: Path, tmp_path: Path, command: str
):
    helped, wrong = run(installed, tmp_path, command, "--help"), run(installed, tmp_path, command)
    assert helped.returncode == 0 and helped.stdout.startswith(f"usage: {command} [-h]")
    assert wrong.returncode == 2 and wrong.stderr.startswith(f"usage: {command} [-h]")
    arguments = {"ms_seg": ["models", "nothing*"], "ms_seg-convert": ["nothing.pth", "x.ckpt"]}[command]
    refused = run(installed, tmp_path, command, *arguments)
    assert refused.returncode == 2 and "nothing" in refused.stderr and "\n" not in refused.stderr.strip()


def test_the_demonstration_runs_from_any_folder_with_what_is_installed(installed: Path, tmp_path: Path):
    result = run(installed, tmp_path, "ms_seg", "demo")
    assert result.returncode == 0, result.stderr
    assert list(tmp_path.rglob("*.png"))
