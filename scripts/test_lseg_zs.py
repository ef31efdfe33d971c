"""Zero-shot test of LSeg on a fold of PASCAL-5i, COCO-20i or FSS-1000, with the arguments of lang-seg's test:

python scripts/test_lseg_zs.py --backbone clip_resnet101 --dataset pascal --fold 0 --nshot 0 --weights fold0.ckpt

--datapath holds VOC2012, COCO2014 or FSS-1000. A test that was stopped is continued by the same command; its figures
are added to logs/fewshot/log_fewshot-test_nshotN_DATASET.txt.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from lang_seg import add_unused  # noqa: E402

import ms_seg  # noqa: E402
from convert.atomic import whole_file  # noqa: E402
from convert.exit_code import exit_code  # noqa: E402
from ms_seg.commands.device import add_device, add_mode, set_up_device  # noqa: E402
from ms_seg.data.few_shot import BENCHMARKS, FewShotFold, open_few_shot  # noqa: E402
from ms_seg.evaluation.few_shot import FewShotIoU, KeptFigures, evaluate_few_shot, figures_text  # noqa: E402
from ms_seg.evaluation.tally import file_stamp  # noqa: E402
from ms_seg.presets import Preset, find_preset  # noqa: E402

MODELS = {"clip_vitl16_384": "lseg_zs_vitl16", "clip_resnet101": "lseg_zs_resnet101"}
LOGS = Path("logs/fewshot")
ENCNET = "encnet"  # what the original's --model says, and never looks at

# The original takes these too, and they do not change its figures; --arch_option among them, because the zero-shot
# networks never make the block that it chooses, and --bsz, because pictures know nothing of each other.
_SWITCHES = (
    "--aux", "--se-loss", "--no-cuda", "--eval", "--acc-bn", "--test-val", "--no-val", "--no-scaleinv", "--widehead",
    "--widehead_hr", "--no-strict",
)  # fmt: skip
_VALUES = (
    "--workers", "--nworker", "--bsz", "--base-size", "--crop-size", "--train-split", "--se-weight", "--batch-size",
    "--test-batch-size", "--seed", "--module", "--ignore_index", "--jobname", "--use_pretrained", "--arch_option",
    "--benchmark", "--activation",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    return exit_code("test_lseg_zs", partial(run, options), "stopped: the same command continues")


def run(options: argparse.Namespace) -> None:
    """Test one fold, print its figures as the original does, and add them to the log."""
    preset = find_preset(_model(options))
    if options.weights is None:
        raise ValueError("there are no weights to test: pass their file as --weights")
    fold = open_few_shot(options.dataset, options.datapath, options.fold, options.splits, options.nshot)
    rule = preset.preprocessing
    print("use norm: {}, {}".format(*([round(value / 255, 3) for value in part] for part in (rule.mean, rule.std))))
    print(list(fold.names))
    print(f"Total (val) images are : {len(set(fold.queries))}; {len(fold)} episodes")
    LOGS.mkdir(parents=True, exist_ok=True)
    figures = _evaluate(options, preset, fold)
    report(options, figures)


def report(options: argparse.Namespace, figures: FewShotIoU) -> None:
    """The lines that the original prints and logs at the end."""
    between = " \t "
    print(f"\n*** Test [@Epoch 00] Avg L: {0:6.5f}  {figures_text(figures, '   ')}   ***\n")
    line = f"Fold {options.fold}, {options.nshot}-shot ==> {figures_text(figures, between)}"
    print(line)
    print("==================== Finished Testing ====================")
    log = LOGS / f"log_fewshot-test_nshot{options.nshot}_{options.dataset}.txt"
    before = log.read_text() if log.is_file() else ""
    with whole_file(log) as draft:
        draft.write_text(f"{before}{options.weights}\n{line}\n")


def _evaluate(options: argparse.Namespace, preset: Preset, fold: FewShotFold) -> FewShotIoU:
    set_up_device(options.device)
    model = ms_seg.create_model(preset.name, options.weights)
    from ms_seg.inference.zero_shot import find_things

    find = find_things(model, fold.names, options.mode, options.vocab)
    about = {
        "preset": repr(model.preset),
        "weights": file_stamp(Path(options.weights)),
        "device": options.device,
        "mode": options.mode,
        "vocab": options.vocab,
    }
    return evaluate_few_shot(fold, find, KeptFigures(LOGS, about, fold))


def _model(options: argparse.Namespace) -> str:
    """The name of the model: the backbone's, unless another is asked for. Raises ValueError if there is none."""
    if options.model != ENCNET:
        return options.model
    if options.backbone not in MODELS:
        raise ValueError(f"no zero-shot model has the backbone {options.backbone!r}: choose from {', '.join(MODELS)}")
    return MODELS[options.backbone]


def _parser() -> argparse.ArgumentParser:
    about, _, epilog = __doc__.split("\n\n")
    parser = argparse.ArgumentParser(description=about.rstrip(":"), epilog=epilog)
    add = parser.add_argument
    add("--backbone", default="resnet50", metavar="NAME", help=" or ".join(MODELS))
    add("--model", default=ENCNET, metavar="NAME", help="instead of --backbone: a model of ours, at its own input size")
    add("--weights", metavar="FILE", help="the checkpoint, as published or converted")
    add("--dataset", default="ade20k", metavar="NAME", help=", ".join(BENCHMARKS))
    add("--datapath", default="fewshot_data/Datasets_HSN", metavar="DIR", help="(default: %(default)s)")
    add("--splits", metavar="DIR", help="lang-seg's fewshot_data/data/splits, where it is not found by itself")
    add("--fold", type=int, default=0, help="0 to 3; FSS-1000 has one test only (default: %(default)s)")
    add("--nshot", type=int, default=1, help="support pictures, drawn but not looked at (default: %(default)s)")
    add("--vocab", metavar="FILE", help="CLIP's vocabulary, where it is not found by itself")
    add_device(parser)
    add_mode(parser)
    add_unused(parser, "the figures do", _SWITCHES, _VALUES)
    return parser


if __name__ == "__main__":
    sys.exit(main())
