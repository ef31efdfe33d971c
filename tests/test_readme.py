"""The README, its Chinese twin and docs: their commands, their Python, what they point to."""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import re
import shlex
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path

import pytest

import ms_seg
from convert.__main__ import _parser as convert_parser
from ms_seg.__main__ import _parser as ms_seg_parser
from ms_seg.hub import find_address
from ms_seg.presets import find_preset, list_models

ROOT = Path(__file__).resolve().parents[1]
README, CHINESE = ROOT / "README.md", ROOT / "README_zh.md"
PAGES = [README, CHINESE, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PARSERS = {"ms_seg": ms_seg_parser, "ms_seg-convert": convert_parser, "convert": convert_parser}
# What "..." stands for in an example that is about one option alone.
LEFT_OUT = ("--model", "segformer_b0_ade20k", "--dataset", "folder", "--output", "runs/garden")

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"(?:ms_seg|convert|tests|scripts|docs)/[\w./-]+|[\w-]+\.(?:sh|md|txt|toml)")
_SEPARATORS = ("&&", "||", ";", "|")

Command = tuple[str, ...]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language, in their order."""
    return [text for kind, text in _FENCE.findall(page.read_text(encoding="utf-8")) if kind == language]


def prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def commands(page: Path) -> list[Command]:
    """The commands of a page in their order, a tuple of words each, without comments."""
    found = []
    for line in "".join(blocks(page, "bash")).replace("\\\n", " ").splitlines():
        words = iter(shlex.split(line, comments=True))
        while command := tuple(takewhile(lambda word: word not in _SEPARATORS, words)):
            found.append(command)
    return found


def invocation(command: Command) -> tuple[str, list[str]] | None:
    """The program of PARSERS that a command runs, also under msrun, and its arguments; None for other programs."""
    if command[0] in PARSERS:
        return command[0], list(command[1:])
    for place, word in enumerate(command[:-1]):
        if word == "-m" and command[0] in ("python", "msrun") and command[place + 1] in PARSERS:
            return command[place + 1], list(command[place + 2 :])
    return None


def parsed(program: str, arguments: list[str]) -> argparse.Namespace:
    """What the program's own parser makes of the arguments; AssertionError where it refuses them."""
    words = [part for word in arguments for part in (LEFT_OUT if word == "..." else (word,))]
    try:
        return PARSERS[program]().parse_args(words)
    except SystemExit as stopped:
        assert stopped.code == 0 and "--help" in words, f"{program} does not take {shlex.join(arguments)}"
        return argparse.Namespace()


def invocations() -> list[tuple[str, list[str]]]:
    found = {}
    for page in PAGES:
        for command in commands(page):
            if run := invocation(command):
                found[shlex.join((run[0], *run[1]))] = run
    return list(found.values())


def cases(language: str) -> Iterator[object]:
    """Every block of a language, named after its page and its place there."""
    for page in PAGES:
        for number, text in enumerate(blocks(page, language), start=1):
            yield pytest.param(text, id=f"{page.name}-{number}")


def anchors(page: Path) -> set[str]:
    """What a link can name behind #: the headings in lower case, with hyphens for spaces and without punctuation."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_both_readmes_have_the_same_commands_in_the_same_order():
    assert commands(README) == commands(CHINESE)


def test_both_readmes_have_the_same_python():
    ours, theirs = (list(map(ast.parse, blocks(page, "python"))) for page in (README, CHINESE))
    assert list(map(ast.dump, ours)) == list(map(ast.dump, theirs))


def test_both_readmes_link_to_the_same_pages_and_to_each_other_at_the_top():
    of_english, of_chinese = ([link for link in _LINK.findall(prose(page))] for page in (README, CHINESE))
    assert of_english[0] == CHINESE.name and of_chinese[0] == README.name
    assert sorted(of_english[1:]) == sorted(of_chinese[1:])


def test_both_readmes_name_the_same_models():
    ours, theirs = (
        sorted(
            code
            for code in _CODE.findall(prose(page))
            if code.startswith(("segformer_", "lseg_", "mask2former_", "vit_adapter_"))
        )
        for page in (README, CHINESE)
    )
    assert ours == theirs


def test_readme_leads_to_every_page_of_docs():
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert not pages - {link.partition("#")[0] for link in _LINK.findall(prose(README))}


def test_readme_names_every_published_model():
    text = prose(README)
    braces = re.findall(r"`(\w+)\{([^}]+)\}(\w*)`", text.replace("{0..5}", "{0,1,2,3,4,5}"))
    named = {f"{head}{choice}{tail}" for head, choices, tail in braces for choice in choices.split(",")}
    named |= set(_CODE.findall(text))
    assert not set(list_models()) - named


@pytest.mark.parametrize("page", [README, CHINESE], ids=lambda page: page.name)
def test_readme_begins_with_the_demo_and_the_tests(page: Path):
    first, second = blocks(page, "bash")[:2]
    assert first == "pip install -r requirements.txt && python -m ms_seg demo\n"
    assert second == "pip install -r requirements-dev.txt && python -m pytest\n"


def test_ci_runs_the_test_command_of_the_readme():
    assert blocks(README, "bash")[1] in (ROOT / ".ci/run").read_text().replace(" -q ", " ")


@pytest.mark.parametrize(("program", "arguments"), invocations(), ids=lambda part: " ".join(part)[:80])
def test_commands_are_ones_that_the_program_takes(program: str, arguments: list[str]):
    options = parsed(program, arguments)
    model = getattr(options, "model", None)
    assert model in (None, "auto", *list_models()) or find_address(model)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_run_scripts_that_exist_with_options_that_they_have(page: Path):
    scripts = [command for command in commands(page) if command[0] == "python" and command[1].endswith(".py")]
    for _, script, *arguments in scripts:
        source = (ROOT / script).read_text() + (ROOT / "scripts/lang_seg.py").read_text()
        for option in (word for word in arguments if word.startswith("--")):
            assert f'"{option}"' in source, f"{page.name}: {script} has no option {option}"


@pytest.mark.parametrize("text", cases("python"))
def test_python_names_what_exists(text: str):
    tree = ast.parse(text)
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name: importlib.import_module(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            assert not [alias.name for alias in node.names if not hasattr(module, alias.name)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            assert hasattr(modules[node.value.id], node.attr), f"{node.value.id} has no {node.attr}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("ms_seg.create_model", "ms_seg.Segmenter"):
            check_call(getattr(ms_seg, ast.unparse(node.func).removeprefix("ms_seg.")), node)


def check_call(called: Callable[..., object], node: ast.Call) -> None:
    """Raise where it takes no such arguments, and for a model that there is not, or that has no such field."""
    arguments = {keyword.arg: keyword.value for keyword in node.keywords}
    bound = inspect.signature(called).bind(*node.args, **arguments).arguments
    if called is ms_seg.create_model and (name := ast.literal_eval(bound["name"])) != "auto":
        fields = {key: value for key, value in bound.get("overrides", {}).items() if isinstance(value, ast.Constant)}
        find_preset(name).override(**{key: ast.literal_eval(value) for key, value in fields.items()})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_lead_somewhere(page: Path):
    for link in _LINK.findall(prose(page)):
        target, _, anchor = link.partition("#")
        if not link.startswith(("http://", "https://")):
            file = page.parent / target if target else page
            assert file.exists(), f"{page.name} points to {target}, which is not there"
            assert not anchor or anchor in anchors(file), f"{page.name} points to {link}: there is no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_folders_that_are_named_exist(page: Path):
    """Of the repository; a name in capitals stands for any."""
    named = [code for code in _CODE.findall(prose(page)) if _PATH.fullmatch(code) and not re.search("[A-Z]{3}", code)]
    mine = ("labels.txt", "labelmap.txt", "class_names.txt", "label_colors.txt", "val.txt")  # in a person's own dataset
    assert not [path for path in named if path not in mine and not (ROOT / path).exists()]


def test_the_house_of_the_guide_has_the_rooms_that_there_are():
    drawing = blocks(ROOT / "CONTRIBUTING.md", "")[0]
    inside = drawing.split("ms_seg/\n")[1].split("\ntests/")[0]
    drawn = re.findall(r"^  (\w+)/ ", inside, re.MULTILINE)
    rooms = [path.name for path in (ROOT / "ms_seg").iterdir() if (path / "__init__.py").is_file()]
    assert sorted(drawn) == sorted(rooms)
