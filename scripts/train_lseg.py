"""Train LSeg with the arguments of lang-seg's training:

python scripts/train_lseg.py --dataset ade20k --data_path ../datasets --exp_name lseg_ade20k_l16 --batch_size 1 \
--max_epochs 240 --accumulate_grad_batches 2 --vit-weights vit_large_patch16_384.pth --clip-weights ViT-B-32.pt

writes checkpoints/EXP_NAME/version_0. A run that was stopped goes on by the same command, as the original's does. Under
msrun --batch_size is that of each process. It is `python -m ms_seg train` with other names: see there for more.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from lang_seg import MODELS, add_head, add_unused, find_model, head_fields  # noqa: E402

from convert.exit_code import exit_code  # noqa: E402
from ms_seg import label_sets  # noqa: E402
from ms_seg.__main__ import main as ms_seg  # noqa: E402
from ms_seg.commands.device import add_device  # noqa: E402
from ms_seg.data.datasets import SEMANTIC, open_dataset, root_of  # noqa: E402
from ms_seg.presets import find_preset  # noqa: E402

RATE_OF = 16  # pictures at a time that --base_lr is meant for
RUNS, DRY_RUN = Path("checkpoints"), "dry_run"
FEATURES = 256

# The original takes these too, and they change nothing of what it trains.
_SWITCHES = ("--no-scaleinv", "--no-batchnorm", "--widehead", "--widehead_hr")
_VALUES = ("--num_nodes", "--project_name", "--dropout", "--aux-weight", "--se-weight", "--ignore_index")
# With these it fails: its network has one output, and its datasets do not know the mode.
_BROKEN = ("--aux", "--se-loss", "--augment")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    return exit_code("train_lseg", lambda: ms_seg(translate(options)))


def translate(options: argparse.Namespace) -> list[str]:
    """The `train` command that does the same; prints what the original prints before it begins.

    Raises ValueError for what the original cannot do either, and for a dataset that is not there.
    """
    for name in _BROKEN:
        if getattr(options, name.strip("-").replace("-", "_")):
            raise ValueError(f"{name} does not work in the original, and is not made to work here")
    model = find_model(options.backbone)
    if options.finetune_weights and (options.vit_weights or options.clip_weights):
        raise ValueError("--finetune_weights is a whole model: leave out --vit-weights and --clip-weights")
    processes = int(os.environ.get("MS_WORKER_NUM", "1"))
    pictures = [len(open_dataset(options.dataset, options.data_path, split)) for split in ("training", "validation")]
    of_a_step = options.batch_size * options.accumulate_grad_batches * processes
    if of_a_step < 1:
        raise ValueError("--batch_size and --accumulate_grad_batches must be 1 or more")
    epoch = 1 if options.dry_run else -(-pictures[0] // of_a_step)
    first = os.environ.get("MS_NODE_ID", "0") == "0" and os.environ.get("MS_ROLE") != "MS_SCHED"  # of msrun's processes
    run, resumed = _run_folder(options, first)
    if first:
        _announce(options, pictures, run if resumed else None)
    numbers = {
        "batch-size": of_a_step, "accumulate": options.accumulate_grad_batches,
        "steps": 1 if options.dry_run else epoch * options.max_epochs, "decay-every": epoch, "validate-every": epoch,
        **({"optimizer": "adam"} if options.midasproto else {"optimizer": "sgd", "momentum": options.momentum}),
        "learning-rate": options.base_lr / RATE_OF * options.batch_size, "weight-decay": options.weight_decay,
    }  # fmt: skip
    words = ["train", "--model", model, "--dataset", options.dataset, "--output", str(run)]
    words += [] if options.data_path is None else ["--data", options.data_path]
    words += [part for name, value in numbers.items() for part in (f"--{name}", str(value))]
    words += [part for override in _overrides(options) for part in ("--override", override)]
    for checkpoint in (options.finetune_weights, options.vit_weights, options.clip_weights):
        words += ["--checkpoint", checkpoint] if checkpoint else []
    words += ["--pictures", str(of_a_step)] if options.dry_run else []
    words += ["--resume"] if resumed else []
    words += ["--vocab", options.vocab] if options.vocab else []
    return [*words, "--device", options.device, *options.train]


def _overrides(options: argparse.Namespace) -> list[str]:
    """Fields of the model that are to be otherwise."""
    fields = {} if options.num_features == FEATURES else {"features": options.num_features}
    return [f"{name}={value}" for name, value in {**fields, **head_fields(options)}.items()]


def _run_folder(options: argparse.Namespace, first: bool) -> tuple[Path, bool]:
    """Where the run is kept, and whether it is there already: the newest version, or with --no_resume the one after."""
    if options.dry_run:
        folder = RUNS / options.exp_name / DRY_RUN
        if first:
            shutil.rmtree(folder, ignore_errors=True)  # the last one's
        return folder, False
    versions = [int(path.name[8:]) for path in (RUNS / options.exp_name).glob("version_*") if path.name[8:].isdecimal()]
    newest = max(versions, default=None)
    resumed = newest is not None and not options.no_resume
    if options.resume and not resumed:
        raise ValueError(f"there is no run in {RUNS / options.exp_name} to resume")
    version = newest if resumed else 0 if newest is None else newest + 1
    return RUNS / options.exp_name / f"version_{version}", resumed


def _announce(options: argparse.Namespace, pictures: Sequence[int], resumed: Path | None) -> None:
    """The original's first lines."""
    preset = find_preset(MODELS[options.backbone])
    rule, recipe = preset.preprocessing, preset.recipe
    mean, std = ([round(value / 255, 3) for value in part] for part in (rule.mean, rule.std))
    sizes = {"base_size": recipe.long_side, "crop_size": recipe.crop_size}
    print(f"** Use norm {mean}, {std} as the mean and std **")
    print(sizes)
    for mode, count in zip(("train", "val"), pictures, strict=True):
        print(mode)
        if mode == "train":
            print("BaseDataset: " + ", ".join(f"{name} {size}" for name, size in sizes.items()))
        if options.data_path is not None:
            print(options.data_path)
            print(f"---------{root_of(options.dataset, options.data_path)}")
        print(f"len(img_paths): {count}")
    names = Path(label_sets.__file__).with_name("ade20k_lang_seg.tsv")
    where = names if options.dataset == "ade20k" else f"that of the dataset {options.dataset}"
    print(f"label path is {where}")
    if resumed:
        print(f"Resuming checkpoint {resumed / 'checkpoints'}, exp_version={resumed.name.split('_')[1]}")
    if not options.finetune_weights:
        for part, weights in (("vit", options.vit_weights), ("clip", options.clip_weights)):
            if weights is None and resumed is None:
                print(f"there is no --{part}-weights: that part of the model is freshly initialised", file=sys.stderr)
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    about, _, epilog = __doc__.split("\n\n")
    parser = argparse.ArgumentParser(description=about.rstrip(":"), epilog=epilog)
    add = parser.add_argument
    add("--exp_name", required=True, metavar="NAME", help="of the run's folder, below checkpoints")
    add("--data_path", metavar="DIR", help="where the dataset lies")
    add("--dataset", choices=SEMANTIC, default="ade20k", help="(default: %(default)s)")
    add("--backbone", default="clip_vitl16_384", metavar="NAME", help=" or ".join(MODELS))
    add("--batch_size", type=int, default=16, metavar="N", help="pictures at a time (default: %(default)s)")
    add("--accumulate_grad_batches", type=int, default=1, metavar="N", help="of which so many make a step")
    add("--max_epochs", type=int, default=200, metavar="N", help="(default: %(default)s)")
    add("--base_lr", type=float, default=0.004, help=f"of {RATE_OF} pictures at a time (default: %(default)s)")
    add("--momentum", type=float, default=0.9, help="SGD's (default: %(default)s; the original's is always that)")
    add("--weight_decay", type=float, default=1e-4, help="(default: %(default)s)")
    add("--midasproto", action="store_true", help="Adam, not SGD")
    add("--num_features", type=int, default=FEATURES, metavar="N", help="the decoder's width (default: %(default)s)")
    add_head(parser, ("lrelu", "tanh"))
    add("--vit-weights", metavar="FILE", help="of timm's image transformer, to begin with")
    add("--clip-weights", metavar="FILE", help="OpenAI's archive, for the text transformer")
    add("--finetune_weights", metavar="FILE", help="a whole LSeg, to begin with")
    add("--vocab", metavar="FILE", help="CLIP's vocabulary, where it is not found by itself")
    add("--resume", action="store_true", help="go on with the newest run of that name: done anyway where there is one")
    add("--no_resume", action="store_true", help="begin another one")
    add("--dry-run", action="store_true", help="one step, on the first pictures alone")
    add("--train", nargs=argparse.REMAINDER, default=[], metavar="OPTION", help="last: options of ms_seg train")
    add_device(parser)
    add_unused(parser, "what is trained does", _SWITCHES, _VALUES)
    for name in _BROKEN:
        add(name, action="store_true", help="refused: it does not work in the original")
    return parser


if __name__ == "__main__":
    sys.exit(main())
