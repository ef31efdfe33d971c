"""Stages that overlap: the results of one after the other, sooner, with few items in memory."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace

import pytest

from ms_seg.inference import pipeline
from ms_seg.inference.pipeline import Stages

PATIENCE = 20  # seconds, after which a stage that waits for another has waited in vain


class Watch:
    """Stages that count what they do; an item is a number, which doubles as its size and its kind."""

    def __init__(self, batch_size=1, pixels=lambda item: 1, kind=lambda item: 0, **broken):
        self.broken, self.batches, self.threads = broken, [], {}
        self.alive = self.most = 0
        self.lock = threading.Lock()
        self.stages = Stages(self.read, self.run, self.finish, kind, pixels, batch_size)

    def __call__(self, items):
        return list(self.stages(items))

    def note(self, stage, item, change=0):
        with self.lock:
            self.threads.setdefault(stage, set()).add(threading.current_thread())
            self.alive += change
            self.most = max(self.most, self.alive)
        if item in self.broken.get(stage, ()):
            self.alive -= 1
            raise self.broken.get("error", ValueError)(f"{stage} {item}")

    def read(self, item):
        self.note("read", item, +1)
        return item

    def run(self, batch):
        for item in batch:
            self.note("run", item)
        self.batches.append(list(batch))
        return [-item for item in batch]

    def finish(self, item, made):
        self.note("finish", item, -1)
        return made, item


def outcomes(results):
    return [(item, str(result) if isinstance(result, Exception) else result) for item, result in results]


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_results_come_in_the_order_of_the_items(batch_size):
    watch = Watch(batch_size)
    assert watch(range(10)) == [(item, (-item, item)) for item in range(10)]
    assert sum(watch.batches, []) == list(range(10))
    assert max(map(len, watch.batches)) == min(batch_size, 10)


def test_there_may_be_no_items():
    assert Watch()([]) == []


def test_the_caller_alone_runs_and_the_others_have_a_thread_each():
    watch = Watch()
    watch(range(20))
    assert watch.threads["run"] == {threading.current_thread()}
    assert len(watch.threads["read"]) == len(watch.threads["finish"]) == 1
    assert len(set.union(*watch.threads.values())) == 3


def test_the_next_item_is_read_and_the_last_one_finished_while_one_is_run():
    read, ran = threading.Event(), threading.Event()

    class Waiting(Watch):
        def read(self, item):
            if item == 2:
                read.set()
            return super().read(item)

        def run(self, batch):
            if batch == [1]:
                assert read.wait(PATIENCE), "item 2 is read while item 1 is run"
                ran.set()
            return super().run(batch)

        def finish(self, item, made):
            if item == 0:
                assert ran.wait(PATIENCE), "item 1 is run while item 0 is finished"
            return super().finish(item, made)

    assert len(Waiting()(range(4))) == 4


def test_several_are_finished_at_once_and_come_in_order():
    both = threading.Barrier(2, timeout=PATIENCE)

    class Meeting(Watch):
        def finish(self, item, made):
            both.wait()
            return super().finish(item, made)

    watch = Meeting()
    watch.stages = replace(watch.stages, finishers=2)
    assert [item for item, _ in watch(range(6))] == list(range(6))


@pytest.mark.parametrize("batch_size", [1, 4])
def test_few_items_are_in_the_stages_at_once(batch_size):
    watch = Watch(batch_size)
    watch(range(200))
    assert watch.most <= 4 * batch_size + 3


def test_large_items_are_not_read_ahead():
    watch = Watch(pixels=lambda item: pipeline.MAX_PIXELS)
    assert len(watch(range(12))) == 12
    assert watch.most <= 2  # the size of the first one is not known before it is read


def test_large_items_do_not_wait_for_a_batch_that_has_no_room():
    watch = Watch(batch_size=8, pixels=lambda item: pipeline.MAX_PIXELS // 2)
    assert len(watch(range(12))) == 12


def test_only_items_of_one_kind_are_run_together():
    watch = Watch(batch_size=4, kind=lambda item: item // 3)
    watch(range(8))
    assert watch.batches == [[0, 1, 2], [3, 4, 5], [6, 7]]


@pytest.mark.parametrize("stage", ["read", "run", "finish"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_what_is_wrong_with_one_item_leaves_the_others_alone(stage, batch_size):
    watch = Watch(batch_size, **{stage: {0, 3, 9}})
    assert outcomes(watch(range(10))) == [
        (item, f"{stage} {item}" if item in (0, 3, 9) else (-item, item)) for item in range(10)
    ]


@pytest.mark.parametrize("stage", ["read", "run", "finish"])
def test_another_error_ends_it_in_its_turn(stage):
    watch = Watch(error=OSError, **{stage: {5}})
    done = []
    with pytest.raises(OSError, match=f"{stage} 5"):
        done.extend(item for item, _ in watch.stages(range(100)))
    assert set(sum(watch.batches, [])) <= set(range(9))


def test_closing_it_ends_the_threads_and_begins_nothing_more():
    watch = Watch()
    with closing(watch.stages(range(100))) as results:
        next(results)
    begun = list(watch.batches)
    assert len(begun) < 6
    assert not any(thread.is_alive() for stage in ("read", "finish") for thread in watch.threads[stage])
