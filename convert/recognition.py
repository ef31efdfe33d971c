"""Which published layout a checkpoint has, what stands before its names, and what stands beside the model in it."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from convert.layouts import LAYOUTS
from convert.layouts.beside import reason_to_drop
from convert.layouts.names import any_of
from convert.layouts.others import refuse_others
from convert.layouts.row import NATIVE, Layout
from convert.plan import Source
from convert.reading import Checkpoint, CheckpointError, Entry

MAX_DEPTH = 6  # words in a prefix
LEAST_SHARE = 0.2  # of all names that begin with a prefix
_SAMPLE = 64  # names by which what cannot be is told from what can
_AVERAGE = re.compile(r"(^|[._])(ema|averaged?|avg|shadow)([._]|$)")


@dataclass(frozen=True)
class _Fit:
    """A layout that knows `count` names of a file once `prefix` is taken off and `missing` put before them; `accounted`
    are these and those that it drops."""

    layout: Layout
    prefix: str
    missing: str
    count: int
    accounted: int


def recognise(tensors: Mapping[str, Entry], weights: str = "", drop: Sequence[str] = ()) -> Source:
    """The layout that knows most of the names.

    Whatever all names of a model share is a prefix: it is found, and taken off. So is the beginning that all names of a
    layout share, where a file lacks it. Tensors that a training leaves beside a model are dropped, see
    `layouts.beside`, and those whose names match a shell-style pattern of `drop`.

    weights: of a file with several sets of them, such as "teacher" and "student", the one that is meant.
    Raises CheckpointError when no layout knows any name, for several sets of which none is chosen or another than there
    are, for a model of a known other kind, and for a pattern that matches nothing.
    """
    refuse_others(tensors)
    sets = (tensors.taken, *tensors.others) if isinstance(tensors, Checkpoint) and tensors.taken else ()
    if weights in sets[:1]:  # reading has chosen it
        weights = ""
    dropped = _dropped_by_hand(tensors, drop)
    names = [name for name in tensors if name not in dropped]
    fits = _fits(names)
    if not fits:
        some, titles = ", ".join(names[:3]), "; ".join(dict.fromkeys(layout.title for layout in LAYOUTS))
        raise CheckpointError(f"no known layout has names such as {some}. Known are: {titles}")
    best, others = _choose(fits, weights, sets)
    keys = {best.missing + name[len(best.prefix) :]: name for name in names if name.startswith(best.prefix)}
    if weights and not others and _AVERAGE.search(weights):
        keys, dropped = _underscored_averages(keys, tensors, dropped, weights)
    known = _knows(best.layout, dropping=True)
    for name in set(names).difference(keys.values()):
        other = next((_word(fit.prefix) for fit in others if name.startswith(fit.prefix)), "")
        reason = f"another set of weights: --weights {other} takes it" if other else reason_to_drop(name)
        if reason:
            dropped[name] = reason
    for name, key in keys.items():
        if known.fullmatch(name) is None and (reason := reason_to_drop(name)):
            dropped[key] = reason
    dropped = {name: dropped[name] for name in tensors if name in dropped}
    return Source(best.layout, best.prefix, tensors, best.missing, keys, dropped)


def _fits(names: Sequence[str]) -> list[_Fit]:
    """What the names can be, the best first; of equals, the layout that promises less, then the shorter prefix.

    A layout must give a name of ours to some of them: those that it only drops could be anybody's.
    """
    sample, prefixes = names[:: max(1, len(names) // _SAMPLE)], _prefixes(names)
    fits = []
    for layout in sorted(LAYOUTS, key=lambda layout: not layout.covers):
        knows, beginnings = _knows(layout), ("", *_beginnings(layout))
        for prefix in prefixes:
            for missing in beginnings:
                if _count(sample, knows, prefix, missing):
                    count = _count(names, knows, prefix, missing)
                    accounted = _count(names, _knows(layout, dropping=True), prefix, missing)
                    fits.append(_Fit(layout, prefix, missing, count, accounted))
    return sorted(fits, key=lambda fit: (-fit.accounted, -fit.count))


def _count(names: Iterable[str], knows: re.Pattern[str], prefix: str, missing: str) -> int:
    if not missing:
        return sum(name.startswith(prefix) and knows.fullmatch(name, len(prefix)) is not None for name in names)
    return sum(name.startswith(prefix) and knows.fullmatch(missing + name[len(prefix) :]) is not None for name in names)


@cache
def _knows(layout: Layout, dropping: bool = False) -> re.Pattern[str]:
    """Matches what the layout gives a name of ours; with dropping, also what it drops."""
    return any_of([pattern for row in layout.rows if row.ours or dropping for pattern in row.theirs])


@cache
def _beginnings(layout: Layout) -> tuple[str, ...]:
    """What all names of a published layout begin with, word by word: files are met without it."""
    if layout.name.startswith(NATIVE):
        return ()
    words = [pattern.split(".")[:-1] for row in layout.rows if row.ours for pattern in row.theirs]
    shared: list[str] = []
    for level in zip(*words, strict=False):
        if len(set(level)) > 1 or "{" in level[0]:
            break
        shared.append(level[0] + ".")
    return tuple("".join(shared[: count + 1]) for count in range(len(shared)))


def _prefixes(names: Sequence[str]) -> list[str]:
    """What many of the names begin with, the empty prefix first."""
    counts: Counter[str] = Counter()
    for name in names:
        words = name.split(".")[:-1][:MAX_DEPTH]
        counts.update(".".join(words[:depth]) + "." for depth in range(1, len(words) + 1))
    least = max(1, int(LEAST_SHARE * len(names)))
    return ["", *sorted((prefix for prefix, count in counts.items() if count >= least), key=len)]


def _choose(fits: Sequence[_Fit], weights: str, read: Sequence[str]) -> tuple[_Fit, list[_Fit]]:
    """The fit that is meant, and those of other sets of weights of the same network. read: sets that the file has apart
    from prefixes."""
    best = fits[0]
    sets = [
        fit
        for fit in fits
        if (fit.layout, fit.missing) == (best.layout, best.missing)
        and fit.prefix
        and fit.accounted * 10 >= best.accounted * 9
    ]
    sets = sets if best.prefix and len(sets) > 1 else [best]
    if len(sets) == 1:
        if weights and weights not in (_word(best.prefix), best.prefix.rstrip(".")) and not _AVERAGE.search(weights):
            known = f": it has {', '.join(read)}" if read else ""
            raise CheckpointError(f"the file has no weights {weights!r}{known}")
        return best, []
    words = {_word(fit.prefix): fit for fit in sets}
    if weights:
        chosen = next((fit for word, fit in words.items() if weights in (word, fit.prefix.rstrip("."))), None)
        if chosen is None:
            raise CheckpointError(f"the file has no weights {weights!r}: it has {', '.join(words)}")
    else:
        own = [fit for fit in sets if not _AVERAGE.search(fit.prefix)]
        if len(own) != 1:
            raise CheckpointError(f"the file holds several sets of weights, {', '.join(words)}: choose by --weights")
        chosen = own[0]
    return chosen, [fit for fit in sets if fit is not chosen]


def _word(prefix: str) -> str:
    """The name of a set of weights: the first word of its prefix."""
    return prefix.split(".")[0]


def _underscored_averages(
    keys: Mapping[str, str], tensors: Mapping[str, Entry], dropped: Mapping[str, str], weights: str
) -> tuple[dict[str, str], dict[str, str]]:
    """mmcv's EMAHook keeps the average of a.b beside it, as ema_a_b; "ema" asks for those in place of the others."""
    averages = {name: f"ema_{key.replace('.', '_')}" for name, key in keys.items()}
    kept = {average for average in averages.values() if average in tensors}
    if not kept:
        raise CheckpointError(f"the file has no weights {weights!r} beside the model's own")
    chosen = {name: averages[name] if averages[name] in kept else key for name, key in keys.items() if key not in kept}
    replaced = {
        key: f"its average is taken: --weights {weights}" for name, key in keys.items() if averages[name] in kept
    }
    return chosen, {**dropped, **replaced}


def _dropped_by_hand(tensors: Mapping[str, Entry], patterns: Sequence[str]) -> dict[str, str]:
    dropped: dict[str, str] = {}
    for pattern in patterns:
        found = fnmatch.filter(tensors, pattern)
        if not found:
            raise CheckpointError(f"--drop {pattern} matches none of the file's {len(tensors)} tensors")
        dropped |= dict.fromkeys(found, f"--drop {pattern}")
    return dropped
