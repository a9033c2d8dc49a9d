#!/usr/bin/env python3
"""soak.py - four workers, 64 clients, every method, and a fault every second.

usage: soak.py [--seconds=600] [--seed=N] [--workers=4] [--clients=64]

First an undisturbed controller answers everything there is to ask; then another is asked the same
while its workers are killed, stopped, stalled and talked over. Every id must be answered exactly
once, every stream read the same to the last byte. At the end the controller has as many descriptors
as at the beginning, no zombie, no stream left, and the size it had when warm. Exit 0 when all held.
"""
import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from clients import Catalogue, Clients
from faults import Faults, children
from wire import Wire, Wrong

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TANDEM = os.path.abspath(os.environ.get("TANDEM", os.path.join(ROOT, "build/tandem")))
WORKER = os.path.abspath(os.environ.get("TANDEM_WORKER", os.path.join(ROOT, "build/tandem-worker")))
PAGE = os.sysconf("SC_PAGE_SIZE")
SECONDS_OF_A_ZOMBIE = 10  # until it is one that nobody will reap
ANSWER_SECONDS = 180      # nothing may take longer, back-off included
# What it uses goes up and down by 2 MB with what is queued just then, and the heap keeps part of that.
CONTROLLER_SLACK = 4e6
WORKER_SLACK = 48e6


def resident(pid):
    try:
        with open(f"/proc/{pid}/statm", encoding="utf-8") as f:
            return int(f.read().split()[1]) * PAGE
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return 0


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def session_members(session):
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8") as f:
                fields = f.read().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session:
            found.append((int(name), fields[0]))
    return found


class Watch:
    """Sizes and zombies, looked at every second."""

    def __init__(self, controller):
        self.controller = controller
        self.sizes, self.worker_sizes, self.zombies = [], [], {}

    def look(self):
        now = time.monotonic()
        kids = children(self.controller)
        self.sizes.append(resident(self.controller))
        self.worker_sizes.append(max([resident(pid) for pid in kids] or [0]))
        self.zombies = {pid: self.zombies.get(pid, now) for pid, state in kids.items() if state == "Z"}
        for pid, since in self.zombies.items():
            if now - since > SECONDS_OF_A_ZOMBIE:
                raise Wrong(f"process {pid} is a zombie that nobody reaps")

    @staticmethod
    def check(name, sizes, slack):
        """Flat after the first third: the middle of the rest's first half and of its second agree, but for
        what a moment with more requests than any before may take and keep."""
        warm = sizes[len(sizes) // 3:]
        if len(warm) < 20:
            return f"{name}: too short a run to tell"
        first, second = (statistics.median(half) for half in (warm[:len(warm) // 2], warm[len(warm) // 2:]))
        told = f"{name}: {first / 1e6:.1f} MB resident when warm, {second / 1e6:.1f} MB at the end"
        if second > first + slack:
            raise Wrong(told)
        return told


def spawn(workers, folder):
    """A controller whose workers note where their stdout goes."""
    wrapper = os.path.join(folder, "worker")
    with open(wrapper, "w", encoding="utf-8") as f:
        f.write(f'#!/bin/sh\necho "$$ $(readlink /proc/$$/fd/1)" >>"{folder}/pipes"\nexec "{WORKER}" "$@"\n')
    os.chmod(wrapper, 0o755)
    wire = Wire(TANDEM, "--worker", wrapper, f"--workers={workers}", "--restarts=256", "--retry-budget=100000",
                "--heartbeat-ms=3000", stderr=open(os.path.join(folder, "stderr"), "ab"))
    for model in ("m", "d"):
        wire.call("load_model", model_id=model, local_path=os.path.join(ROOT, "models/novel-7m"))
    return wire


def ready_pids(wire):
    """The workers' processes, or None while one of them does not serve."""
    workers = wire.call("runtime/state")["workers"]
    return [w["pid"] for w in workers] if all(w["state"] == "ready" for w in workers) else None


def settle(wire, patience=120):
    """Until every worker is back and none is exchanged any more; how many descriptors are open beside the
    three of each worker."""
    deadline = time.monotonic() + patience
    while True:
        pids, n = ready_pids(wire), descriptors(wire.process.pid)
        if pids and pids == ready_pids(wire):
            return n - 3 * len(pids)
        if time.monotonic() > deadline:
            raise Wrong(f"not every worker came back: {wire.call('runtime/state')}")
        wire.turn(0.1)


def close(wire):
    """End of input: everything ends, nothing stays."""
    wire.close_input()
    while not wire.is_closed:
        wire.turn(30)
    code = wire.process.wait(30)
    if code != 0:
        raise Wrong(f"exit {code}")
    left = session_members(wire.process.pid)
    if left:
        raise Wrong(f"processes left behind: {left}")


def disturb(wire, clients, faults, watch, seconds):
    began = time.monotonic()
    next_second = began + 1
    while (now := time.monotonic()) < began + seconds:
        wire.turn(min(0.05, next_second - now))
        if wire.is_closed:
            raise Wrong(f"the controller ended with {wire.process.wait(30)}")
        clients.step()
        faults.resume()
        if now >= next_second:
            next_second += 1
            watch.look()
            told = faults.strike()
            if os.environ.get("SOAK_VERBOSE"):
                print(f"{now - began:6.1f} s {watch.sizes[-1] / 1e6:5.1f} MB  {told}", flush=True)


def finish(wire, clients):
    """No more faults: every client ends what it does."""
    clients.is_stopping = True
    deadline = time.monotonic() + ANSWER_SECONDS
    while clients.step():
        if wire.is_closed or time.monotonic() > deadline:
            stuck = [(type(r).__name__, getattr(r, "id", "?"), getattr(r, "method", "?"), getattr(r, "answer", None))
                     for _, r in clients.waiting]
            raise Wrong(f"never ended: {stuck[:10]}; state: {wire.is_closed or wire.call('runtime/state')}")
        wire.turn(0.1)
    if wire.open or wire.streams:
        raise Wrong(f"never answered: {list(wire.open)[:10]} {list(wire.streams)[:10]}")
    if wire.n_parse_errors != clients.n_bad_lines:
        raise Wrong(f"{clients.n_bad_lines} lines were no JSON, {wire.n_parse_errors} were answered so")


def soak(args, folder):
    rng = random.Random(args.seed)
    calm = spawn(1, folder)
    catalogue = Catalogue(rng, calm)
    close(calm)
    wire = spawn(args.workers, folder)
    try:
        n_fds = settle(wire)
        clients = Clients(wire, catalogue, rng, args.clients)
        faults = Faults(wire, args.workers, random.Random(args.seed + 1), os.path.join(folder, "pipes"))
        watch = Watch(wire.process.pid)
        disturb(wire, clients, faults, watch, args.seconds)
        faults.resume(all_of_them=True)
        finish(wire, clients)
        if (left := settle(wire)) != n_fds:
            raise Wrong(f"{left} descriptors are open beside the workers', {n_fds} were at the beginning")
        state, counters = wire.call("runtime/state"), wire.call("runtime/telemetry")
        if state["active_streams"] or state["queued"] or any(w["inflight"] for w in state["workers"]):
            raise Wrong(f"left over: {state}")
        told = [watch.check("controller", watch.sizes, CONTROLLER_SLACK),
                watch.check("worker", watch.worker_sizes, WORKER_SLACK),
                f"{counters['kept_answers']} answers of {counters['kept_answer_bytes']} bytes are kept for repeated calls"]
        close(wire)
    finally:
        wire.process.kill()
    report(wire, clients, faults, counters, told)


def report(wire, clients, faults, counters, told):
    print(f"{wire.n_answered} requests answered once each, {wire.n_tokens} tokens")
    for title, counts in (("clients", clients.counts), ("faults", faults.counts),
                          ("controller", {k: counters[k] for k in ("worker_crashes", "workers_silent", "retries",
                                                                   "replays", "poisoned", "lost")})):
        print(f"{title}: " + ", ".join(f"{v} {k}" for k, v in sorted(counts.items())))
    print("\n".join(told))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--clients", type=int, default=64)
    args = parser.parse_args()
    print(f"soak: {args.seconds:.0f} s, seed {args.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        try:
            soak(args, folder)
        except Wrong as wrong:
            with open(os.path.join(folder, "stderr"), encoding="utf-8", errors="replace") as f:
                print("".join(f.readlines()[-30:]), end="")
            print(f"soak: FAILED with seed {args.seed}: {wrong}")
            return 1
    print("soak: passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
