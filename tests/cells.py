"""Code that is run as a notebook runs it, and what a check says to it."""

import linecache
import threading

from mnist_basics.workshop.checking import SAYS


def as_a_cell(code, namespace):
    """Run code as a notebook does: in `__main__`, its source known by line."""
    name = f"<cell {len(linecache.cache)}>"
    linecache.cache[name] = (len(code), None, code.splitlines(True), name)
    exec(compile(code, name, "exec"), namespace)


def defined(code, name="attempt"):
    """A function that a reader has defined in a cell."""
    namespace = {"__name__": "__main__"}
    as_a_cell(code, namespace)
    return namespace[name]


RUNNING = threading.Event()
SAY_SO = "__import__('cells').RUNNING.set()"  # for an attempt to say that it runs


class Alarm(threading.Timer):
    """An alarm clock that goes off when an attempt runs, however late that is."""

    def start(self):
        RUNNING.clear()
        super().start()

    def run(self):
        RUNNING.wait()
        self.interval = 0
        super().run()

    def cancel(self):
        super().cancel()
        RUNNING.set()


def say(check, key, **details):
    return SAYS[key].format(name=check.name, **details)


def flat(text):
    return " ".join(text.split())
