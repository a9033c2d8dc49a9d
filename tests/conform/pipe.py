"""One process under test, spoken to over its pipes; everything it says is judged as it comes.

Every line must be one JSON-RPC message; every answer must be to something asked, once; every notification of
a stream must belong to one that is open. What breaks that is a Broken. Every wait ends after `patience`.
"""
import json
import os
import selectors
import signal
import subprocess
import time


class Broken(Exception):
    """The other side did what it must not, or did not do what it must."""


def parse(raw):
    def refuse(what):
        raise ValueError(f"{what} is no JSON")
    try:
        message = json.loads(raw.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as e:
        raise Broken(f"wrote a line that is no JSON ({e}): {raw[:120]!r}") from e
    for one in message if isinstance(message, list) else [message]:
        if not isinstance(one, dict) or one.get("jsonrpc") != "2.0" or \
                ("method" in one) + ("result" in one) + ("error" in one) != 1:
            raise Broken(f"wrote a line that is no message: {raw[:120]!r}")
        if why := shape_of(one):
            raise Broken(f"wrote a message {why}: {raw[:120]!r}")
    return message


def shape_of(message):
    """What is wrong with the part of a message that is always alike, or None."""
    error = message.get("error", {"code": 0, "message": ""})
    if not isinstance(error, dict) or type(error.get("code")) is not int or not isinstance(error.get("message"), str):
        return "whose error is no object with a code and a message"
    if not isinstance(message.get("method", ""), str):
        return "whose method is no string"
    if not isinstance(message.get("params", {}), dict):
        return "whose params are no object"
    if not isinstance(message.get("result", {}), dict):
        return "whose result is no object"
    return None if "method" in message or "id" in message else "that answers without an id"


class Stream:
    """A generate that streams: its notifications in the order the contract has."""

    def __init__(self, name):
        self.name, self.tokens, self.stats, self.event = name, [], None, None
        self.is_accepted = False

    text = property(lambda self: "".join(t["token"] for t in self.tokens))

    def take(self, kind, params):
        if self.event:
            raise Broken(f"{kind} of {self.name} after its last event")
        if not self.is_accepted:
            raise Broken(f"{kind} of {self.name} before the answer to its generate")
        if kind == "stream.chunk":
            if self.stats:
                raise Broken(f"a chunk of {self.name} after its stats")
            for token in params["tokens"] if "tokens" in params else [params]:
                self.take_token(token)
        elif kind == "stream.stats":
            if self.stats:
                raise Broken(f"two stats of {self.name}")
            self.stats = params
        else:
            if params.get("event") not in ("completed", "error") or (params["event"] == "completed" and not self.stats):
                raise Broken(f"{self.name} ends in a way no host knows: {params}")
            self.event = params

    def take_token(self, token):
        if not token.get("is_tail") and token["index"] != len([t for t in self.tokens if not t.get("is_tail")]):
            raise Broken(f"{self.name} has index {token['index']} as its token {len(self.tokens)}")
        self.tokens.append(token)


class Pipe:
    def __init__(self, argv, patience, framing="ndjson"):
        self.patience, self.framing = patience, framing
        self.messages, self.asked, self.answers, self.streams = [], {}, {}, {}
        self.pending, self.unsent, self.is_closed = [], memoryview(b""), False
        self.last_id = 0
        try:
            self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=subprocess.DEVNULL, start_new_session=True)
        except OSError as e:
            raise Broken(f"cannot be started: {e}") from e
        self.to, self.out = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self.to, False)
        os.set_blocking(self.out, False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        for end in (self.process.stdin, self.process.stdout):
            try:
                end.close()
            except OSError:
                pass

    # -- out -------------------------------------------------------------------------------

    def frame(self, text):
        data = text.encode() if isinstance(text, str) else text
        return data + b"\n" if self.framing == "ndjson" else b"Content-Length: %d\r\n\r\n%s" % (len(data), data)

    def write(self, data, reads=True):
        """All of it; meanwhile what comes is read, unless the host is one that does not."""
        self.unsent = memoryview(bytes(data))
        while self.unsent:
            self.turn(f"{len(self.unsent)} bytes to be read", reads)

    def send(self, text):
        self.write(self.frame(text))

    def new_id(self):
        self.last_id += 1
        return self.last_id

    def encode(self, method, params=None, is_call=True):
        body = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        if is_call:
            body["id"] = self.new_id()
            self.asked[json.dumps(body["id"])] = 1
        return json.dumps(body)

    def start(self, method, **params):
        """Send; the id to wait for."""
        if method == "generate" and params.get("stream", True):
            name = params.setdefault("stream_id", f"conform-{self.last_id}")
            self.streams[name] = Stream(name)
            text = self.encode(method, params)
            self.streams[name].call_id = json.dumps(self.last_id)
        else:
            text = self.encode(method, params)
        self.send(text)
        return json.dumps(self.last_id)

    # -- in --------------------------------------------------------------------------------

    def turn(self, what, reads=True, until=None):
        with selectors.DefaultSelector() as selector:
            if reads and not self.is_closed:
                selector.register(self.out, selectors.EVENT_READ)
            if self.unsent:
                selector.register(self.to, selectors.EVENT_WRITE)
            left = (until or time.monotonic() + self.patience) - time.monotonic()
            if not selector.get_map() or not (ready := selector.select(max(0, left))):
                raise Broken(f"{'ended' if self.is_closed else f'said nothing for {self.patience:g} s'} while waiting for {what}")
        for key, _ in ready:
            if key.fd == self.out:
                self.read()
            else:
                self.write_some()

    def write_some(self):
        try:
            self.unsent = self.unsent[os.write(self.to, self.unsent[:1 << 20]):]
        except BlockingIOError:
            pass
        except BrokenPipeError as e:
            raise Broken("closed its stdin") from e

    def read(self):
        data = os.read(self.out, 1 << 18)
        if not data:
            self.is_closed = True
            if b"".join(self.pending).strip():
                raise Broken("ended in the middle of a line")
            return
        self.pending.append(data)
        if self.framing == "lsp":
            self.read_headers()
        elif b"\n" in data:
            *lines, rest = b"".join(self.pending).split(b"\n")
            self.pending = [rest]
            for line in lines:
                self.take(line)

    def read_headers(self):
        data = b"".join(self.pending)
        while b"\r\n\r\n" in data:
            head, rest = data.split(b"\r\n\r\n", 1)
            if not head.startswith(b"Content-Length: ") or not head[16:].isdigit():
                raise Broken(f"wrote these headers: {head[:80]!r}")
            if len(rest) < int(head[16:]):
                break
            self.take(rest[:int(head[16:])])
            data = rest[int(head[16:]):]
        self.pending = [data]

    def take(self, raw):
        message = parse(raw)
        self.messages.append((raw, message))
        for one in message if isinstance(message, list) else [message]:
            if "method" in one:
                self.take_notification(one["method"], one.get("params", {}))
            else:
                self.take_answer(json.dumps(one.get("id")), one)

    def take_notification(self, method, params):
        if not method.startswith("stream."):
            return
        stream = self.streams.get(params.get("stream_id"))
        if not stream:
            raise Broken(f"{method} of a stream nobody asked for: {params}")
        stream.take(method, params)

    def take_answer(self, key, body):
        if key != "null":  # unreadable requests have no id; frames count those
            if not self.asked.get(key):
                raise Broken(f"answered what was not asked, or twice: {json.dumps(body)[:120]}")
            self.asked[key] -= 1
            self.answers[key] = body
        for stream in self.streams.values():
            if getattr(stream, "call_id", None) == key and "result" in body:
                stream.is_accepted = True

    # -- waiting ---------------------------------------------------------------------------

    def wait(self, condition, what):
        until = time.monotonic() + self.patience
        while not (value := condition()):
            self.turn(what, until=until)
        return value

    def answer(self, key):
        return self.wait(lambda: self.answers.get(key), f"the answer to id {key}")

    def call(self, method, **params):
        body = self.answer(self.start(method, **params))
        if "error" in body:
            raise Broken(f"{method} is answered {json.dumps(body['error'])[:200]}")
        return body["result"]

    def error(self, method, code, **params):
        body = self.answer(self.start(method, **params))
        if body.get("error", {}).get("code") != code:
            raise Broken(f"{method} is answered {json.dumps(body)[:200]} instead of {code}")
        return body["error"]

    def generate(self, **params):
        """The Stream, at its end."""
        key = self.start("generate", **params)
        stream = next(s for s in self.streams.values() if getattr(s, "call_id", None) == key)
        body = self.answer(key)
        if "error" in body:
            raise Broken(f"generate is answered {json.dumps(body['error'])[:200]}")
        self.wait(lambda: stream.event, f"the end of {stream.name}")
        return stream

    def settle(self):
        """Whatever was going to be said to what came before has been said when this returns."""
        self.call("ping")

    def close_input(self):
        self.process.stdin.close()

    def wait_exit(self):
        self.wait(lambda: self.is_closed, "the end of its output")
        try:
            return self.process.wait(self.patience)
        except subprocess.TimeoutExpired as e:
            raise Broken("does not exit") from e
