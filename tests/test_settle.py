"""When a file has stopped changing."""

from pathlib import Path

from cxr_edge.watch.settle import Look, SettleTracker

A, B = Path("a.jpg"), Path("b.jpg")


def test_a_file_has_settled_once_it_has_not_changed_for_the_settle_time():
    tracker = SettleTracker(settle_s=2)
    assert tracker.saw(A, Look(10, 1), now_s=0)
    assert not tracker.saw(A, Look(10, 1), now_s=1)
    assert tracker.settled(now_s=1.9) == []
    assert tracker.settled(now_s=2) == [(A, Look(10, 1))]
    assert tracker.settled(now_s=3) == []


def test_a_slow_writer_is_waited_for_however_long_it_takes():
    tracker = SettleTracker(settle_s=2)
    for second in range(1000):
        tracker.saw(A, Look(second, second), now_s=second)
        assert tracker.settled(now_s=second) == []
    assert tracker.settled(now_s=1001) == [(A, Look(999, 999))]


def test_a_file_that_is_replaced_by_one_of_its_size_and_time_is_waited_for_anew():
    tracker = SettleTracker(settle_s=2)
    tracker.saw(A, Look(10, 1, changed_ns=1), now_s=0)
    tracker.saw(A, Look(10, 1, changed_ns=2), now_s=1)
    assert tracker.settled(now_s=2) == []


def test_it_says_when_the_next_file_will_have_settled():
    tracker = SettleTracker(settle_s=2)
    assert tracker.next_s() is None
    tracker.saw(A, Look(1, 1), now_s=0)
    tracker.saw(B, Look(1, 1), now_s=1)
    assert tracker.next_s() == 2
    tracker.saw(A, Look(2, 2), now_s=1.5)
    assert tracker.next_s() == 3
    tracker.forget(B)
    assert tracker.next_s() == 3.5
