#!/usr/bin/env python3
"""An ssh-like command: `slow_link.py [options] HOST COMMAND…` runs the command in a shell, in a session
of its own, and carries its three streams with a delay, as a line to another machine does.

--ms=N          the delay, each way
--cuts=N        the first N lines are cut, each after a number of bytes of answers drawn from --seed=S; of the
                very first, bytes from the first chunk on. This command is gone then, in the middle of a message
                most likely, and the other side reads the end of its input
--log=FILE      one line for each process started on the other side: its pid; --cuts counts by it
"""
import os
import queue
import random
import subprocess
import sys
import threading
import time

OPTIONS = {"ms": 20, "cuts": 0, "seed": 0, "log": None}
MOST_BYTES = 6000  # before a cut: a greeting, a model and some tokens


class Cut:
    """When a line is cut: takes note of what it carries, and says how much of it still gets through."""

    def __init__(self, n_earlier):
        self.is_due = n_earlier < int(OPTIONS["cuts"])
        self.waits_for = b"stream.chunk" if n_earlier == 0 else b""
        self.left = random.Random(f"{OPTIONS['seed']} {n_earlier}").randrange(1, MOST_BYTES)

    def passes(self, data):
        if not self.is_due or self.waits_for not in data:
            return len(data)
        self.waits_for = b""
        n = min(self.left, len(data))
        self.left -= n
        return n

    def is_now(self):
        return self.is_due and self.left == 0


def carry(source, sink, delay, cut=None):
    """Bytes keep their order and their distances; the end is carried as well. Cut: 255, as ssh does."""
    line = queue.Queue()

    def deliver():
        while True:
            due, data = line.get()
            time.sleep(max(0, due - time.monotonic()))  # the delay is what this is for
            rest = data[:cut.passes(data)] if cut else data
            while rest:
                rest = rest[os.write(sink, rest):]
            if cut and cut.is_now():
                os._exit(255)
            if not data:
                break
        os.close(sink)

    thread = threading.Thread(target=deliver, daemon=True)
    thread.start()
    while True:
        data = os.read(source, 1 << 16)
        line.put((time.monotonic() + delay, data))
        if not data:
            return thread


def main(argv):
    while argv and argv[0].startswith("--"):
        name, _, value = argv.pop(0)[2:].partition("=")
        OPTIONS[name] = value
    argv.pop(0)  # the host's name
    delay, cut = int(OPTIONS["ms"]) / 1000, None
    there = subprocess.Popen(["/bin/sh", "-c", "exec " + " ".join(argv)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, start_new_session=True)
    if OPTIONS["log"]:
        with open(OPTIONS["log"], "a") as log:
            with open(OPTIONS["log"]) as earlier:
                cut = Cut(len(earlier.readlines()))
            log.write(f"{there.pid}\n")
    threading.Thread(target=carry, args=(0, there.stdin.fileno(), delay), daemon=True).start()
    carry(there.stdout.fileno(), 1, delay, cut).join()
    sys.exit(there.wait())


if __name__ == "__main__":
    main(sys.argv[1:])
