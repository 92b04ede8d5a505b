"""A call is stopped when its time is up, and left alone when it ends in time."""

import signal
import sys
import threading

import pytest
from cells import SAY_SO, defined

from mnist_basics.workshop.stopping import TooLong, call_within

pytestmark = pytest.mark.filterwarnings("error")


def attempted(code):
    """What comes of calling an attempt made of these lines, which says that it runs."""
    lines = f"{SAY_SO}\n{code}".replace("\n", "\n    ")
    attempt = defined(f"import time, torch\ndef attempt():\n    {lines}")
    try:
        return call_within(600, attempt)
    except TooLong:
        return TooLong


def in_a_thread(function, *args):
    """What a function returns that is called in another thread."""
    came = []
    thread = threading.Thread(target=lambda: came.append(function(*args)), daemon=True)
    thread.start()
    thread.join(600)
    return came.pop()


@pytest.mark.parametrize(
    "code",
    ["while True: pass", "try:\n    while True: pass\nexcept: pass\nwhile True: pass"],
    ids=["plain", "caught"],
)
def test_an_endless_loop_is_stopped_in_a_thread_too(alarm, code):
    assert attempted(code) is TooLong
    assert in_a_thread(attempted, code) is TooLong


def test_a_call_that_ends_in_time_is_left_alone():
    assert call_within(5, max, 3, 7) == 7
    with pytest.raises(ZeroDivisionError):
        call_within(5, lambda: 1 / 0)
    left = [t for t in threading.enumerate() if isinstance(t, threading.Timer)]
    assert not left, "no alarm clock is left ticking"


SWALLOWS = {
    "all": "while True:\n    try: pass\n    except: pass",
    "torch": "while True:\n    try: torch.ones(9).sum()\n    except: pass",
    "sleep": "while True:\n    try: time.sleep(12)\n    except BaseException: pass",
    "twice": (
        "while True:\n    try:\n        try: time.sleep(12)\n        except: pass\n"
        "    except BaseException: pass"
    ),
    "finally": "while True:\n    try: time.sleep(12)\n    finally: continue",
    "function": (
        "def calm():\n    try: time.sleep(12)\n    except: pass\n"
        "while True:\n    try: calm()\n    except: pass"
    ),
}


@pytest.mark.parametrize("code", SWALLOWS.values(), ids=SWALLOWS)
def test_an_attempt_is_stopped_whatever_it_swallows(alarm, code):
    hook = sys.unraisablehook
    assert attempted(code) is TooLong and sys.unraisablehook is hook
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_sleep_is_interrupted(alarm):
    assert attempted("time.sleep(600)") is TooLong


class Late(threading.Timer):
    """A clock that goes off when the call has just come back, and not before."""

    def start(self):
        pass

    def join(self):
        pass

    def cancel(self):
        ringing = threading.Thread(target=self.function)
        ringing.start()
        while self.function.__self__.rings < 3:
            len("whatever is on its way arrives here")
        self.finished.set()
        ringing.join()


def rounds():
    came = []
    for n in range(400):  # the time is up just as the call ends
        try:
            call_within(1e-6, sum, range(n * 40))
            came.append("back")
        except TooLong:
            came.append("stopped")
    return len(came)


def late():
    return call_within(600, max, 3, 7)


@pytest.mark.parametrize("in_main", [True, False])
@pytest.mark.parametrize(
    "clock, calls, came", [(threading.Timer, rounds, 400), (Late, late, 7)]
)
def test_nothing_is_raised_once_a_call_is_back(
    monkeypatch, in_main, clock, calls, came
):
    monkeypatch.setattr("threading.Timer", clock)
    assert (calls() if in_main else in_a_thread(calls)) == came


def test_the_readers_own_signals_are_left_alone():
    def own(number, frame):
        raise KeyError("mine")

    before = signal.signal(signal.SIGALRM, own)
    try:
        call_within(5, max, 3, 7)
        assert signal.getsignal(signal.SIGALRM) is own
        with pytest.raises(KeyError, match="mine"):
            signal.raise_signal(signal.SIGALRM)
    finally:
        signal.signal(signal.SIGALRM, before)
    ctrl_c = signal.signal(signal.SIGINT, signal.default_int_handler)  # under nohup …
    try:  # … it is ignored
        with pytest.raises(KeyboardInterrupt):
            call_within(5, signal.raise_signal, signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, ctrl_c)
    assert signal.getsignal(signal.SIGALRM) is before
