"""Trains the embedded SegFormer of the demo in PyTorch, on the drawn world, and writes ms_seg/assets.

    python scripts/make_demo_checkpoint.py [--steps 10000] [--seed 0] [--output ms_seg/assets]

The network is transformers' own class: what comes out is a PyTorch checkpoint like the published ones, together with
two held-out pictures, their truth, the logits PyTorch gives for them and a record of how it was made. Needs torch,
transformers, NumPy and OpenCV, not MindSpore; about half an hour of processor time, on two cores. The same seed,
thread count and versions give the same weights.
"""

import argparse
import datetime
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import torch
import torch.nn.functional as F
import transformers
from torch import nn
from transformers import SegformerConfig, SegformerForSemanticSegmentation

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ms_seg.data.drawn.scenes import SHAPES_LABELS, Scene, draw_scene

ASSETS = Path(__file__).resolve().parents[1] / "ms_seg" / "assets"
ARCHITECTURE = {  # under 4 MB as float32; what is not named here is SegformerConfig's default
    "hidden_sizes": [24, 48, 96, 128],
    "depths": [1, 2, 2, 1],
    "num_attention_heads": [1, 2, 4, 8],
    "sr_ratios": [8, 4, 2, 1],
    "patch_sizes": [7, 3, 3, 3],
    "strides": [4, 2, 2, 2],
    "mlp_ratios": [4, 4, 4, 4],
    "decoder_hidden_size": 96,
}
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)  # ImageNet's, as in the published SegFormer recipes
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)

TRAINING_SIZE, CROP, BATCH = (160, 160), 128, 8
LEARNING_RATE, WEIGHT_DECAY, WARM_UP = 2.5e-3, 0.01, 0.1  # the last is a share of the steps

# Training pictures have the seeds from 0 on. Nothing is chosen by the held-out score: it is measured once, at the end.
WATCHED_SEED, WATCHED = 900_000, 30
HELD_OUT_SEED, HELD_OUT = 1_000_000, 200
HELD_OUT_SIZES = [(160, 160), (192, 256), (128, 192)]  # in turn
EXAMPLE_SEED, EXAMPLE_SIZES = 2_000_000, [(192, 256), (192, 192)]


def normalised(pictures: np.ndarray) -> torch.Tensor:
    """(N, H, W, 3) uint8 RGB to (N, 3, H, W) float32, as the demo feeds them."""
    return (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD


def drawn(job: tuple[int, tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Picture and label map of a (seed, size), for worker processes."""
    cv2.setNumThreads(1)
    scene = draw_scene(*job)
    return scene.picture, scene.label_map


def draw_training_set(count: int) -> tuple[np.ndarray, np.ndarray]:
    pictures = np.empty((count, *TRAINING_SIZE, 3), np.uint8)
    label_maps = np.empty((count, *TRAINING_SIZE), np.uint8)
    with multiprocessing.Pool(2) as pool:
        jobs = ((seed, TRAINING_SIZE) for seed in range(count))
        for seed, (picture, label_map) in enumerate(pool.imap(drawn, jobs, chunksize=50)):
            pictures[seed], label_maps[seed] = picture, label_map
            if (seed + 1) % 1000 == 0:
                print(f"drawn {seed + 1}/{count} pictures", flush=True)
    return pictures, label_maps


def batches(rng: np.random.Generator, pictures: np.ndarray, label_maps: np.ndarray) -> Iterator[tuple]:
    """Endless batches of random crops, half of them mirrored: (BATCH, CROP, CROP, 3) and (BATCH, CROP, CROP) uint8."""
    while True:
        order = rng.permutation(len(pictures))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            chosen = []
            for index in order[start : start + BATCH]:
                y, x = (rng.integers(side - CROP + 1) for side in TRAINING_SIZE)
                window = (slice(y, y + CROP), slice(x, x + CROP))
                direction = 1 - 2 * rng.integers(2)
                chosen.append([whole[index][window][:, ::direction] for whole in (pictures, label_maps)])
            yield tuple(np.stack(parts) for parts in zip(*chosen, strict=True))


def initialise(model: nn.Module) -> None:
    """Scales weights by their fan: the library's normal(0, 0.02) is for wide layers and leaves narrow ones mute."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
        elif isinstance(module, nn.Conv2d):
            fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
            nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)


def train(
    model: SegformerForSemanticSegmentation, steps: int, seed: int, pictures: np.ndarray, label_maps: np.ndarray
) -> None:
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps, pct_start=WARM_UP)
    source = batches(np.random.default_rng(seed), pictures, label_maps)
    started, losses = time.monotonic(), []
    model.train()
    for step in range(1, steps + 1):
        picture, label_map = next(source)
        logits = model(pixel_values=normalised(picture)).logits
        logits = F.interpolate(logits, size=(CROP, CROP), mode="bilinear", align_corners=False)
        loss = F.cross_entropy(logits, torch.from_numpy(label_map).long())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if step % 100 == 0 or step == steps:
            left = (time.monotonic() - started) / step * (steps - step) / 60
            print(f"step {step}/{steps}  loss {np.mean(losses[-100:]):.3f}  {left:.1f} min left", flush=True)
        if step % 1000 == 0:
            print(f"watched mIoU {np.mean(score(model, WATCHED_SEED, WATCHED)):.4f}", flush=True)


@torch.no_grad()
def predict(model: SegformerForSemanticSegmentation, picture: np.ndarray) -> torch.Tensor:
    """Logits (1, C, H/4, W/4) of a picture (H, W, 3) at its own size, with dropout off and running statistics used."""
    was_training = model.training
    logits = model.eval()(pixel_values=normalised(picture[None])).logits
    model.train(was_training)
    return logits


def score(model: SegformerForSemanticSegmentation, first_seed: int, count: int) -> np.ndarray:
    """IoU of each class (C,), from one confusion matrix over all pixels of the pictures at their own size."""
    classes = len(SHAPES_LABELS.names)
    confusion = np.zeros((classes, classes), np.int64)  # truth, prediction
    for index in range(count):
        scene = draw_scene(first_seed + index, HELD_OUT_SIZES[index % len(HELD_OUT_SIZES)])
        logits = F.interpolate(
            predict(model, scene.picture), size=scene.label_map.shape, mode="bilinear", align_corners=False
        )
        pairs = scene.label_map.astype(np.int64) * classes + logits[0].argmax(0).numpy()
        confusion += np.bincount(pairs.ravel(), minlength=classes**2).reshape(classes, classes)
    hits = np.diag(confusion)
    return hits / (confusion.sum(0) + confusion.sum(1) - hits)


def choose_examples() -> tuple[list[int], list[Scene]]:
    """The first two neighbouring seeds whose pictures show every class between them."""
    seed = EXAMPLE_SEED
    while True:
        seeds = [seed + index for index in range(len(EXAMPLE_SIZES))]
        scenes = [draw_scene(*job) for job in zip(seeds, EXAMPLE_SIZES, strict=True)]
        if len(np.unique(np.concatenate([scene.label_map.ravel() for scene in scenes]))) == len(SHAPES_LABELS.names):
            return seeds, scenes
        seed += 1


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """The file appears under its name only when it is whole."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        os.chmod(temporary, 0o644)  # mkstemp's files are for their owner alone
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    print(f"{path}: {path.stat().st_size} bytes")


def write_png(path: Path, pixels: np.ndarray) -> None:
    """(H, W, 3) RGB or (H, W) indices, uint8."""
    bgr = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    _, encoded = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    write_whole(path, lambda file: file.write(encoded.tobytes()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--pictures", type=int, default=6000, help="how many different pictures to train on")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the order of training")
    parser.add_argument("--output", type=Path, default=ASSETS)
    options = parser.parse_args()
    if options.steps < 1 or options.pictures < BATCH:
        parser.error(f"--steps must be at least 1 and --pictures at least {BATCH}")
    options.output.mkdir(parents=True, exist_ok=True)

    torch.set_num_threads(2)  # sums depend on the number of threads
    torch.manual_seed(options.seed)
    started = time.monotonic()
    pictures, label_maps = draw_training_set(options.pictures)
    config = SegformerConfig(
        **ARCHITECTURE,
        num_labels=len(SHAPES_LABELS.names),
        drop_path_rate=0.0,  # too small a network to need it
        classifier_dropout_prob=0.0,
    )
    model = SegformerForSemanticSegmentation(config)
    initialise(model)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{parameters} parameters; training on {len(pictures)} pictures", flush=True)
    train(model, options.steps, options.seed, pictures, label_maps)

    model.eval()
    iou = score(model, HELD_OUT_SEED, HELD_OUT)
    for name, value in zip(SHAPES_LABELS.names, iou, strict=True):
        print(f"{name:10} {value:.4f}")
    print(f"mIoU on {HELD_OUT} held-out pictures: {iou.mean():.4f}")

    seeds, scenes = choose_examples()
    record = {
        "made_by": "scripts/make_demo_checkpoint.py",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "steps": options.steps,
        "batch": BATCH,
        "seed": options.seed,
        "training_pictures": options.pictures,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "parameters": parameters,
        "architecture": ARCHITECTURE,
        "held_out": {
            "pictures": HELD_OUT,
            "first_seed": HELD_OUT_SEED,
            "sizes": HELD_OUT_SIZES,
            "mIoU": round(float(iou.mean()), 4),
            "IoU": {name: round(float(value), 4) for name, value in zip(SHAPES_LABELS.names, iou, strict=True)},
        },
        "examples": [{"seed": seed, "size": size} for seed, size in zip(seeds, EXAMPLE_SIZES, strict=True)],
    }
    logits = {}
    for number, scene in enumerate(scenes, 1):
        write_png(options.output / f"shapes_{number}.png", scene.picture)
        write_png(options.output / f"shapes_{number}.truth.png", scene.label_map)
        logits[f"shapes_{number}"] = predict(model, scene.picture).numpy()
    name = "segformer_tiny_shapes"
    write_whole(options.output / f"{name}.logits.npz", lambda file: np.savez_compressed(file, **logits))
    write_whole(options.output / f"{name}.pth", lambda file: torch.save(model.state_dict(), file))
    text = json.dumps(record, indent=2) + "\n"
    write_whole(options.output / f"{name}.json", lambda file: file.write(text.encode()))


if __name__ == "__main__":
    main()
