"""A small host: spawns tandem or tandem-worker, speaks JSON-RPC to it, keeps all it says.

Every wait has a deadline and is woken by what arrives; nothing here sleeps to let
something happen. When a Host closes, what it heard is checked as a whole: each id answered
once, each stream in order, nothing after a terminal event (see Host.check_transcript).
"""
import json
import os
import select
import signal
import subprocess
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHARED = os.environ.get("SHARED", os.path.join(ROOT, "..", "shared"))
TANDEM = os.path.abspath(os.environ.get("TANDEM", os.path.join(ROOT, "build/tandem")))
WORKER = os.path.abspath(os.environ.get("TANDEM_WORKER", os.path.join(ROOT, "build/tandem-worker")))
NOVEL = os.path.join(ROOT, "models/novel-7m")

# Far above what anything needs, so that only a hang can reach it: the machine may be busy
# and the binaries may be sanitizer builds.
PATIENCE = float(os.environ.get("PATIENCE", "60"))


class RpcError(Exception):
    """An error answer: .code, .message, .data as they came."""

    def __init__(self, error):
        super().__init__(json.dumps(error))
        self.code, self.message = error["code"], error["message"]
        self.data = error.get("data", {})


class Message:
    """One message of the other side: its bytes and what they say."""

    def __init__(self, raw):
        self.raw = raw
        self.body = json.loads(raw.decode("utf-8"), parse_constant=self.refuse)

    @staticmethod
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    def answers(self):
        """The id answered here, as the bytes' own JSON text, or None for a notification."""
        if not isinstance(self.body, dict) or "method" in self.body:
            return None
        return json.dumps(self.body.get("id"))


class Stream:
    """What came for one stream_id, in order."""

    def __init__(self, host, stream_id):
        self.host, self.stream_id = host, stream_id
        self.messages = []

    def params(self, method):
        return [m.body["params"] for m in self.messages if m.body["method"] == method]

    def tokens(self):
        flat = []
        for chunk in self.params("stream.chunk"):
            flat += chunk["tokens"] if "tokens" in chunk else [chunk]
        return flat

    def generated(self):
        """Without text that a stop string had held back, which comes as a tail of its own."""
        return [t for t in self.tokens() if not t.get("is_tail")]

    @property
    def text(self):
        return "".join(t["token"] for t in self.tokens())

    @property
    def ids(self):
        return [t["token_id"] for t in self.generated()]

    @property
    def stats(self):
        return self.params("stream.stats")[0]

    @property
    def event(self):
        events = self.params("stream.event")
        return events[0] if events else None

    @property
    def finish_reason(self):
        return self.event.get("finish_reason")

    def wait(self):
        """Until the terminal event; returns the stream."""
        self.host.wait(lambda: self.event, f"the end of stream {self.stream_id}")
        return self

    def wait_tokens(self, n=1):
        self.host.wait(lambda: len(self.tokens()) >= n or self.event, f"{n} tokens of {self.stream_id}")
        return self


class Host:
    def __init__(self, *argv, framing="ndjson", env=None, stderr=subprocess.PIPE, pass_fds=()):
        self.framing = framing
        self.messages, self.streams, self.sent = [], {}, []
        self.answers = {}
        self.stdout, self.stderr = b"", []
        self.changed = threading.Condition()
        self.closed = False
        self.next_id = 1
        self.trouble = None
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
            env={**os.environ, **(env or {})}, cwd=ROOT, start_new_session=True,
            pass_fds=pass_fds)
        self.threads = [threading.Thread(target=t, daemon=True)
                        for t in (self._read_stdout, self._read_stderr)]
        for t in self.threads:
            t.start()

    # -- reading ---------------------------------------------------------------------------

    def _read_stdout(self):
        pending, out = b"", self.process.stdout.fileno()
        while data := os.read(out, 1 << 16):
            pending += data
            with self.changed:
                try:
                    pending = self._take_messages(pending)
                except Exception as e:  # a broken message must fail the test, not this thread
                    self.trouble = self.trouble or f"{e!r} in {pending[:200]!r}"
                self.changed.notify_all()
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def _take_messages(self, pending):
        while True:
            raw, rest = self._split(pending)
            if raw is None:
                return pending
            pending = rest
            self._take(Message(raw))

    def _split(self, pending):
        if self.framing == "ndjson":
            line, newline, rest = pending.partition(b"\n")
            return (line, rest) if newline else (None, pending)
        head, blank, rest = pending.partition(b"\r\n\r\n")
        if not blank:
            return None, pending
        name, _, n = head.partition(b": ")
        assert name == b"Content-Length", head
        return (rest[:int(n)], rest[int(n):]) if len(rest) >= int(n) else (None, pending)

    def _take(self, message):
        self.messages.append(message)
        key = message.answers()
        if key is not None:
            self.answers.setdefault(key, []).append(message)
        elif isinstance(message.body, dict) and message.body["method"].startswith("stream."):
            stream_id = message.body["params"]["stream_id"]
            self.streams.setdefault(stream_id, Stream(self, stream_id)).messages.append(message)

    def _read_stderr(self):
        for line in self.process.stderr or ():
            with self.changed:
                self.stderr.append(line.decode("utf-8", "replace"))
                self.changed.notify_all()

    # -- waiting ---------------------------------------------------------------------------

    def wait(self, condition, what, patience=PATIENCE):
        """The condition's value, as soon as it is true; looked at whenever something arrives."""
        deadline = time.monotonic() + patience
        with self.changed:
            while True:
                if self.trouble:
                    raise AssertionError(self.trouble)
                if value := condition():
                    return value
                if self.closed or time.monotonic() > deadline:
                    raise AssertionError(f"no {what}; {'closed' if self.closed else 'still open'}; "
                                         f"last: {[m.raw[:300] for m in self.messages[-3:]]}; "
                                         f"stderr: {''.join(self.stderr[-8:])}")
                self.changed.wait(deadline - time.monotonic())

    def wait_stderr(self, text):
        return self.wait(lambda: any(text in line for line in self.stderr), f"{text!r} on stderr")

    def wait_count(self, n):
        """The first n messages."""
        self.wait(lambda: len(self.messages) >= n, f"{n} messages")
        return self.messages[:n]

    def ask_until(self, method, accept, params=None):
        """Ask again and again until accept(result); for states that no message announces."""
        deadline = time.monotonic() + PATIENCE
        while not accept(result := self.call(method, **(params or {}))):
            if time.monotonic() > deadline:
                raise AssertionError(f"{method} stays {result}")
            select.select([], [], [], 0.02)
        return result

    # -- writing ---------------------------------------------------------------------------

    def write(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def frame(self, text):
        text = text.encode("utf-8") if isinstance(text, str) else text
        if self.framing == "ndjson":
            return text + b"\n"
        return b"Content-Length: %d\r\n\r\n" % len(text) + text

    def send_text(self, text):
        self.write(self.frame(text))

    def encode(self, method, params, request_id=None):
        body = {"jsonrpc": "2.0", "method": method, "params": params}
        if request_id is not None:
            body["id"] = request_id
            self.sent.append(json.dumps(request_id))
        return json.dumps(body)

    def notify(self, method, **params):
        self.send_text(self.encode(method, params))

    def new_id(self):
        self.next_id += 1
        return self.next_id - 1

    def request(self, method, **params):
        """Send; the id to wait for."""
        request_id = self.new_id()
        self.send_text(self.encode(method, params, request_id))
        return request_id

    def requests(self, calls):
        """Send many (method, params) in one write; their ids."""
        ids = [self.new_id() for _ in calls]
        self.write(b"".join(self.frame(self.encode(m, p, i)) for (m, p), i in zip(calls, ids)))
        return ids

    def answer(self, request_id):
        """The message that answers this id."""
        key = json.dumps(request_id)
        return self.wait(lambda: self.answers.get(key), f"answer to {key}")[0]

    def result(self, request_id):
        body = self.answer(request_id).body
        if "error" in body:
            raise RpcError(body["error"])
        return body["result"]

    def call(self, method, **params):
        return self.result(self.request(method, **params))

    def error(self, method, **params):
        """The error this call is answered with."""
        try:
            result = self.call(method, **params)
        except RpcError as e:
            return e
        raise AssertionError(f"{method} {params} was answered {result}")

    def load(self, model_id="m", path=NOVEL, **params):
        return self.call("load_model", model_id=model_id, local_path=path, **params)

    def start(self, **params):
        """Send a generate; its Stream, whose handshake may still be on the way."""
        params.setdefault("model_id", "m")
        stream = params.setdefault("stream_id", f"s{self.next_id}")
        with self.changed:
            stream = self.streams.setdefault(stream, Stream(self, stream))
        stream.request_id = self.request("generate", **params)
        return stream

    def stream(self, **params):
        """Generate and wait for the end. An error answer raises."""
        stream = self.start(**params)
        self.result(stream.request_id)
        return stream.wait()

    # -- the end ---------------------------------------------------------------------------

    def close_stdin(self):
        try:  # what is left in the buffer may find nobody any more
            self.process.stdin.close()
        except BrokenPipeError:
            pass

    def wait_exit(self, patience=PATIENCE):
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {patience} s; stderr: {''.join(self.stderr[-8:])}")
        for t in self.threads:
            t.join(PATIENCE)
        return code

    def kill(self):
        """Whatever is left of the session this host started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        for t in self.threads:
            t.join(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                if pipe:
                    pipe.close()
            except OSError:
                pass

    def close(self):
        """Close stdin as a host does that is done; the transcript must be whole and the exit 0."""
        try:
            self.close_stdin()
            code = self.wait_exit()
            assert code == 0, f"exit {code}: {''.join(self.stderr[-20:])}"
            self.check_transcript()
        finally:
            self.kill()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.close()
        else:
            self.kill()

    def check_transcript(self):
        assert not self.trouble, self.trouble
        for key in set(self.sent):
            n = len(self.answers.get(key, []))
            assert n <= self.sent.count(key), f"id {key} was answered {n} times"
        for stream in self.streams.values():
            self.check_stream(stream)

    @staticmethod
    def check_stream(stream):
        methods = [m.body["method"] for m in stream.messages]
        if "stream.event" in methods:
            assert methods.index("stream.event") == len(methods) - 1, f"after the end: {methods}"
        last_chunk = max((i for i, m in enumerate(methods) if m == "stream.chunk"), default=-1)
        if "stream.stats" in methods:
            assert methods.count("stream.stats") == 1, methods
            assert methods.index("stream.stats") > last_chunk, f"chunk after stats: {methods}"
        by_choice = {}
        for t in stream.generated():
            by_choice.setdefault(t.get("choice", 0), []).append(t["index"])
        for indexes in by_choice.values():
            assert indexes == list(range(len(indexes))), f"{stream.stream_id}: {indexes}"


SCRIPTS = tempfile.TemporaryDirectory()


def worker_with(*options):
    """The path of a command that is tandem-worker with these options before the given ones."""
    path = os.path.join(SCRIPTS.name, "worker" + "".join(options).replace("/", "-"))
    with open(path, "w") as f:
        f.write(f'#!/bin/sh\nexec "{WORKER}" {" ".join(options)} "$@"\n')
    os.chmod(path, 0o755)
    return path


def tandem(*options, worker_options=(), **more):
    command = worker_with(*worker_options) if worker_options else WORKER
    return Host(TANDEM, "--worker", command, *options, **more)


def worker(*options, worker_options=(), **more):
    return Host(WORKER, *worker_options, *options, **more)


def children(pid):
    """(pid, state letter) of each child process, zombies included."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as f:
                fields = f.read().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid:
            found.append((int(name), fields[0]))
    return found


def when_gone(pids, patience):
    """Those of pids still running after that many seconds; returns as soon as none is."""
    deadline, left = time.monotonic() + patience, set()
    watched = select.poll()
    for pid in pids:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        watched.register(fd, select.POLLIN)
        left.add(fd)
    while left and (ready := watched.poll(max(0, deadline - time.monotonic()) * 1000)):
        for fd, _ in ready:
            watched.unregister(fd)
            os.close(fd)
            left.discard(fd)
    for fd in left:
        os.close(fd)
    return len(left)


def shared(*parts):
    """A path among the reference data, or None where it is absent."""
    path = os.path.join(SHARED, *parts)
    return path if os.path.exists(path) else None
