"""One fault a second, from a seed: kill -9, kill -STOP, a stall, garbage in a worker's pipe, a
host that does not read; now and then a SIGHUP."""
import os
import signal
import time


def children(pid):
    """{pid: state letter} of its child processes, zombies included."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8") as f:
                fields = f.read().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid:
            found[int(name)] = fields[0]
    return found


class Faults:
    def __init__(self, wire, n_workers, rng, pipes):
        """pipes: a file in which each worker's wrapper notes `pid pipe:[inode]` of its stdout."""
        self.wire, self.controller = wire, wire.process.pid
        self.n_workers, self.rng, self.pipes = n_workers, rng, pipes
        self.counts, self.stalled = {}, []  # (when to go on, pid)
        self.harmless = [self.stall] * 4 + [self.noise] * 4 + [self.deafen]
        self.kinds = [self.kill] * 4 + [self.stop] * 2 + [self.broken] * 2 + [self.hang_up] + self.harmless

    def strike(self):
        """One fault on one worker, if one is there."""
        alive = [pid for pid, state in children(self.controller).items() if state not in "ZT"]
        if not alive:
            return "nobody left"
        # With most of them in back-off there would soon be nothing left to disturb.
        kinds = self.kinds if 2 * len(alive) >= self.n_workers else self.harmless
        kind, pid = self.rng.choice(kinds), self.rng.choice(sorted(alive))
        try:
            kind(pid)
        except (ProcessLookupError, FileNotFoundError, BrokenPipeError):
            return "too late"
        self.counts[kind.__name__] = self.counts.get(kind.__name__, 0) + 1
        return f"{kind.__name__} {pid}"

    def resume(self, all_of_them=False):
        now = time.monotonic()
        for when, pid in [s for s in self.stalled if all_of_them or s[0] <= now]:
            self.stalled.remove((when, pid))
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass

    def kill(self, pid):
        os.kill(pid, signal.SIGKILL)

    def hang_up(self, _):
        """Every worker is to be replaced; nothing may be lost by that."""
        os.kill(self.controller, signal.SIGHUP)

    def stop(self, pid):
        """For good: only the heartbeat can tell."""
        os.kill(pid, signal.SIGSTOP)

    def stall(self, pid):
        os.kill(pid, signal.SIGSTOP)
        self.stalled.append((time.monotonic() + self.rng.uniform(0.05, 0.6), pid))

    def deafen(self, _):
        """Nobody reads what the controller writes, and everybody goes on asking."""
        self.wire.deaf_until = time.monotonic() + self.rng.uniform(0.1, 0.9)

    def noise(self, pid):
        """Lines that are no messages, notifications of nobody's streams, a piece without a line end."""
        self.inject(pid, self.rng.choice([
            self.rng.randbytes(self.rng.randint(1, 4000)).replace(b"\n", b" ") + b"\n",
            b"printf without a line end ",
            b'\x00\xff\xfe{"a":[[[[',
            b'{"jsonrpc":"2.0","method":"stream.chunk","params":{"stream_id":"nobody","token":"x"}}\n',
            b'{"jsonrpc":"2.0","method":"stream.event","params":[]}\n{"jsonrpc":"2.0","method":"stream.stats"}\n',
            b'{"jsonrpc":"2.0","id":3,"method":"generate","params":{}}\n',
            b"[]\n[[1]]\n{}\n\n\r\n" + b"[" * 3000 + b"\n",
        ]))

    def broken(self, pid):
        """The beginning of a message, whose rest is lost; an answer to what was not asked: some call will wait in
        vain, and its worker has to go."""
        self.inject(pid, self.rng.choice([
            b'{"jsonrpc":"2.0","id":5,"result":{"tok\n',
            b'{"jsonrpc":"2.0","id":987654321,"result":{}}\n',
            b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}\n',
            b'{"jsonrpc":"2.0","id":"1","result":7}\n{"jsonrpc":"2.0","id":1.5,"result":{}}\n',
        ]))

    def inject(self, pid, data):
        """Write into the pipe that is the worker's stdout, through the controller's end of it."""
        with open(self.pipes, encoding="utf-8") as f:
            names = dict(line.split() for line in f)
        for fd in os.listdir(f"/proc/{self.controller}/fd"):
            path = f"/proc/{self.controller}/fd/{fd}"
            if os.readlink(path) == names.get(str(pid)):
                end = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
                try:
                    os.write(end, data)
                except BlockingIOError:
                    pass
                finally:
                    os.close(end)
                return
        raise ProcessLookupError
