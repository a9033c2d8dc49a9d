#!/usr/bin/env python3
"""An ssh-like command: `slow_link.py [options] HOST COMMAND…` runs the command in a shell, in a session
of its own, and carries its three streams with a delay, as a line to another machine does.

--ms=N          the delay, each way
--cut-after=N   the first line is cut after so many bytes of answers: this command is gone, in the middle
                of a message maybe, and the other side reads the end of its input
--log=FILE      one line for each process started on the other side: its pid
"""
import os
import queue
import subprocess
import sys
import threading
import time

OPTIONS = {"ms": 20, "cut-after": 0, "log": None}


def carry(source, sink, delay, budget=0):
    """Bytes keep their order and their distances; the end is carried as well. Cut: 255, as ssh does."""
    line = queue.Queue()

    def deliver():
        left = budget
        while True:
            due, data = line.get()
            time.sleep(max(0, due - time.monotonic()))  # the delay is what this is for
            if budget and len(data) >= left:
                os.write(sink, data[:left])
                os._exit(255)
            left -= len(data)
            if not data:
                break
            while data:
                data = data[os.write(sink, data):]
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
    delay, budget = int(OPTIONS["ms"]) / 1000, int(OPTIONS["cut-after"])
    there = subprocess.Popen(["/bin/sh", "-c", "exec " + " ".join(argv)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, start_new_session=True)
    if OPTIONS["log"]:
        with open(OPTIONS["log"], "a") as log:
            budget = 0 if log.tell() else budget
            log.write(f"{there.pid}\n")
    threading.Thread(target=carry, args=(0, there.stdin.fileno(), delay), daemon=True).start()
    carry(there.stdout.fileno(), 1, delay, budget).join()
    sys.exit(there.wait())


if __name__ == "__main__":
    main(sys.argv[1:])
