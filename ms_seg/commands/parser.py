"""The commands' parser: who passes an option that there is not is told the nearest."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Sequence
from typing import Any

# What other programs call them.
_ELSEWHERE = {
    "learning-rate": ("lr", "base-lr", "init-lr"),
    "weight-decay": ("wd", "l2"),
    "steps": ("epochs", "max-epochs", "num-epochs", "iters", "iterations", "max-iters", "max-steps", "num-steps"),
    "batch-size": ("bs", "batch", "samples-per-gpu"),
    "accumulate": ("grad-accum", "gradient-accumulation-steps", "accumulate-grad-batches"),
    "precision": ("amp", "fp16", "bf16", "half", "mixed-precision", "dtype"),
    "clip-norm": ("grad-clip", "clip-grad", "max-norm", "max-grad-norm", "gradient-clip-val"),
    "crop-size": ("imgsz", "img-size", "image-size", "input-size", "size"),
    "warmup-steps": ("warmup", "warmup-iters", "warmup-epochs"),
    "validate-every": ("val-interval", "eval-interval", "eval-every", "eval-steps", "check-val-every-n-epoch"),
    "keep-every": ("save-every", "save-interval", "save-steps", "save-freq", "checkpoint-interval"),
    "checkpoint": ("pretrained", "load-from", "weights-path", "init-from", "ckpt", "resume-from"),
    "output": ("work-dir", "save-dir", "out", "out-dir", "output-dir", "log-dir"),
    "data": ("data-root", "data-path", "data-dir", "dataset-path", "root"),
    "labels": ("classes", "words", "prompt", "prompts", "class-names"),
    "model": ("arch", "backbone", "config", "net"),
    "workers": ("num-workers", "workers-per-gpu", "nproc"),
    "device": ("gpu", "gpus", "cuda", "gpu-id"),
    "tta": ("aug-test", "multi-scale", "test-time-augmentation"),
    "score-threshold": ("conf", "confidence", "threshold", "thr"),
}
_TODAY = {word: name for name, words in _ELSEWHERE.items() for word in words}


class Parser(argparse.ArgumentParser):
    """Ends as argparse does, with exit code 2, and names the nearest options to one that is not known.

    prepare_help: is called with the options before --help, and may change what is shown.
    """

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **{**options, "add_help": False})
        self.prepare_help: Callable[[argparse.Namespace], None] = lambda known: None
        self.add_argument("-h", "--help", action=_Help, nargs=0, help="show this message and end")

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:
        for word in args or () if self._subparsers is None else ():
            option = word.partition("=")[0]
            if option == "--":
                break
            if option.startswith("--") and not any(known.startswith(option) for known in self._option_string_actions):
                self.error(f"there is no option {option}{self._nearest(option)}")
        return super().parse_known_args(args, namespace)

    def _nearest(self, option: str) -> str:
        name = option.removeprefix("--").replace("_", "-")
        shown = [action for action in self._actions if action.help != argparse.SUPPRESS]
        known = [known for action in shown for known in action.option_strings if known.startswith("--")]
        today = f"--{_TODAY.get(name)}"
        near = [today] if today in known else difflib.get_close_matches(f"--{name}", known, n=3, cutoff=0.75)
        return f"; the nearest {'is' if len(near) == 1 else 'are'} {', '.join(near)}" if near else ""


class _Help(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_: Any) -> None:
        if isinstance(parser, Parser):
            parser.prepare_help(namespace)
        parser.print_help()
        parser.exit()
