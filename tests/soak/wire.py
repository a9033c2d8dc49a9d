"""The soak's end of the pipe: one thread, every message checked as it comes, nothing kept.

Each id is answered exactly once; each stream begins with its handshake, has its chunks in order of
index, one stats and one event, and is silent afterwards. What breaks that is a Wrong.
"""
import json
import os
import selectors
import subprocess
import time


class Wrong(Exception):
    """What must never happen, has."""


class Request:
    def __init__(self, request_id, method, params):
        self.id, self.method, self.params = request_id, method, params
        self.answer = None  # the whole message
        self.sent = time.monotonic()

    @property
    def error(self):
        return self.answer.get("error")

    @property
    def is_done(self):
        return self.answer is not None


class Stream(Request):
    """A generate that streams."""

    def __init__(self, *call):
        super().__init__(*call)
        self.tokens, self.tail, self.stats, self.event = [], "", None, None

    @property
    def is_done(self):
        return self.answer is not None and ("error" in self.answer or self.event is not None)

    def take(self, kind, params):
        if not self.answer or "error" in self.answer:
            raise Wrong(f"{kind} of {self.id} without a handshake")
        if kind == "stream.chunk":
            if self.stats:
                raise Wrong(f"a chunk of {self.id} after its stats")
            for t in params["tokens"] if "tokens" in params else [params]:
                self.take_token(t)
        elif kind == "stream.stats":
            if self.stats:
                raise Wrong(f"{self.id} has two stats")
            self.stats = params
        else:
            self.event = params

    def take_token(self, t):
        if t.get("is_tail"):  # text that a stop string had held back; it has no token of its own
            self.tail += t["token"]
            return
        if t["index"] != len(self.tokens):
            raise Wrong(f"{self.id} has index {t['index']} after {len(self.tokens)} tokens")
        self.tokens.append((t["token"], t["token_id"], t.get("logprob")))


class Wire:
    def __init__(self, *argv, env=None, stderr=None):
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
                                        start_new_session=True, env={**os.environ, **(env or {})})
        self.open, self.streams, self.ended = {}, {}, set()
        self.n_sent = self.n_answered = self.n_parse_errors = self.n_tokens = 0
        self.pending, self.unsent = b"", bytearray()
        self.is_closed = False
        self.deaf_until = 0  # nothing is read before
        self.fd_in, self.fd_out = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self.fd_in, False)
        os.set_blocking(self.fd_out, False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.fd_out, selectors.EVENT_READ)
        self.is_writing = False

    # -- out -------------------------------------------------------------------------------

    def put(self, text):
        self.unsent += text.encode() + b"\n"
        self.flush()

    def flush(self):
        while self.unsent:
            try:
                del self.unsent[:os.write(self.fd_in, self.unsent)]
            except BlockingIOError:
                break
        if bool(self.unsent) != self.is_writing:
            self.is_writing = bool(self.unsent)
            if self.is_writing:
                self.selector.register(self.fd_in, selectors.EVENT_WRITE)
            else:
                self.selector.unregister(self.fd_in)

    def make(self, method, params):
        """The Request, not sent yet."""
        self.n_sent += 1
        is_stream = method == "generate" and params.get("stream", True)
        request = (Stream if is_stream else Request)(f"r{self.n_sent}", method, params)
        if is_stream:
            params["stream_id"] = f"s{self.n_sent}"
            self.streams[params["stream_id"]] = request
        self.open[request.id] = request
        return request

    @staticmethod
    def text(request):
        return json.dumps({"jsonrpc": "2.0", "id": request.id, "method": request.method,
                           "params": request.params})

    def send(self, method, **params):
        request = self.make(method, params)
        self.put(self.text(request))
        return request

    def notify(self, method, **params):
        self.put(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}))

    def close_input(self):
        if self.is_writing:
            self.selector.unregister(self.fd_in)
            self.is_writing = False
        self.process.stdin.close()

    # -- in --------------------------------------------------------------------------------

    def turn(self, seconds):
        """Read what has come, waiting at most so long for the first of it."""
        if (deaf := self.deaf_until - time.monotonic()) > 0:
            time.sleep(max(0, min(deaf, seconds)))
            self.flush()
            return
        for key, _ in self.selector.select(max(0, seconds)):
            if key.fd == self.fd_in:
                self.flush()
            else:
                self.read()

    def read(self):
        try:
            data = os.read(self.fd_out, 1 << 20)
        except BlockingIOError:
            return
        if not data:
            self.is_closed = True
            self.selector.unregister(self.fd_out)
            return
        *lines, self.pending = (self.pending + data).split(b"\n")
        for line in lines:
            self.take(json.loads(line))

    def take(self, message):
        if isinstance(message, list):
            for part in message:
                self.take_answer(part)
        elif "method" in message:
            self.take_notification(message["method"], message["params"])
        else:
            self.take_answer(message)

    def take_answer(self, message):
        if message["id"] is None:
            if message["error"]["code"] != -32700:
                raise Wrong(f"nobody's: {message}")
            self.n_parse_errors += 1
            return
        request = self.open.pop(message["id"], None)
        if request is None:
            raise Wrong(f"answered twice, or never asked: {message}")
        self.n_answered += 1
        request.answer = message
        if isinstance(request, Stream) and "error" in message:
            self.end(request)

    def take_notification(self, kind, params):
        if not kind.startswith("stream."):
            return
        stream = self.streams.get(params["stream_id"])
        if stream is None:
            raise Wrong(f"{kind} after the end of {params['stream_id']}: {params}")
        before = len(stream.tokens)
        stream.take(kind, params)
        self.n_tokens += len(stream.tokens) - before
        if stream.event:
            self.end(stream)

    def end(self, stream):
        del self.streams[stream.params["stream_id"]]

    def wait(self, request, patience=60):
        """Its answer; for the quiet parts before and after."""
        deadline = time.monotonic() + patience
        while not request.is_done:
            if self.is_closed or time.monotonic() > deadline:
                raise Wrong(f"no end of {request.method} {request.id}; it has {request.answer}")
            self.turn(deadline - time.monotonic())
        return request

    def call(self, method, **params):
        request = self.wait(self.send(method, **params))
        if request.error:
            raise Wrong(f"{method} was answered {request.error}")
        return request.answer["result"]
