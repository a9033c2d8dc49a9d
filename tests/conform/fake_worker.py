#!/usr/bin/env python3
"""fake_worker.py - a scripted worker: speaks the worker's JSON-RPC well and computes nothing.

Tokens of a text are its words' lengths; a generate says "w0 w1 …". Faults are switched on by arguments, or by
the same words in the environment's FAKE_WORKER; other arguments, as tandem gives its workers, change nothing:

  --slow-ms=N        each answer comes so late           --token-ms=N     … each token (1)
  --hold-ms=N        … each answer to a tokenize         --token-bytes=N  makes tokens so much longer
  --silent           nothing is ever answered            --mute-first     … nor the first tokenize
  --mute-on=WORD     … nor what holds the word           --half           frames are written in two pieces
  --garbage          lines that are no messages, and a piece without a line end, before each frame
  --torn-at=N        frame N loses its half              --torn-on=WORD   … the answer to what holds the word
  --wrong-id         a tokenize is answered by another id  --wrong-on=WORD  … what holds the word
  --twice            each answer is given twice          --gap            each stream leaves its second token out
  --after-end        each stream says more after its end  --no-event      no stream ends
  --ack-window=N     keeps so few tokens unacknowledged  --floods         … but keeps to no window at all
  --flood=N          each answer comes behind N notifications of streams that nobody has
  --die-after=N      SIGKILL after N frames of its own   --die-on=WORD    abort on what holds the word
  --short            a batch's last result is left out   --fail=CODE:TYPE  each tokenize is answered so
  --load-once=FILE   loads succeed until FILE is there, which the first makes
  --exit=N           exits at once with that code        --deaf           ignores the end of stdin
  --log=FILE         keeps what came, a JSON line each
"""
import json
import os
import re
import select
import shlex
import signal
import sys
import time

WORDS = sys.argv[1:] + shlex.split(os.environ.get("FAKE_WORKER", ""))
OPTIONS = dict((a[2:].split("=", 1) + ["1"])[:2] for a in WORDS if a.startswith("--"))
NEVER = "\0never"
MESSAGE_BYTES = 64 << 20
METHODS = ["initialize", "runtime/info", "runtime/state", "runtime/telemetry", "ping", "cancel", "shutdown",
           "load_model", "unload_model", "list_models", "tokenize", "batch_tokenize", "detokenize",
           "check_draft", "batch_check_draft", "generate", "batch_generate"]


def option(name, default=0):
    return int(OPTIONS.get(name, default))


def has_word(name, text):
    """The text holds the word that this fault is for."""
    return OPTIONS.get(name, NEVER) in text


class Failure(Exception):
    def __init__(self, code, message, kind, **data):
        super().__init__(message)
        self.error = {"code": code, "message": message, "data": {"type": kind, "retryable": False, **data}}


def parse(line):
    """RFC 8259, a key once."""
    def refuse(what):
        raise ValueError(what)

    def once(pairs):
        return dict(pairs) if len(dict(pairs)) == len(pairs) else refuse("a key twice")
    try:
        return json.loads(line.decode("utf-8"), parse_constant=refuse, object_pairs_hook=once)
    except (ValueError, RecursionError) as e:
        raise Failure(-32700, f"Parse error: {e}", "parse_error") from e


class Worker:
    def __init__(self):
        self.models, self.streams, self.later = {}, {}, []
        self.frames = 0
        self.is_ending = self.is_at_end = False
        self.heard = []  # read, not looked at yet
        self.log = open(OPTIONS["log"], "a") if "log" in OPTIONS else None

    # -- out -------------------------------------------------------------------------------

    def write(self, message, is_torn=False):
        if "silent" in OPTIONS:
            return
        text = message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
        data = (text + "\n").encode()
        if "garbage" in OPTIONS:
            self.put(b"Content of no protocol: {\"jsonrpc\"\n[1,2\nloose end ")
        if "half" in OPTIONS:
            self.put(data[:len(data) // 2])
            time.sleep(0.002)
            data = data[len(data) // 2:]
        self.frames += 1
        if is_torn or self.frames == option("torn-at"):
            data = data[:len(data) // 2] + b"\n"
        self.put(data)
        if self.frames == option("die-after"):
            print("fake: told to die", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    def put(self, data):
        """A host that does not read yet may go on writing: it is read meanwhile."""
        while data:
            try:
                data = data[os.write(1, data):]
            except BlockingIOError:
                if select.select([] if self.is_at_end else [0], [1], [])[0]:
                    self.hear()

    def hear(self):
        data = os.read(0, 1 << 16)
        self.is_at_end = not data
        self.heard.append(data)

    def notify(self, method, **params):
        self.write({"jsonrpc": "2.0", "method": method, "params": params})

    # -- methods ---------------------------------------------------------------------------

    def need(self, params, key="model_id"):
        if params.get(key) not in self.models:
            raise Failure(-32005, f"Model not loaded: {params.get(key)}", "model_not_loaded", model_id=params.get(key))

    @staticmethod
    def need_text(params, key):
        if not isinstance(params.get(key), str):
            raise Failure(-32602, f"{key} must be a string", "invalid_params", path=key)
        return params[key]

    def initialize(self, params):
        return {"protocolVersion": "1", "capabilities": {"methods": METHODS, "batch": True, "framing": ["ndjson"]},
                "serverInfo": {"name": "fake", "version": "0"}, "limits": {"message_bytes": MESSAGE_BYTES}}

    def runtime_info(self, params):
        return {"version": "fake", "protocol": "json-rpc-2.0", "capabilities": METHODS, "mlx_version": "none",
                "memory": {"rss": 1, "vms": 1}, "hardware": {"cpu": "none"}, "pid": os.getpid()}

    def runtime_state(self, params):
        return {"loaded_models": [{"model_id": m, "state": "ready", "type": "text"} for m in self.models],
                "active_streams": len(self.streams), "restart_count": 0, "workers": []}

    def runtime_telemetry(self, params):
        return {"counters": {"fake": 7, "no name": 1}}

    def ping(self, params):
        return {"uptime": 1}

    def shutdown(self, params):
        self.is_ending = True
        return {"success": True}

    def load_model(self, params):
        if "unloadable" in params["model_id"]:
            raise Failure(-32001, "Failed to load model", "model_load")
        if os.path.exists(OPTIONS.get("load-once", NEVER[1:])):
            raise Failure(-32001, "Failed to load model again", "model_load")
        if "load-once" in OPTIONS:
            open(OPTIONS["load-once"], "w").close()
        if "deadly" in params["model_id"]:
            print("fake: deadly model", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGSEGV)
        token = params.get("_meta", {}).get("progressToken")
        if token is not None:
            self.notify("notifications/progress", progressToken=token, progress=1, total=1)
        self.models[params["model_id"]] = params
        return {"model_id": params["model_id"], "state": "ready", "replicas": 1, "pid": os.getpid()}

    def unload_model(self, params):
        self.need(params)
        del self.models[params["model_id"]]
        return {"success": True}

    def list_models(self, params):
        return {"models": [{"model_id": m, "state": "ready", "path": ""} for m in self.models] +
                          [{"model_id": "on-disk", "state": "available", "path": "/x"}]}

    def tokenize(self, params):
        self.need(params)
        text = self.need_text(params, "text")
        if "fail" in OPTIONS:
            code, kind = OPTIONS["fail"].split(":")
            raise Failure(int(code), "Told to fail", kind)
        for key in params:
            if key in ("txt", "test"):
                raise Failure(-32602, f"unknown parameter {key}", "invalid_params", path=key, did_you_mean="text")
        if has_word("die-on", text):
            print("fake: that word", file=sys.stderr, flush=True)
            os.abort()
        tokens = [len(w) for w in text.split()]
        return {"tokens": tokens, "count": len(tokens), "pid": os.getpid(), "timeout_ms": params.get("timeout_ms")}

    def detokenize(self, params):
        self.need(params)
        return {"text": " ".join("x" * n for n in params["tokens"])}

    def check_draft(self, params):
        for key in ("primary_id", "draft_id"):
            self.need(params, key)
        return {"compatible": True, "pid": os.getpid()}

    def generate(self, params):
        self.need(params)
        if has_word("die-on", params.get("prompt", "")):
            os.abort()
        if params.get("stream") is False:
            tokens = list(range(params.get("max_tokens", 5)))
            return {"text": "".join(f"w{i} " for i in tokens), "tokens": tokens, "finish_reason": "length",
                    "usage": {"completion_tokens": len(tokens)}, "seed": params.get("seed", 7)}
        name = params.setdefault("stream_id", f"fake-{len(self.streams)}")
        if name in self.streams:
            raise Failure(-32602, f"Stream ID '{name}' is already in use", "invalid_params", path="stream_id")
        done = params.get("resume_tokens", [])
        if done != list(range(len(done))):
            raise Failure(-32602, f"resume_tokens are not what was sent: {done}", "invalid_params")
        self.streams[name] = {"n": len(done), "max": params.get("max_tokens", 5), "acked": len(done),
                              "window": (params.get("stream_options") or {}).get("ack_window", option("ack-window"))}
        return {"stream_id": name, "started_at": time.time(), "pid": os.getpid(), "seed": params.get("seed", 7)}

    def cancel(self, params):
        stream = self.streams.get(params.get("stream_id"))
        if not stream:
            return {"cancelled": False}
        self.end(params["stream_id"], "cancelled")
        return {"cancelled": True}

    # -- streams ---------------------------------------------------------------------------

    @staticmethod
    def may_go_on(stream):
        return not stream["window"] or stream["n"] - stream["acked"] < stream["window"] or "floods" in OPTIONS

    def take_ack(self, params):
        stream = self.streams.get(params["stream_id"])
        if stream:
            stream["acked"] = max(stream["acked"], params["index"] + 1)

    def step(self):
        for name, stream in list(self.streams.items()):
            if not self.may_go_on(stream):
                continue
            if stream["n"] == stream["max"]:
                self.end(name, "length")
                continue
            if stream["n"] != 1 or "gap" not in OPTIONS:
                self.chunk(name, stream["n"])
            stream["n"] += 1

    def chunk(self, name, n):
        self.notify("stream.chunk", stream_id=name, token=f"w{n} " + "x" * option("token-bytes"), token_id=n,
                    index=n, is_final=False)

    def end(self, name, reason):
        if "no-event" in OPTIONS:
            self.streams[name]["max"] = -1
            return
        stream = self.streams.pop(name)
        self.notify("stream.stats", stream_id=name, tokens_generated=stream["n"], tokens_per_second=1.0,
                    time_to_first_token=0.1, total_time=1.0, usage={"prompt_tokens": 3})
        self.notify("stream.event", stream_id=name, event="completed", finish_reason=reason, stop_detail=None,
                    is_final=True)
        if "after-end" in OPTIONS:
            self.chunk(name, stream["n"])

    # -- in --------------------------------------------------------------------------------

    def call(self, method, params):
        function = getattr(self, method.replace("/", "_"), None) if method in METHODS else None
        if not function:
            raise Failure(-32601, f"Unknown method: {method}", "method_not_found")
        if not isinstance(params, dict):
            raise Failure(-32602, "params must be an object", "invalid_params", path="")
        return function(params)

    def item(self, method, params):
        try:
            return {"success": True, "result": self.call(method, params), "error": None}
        except Failure as f:
            return {"success": False, "result": None, "error": f.error["message"],
                    "error_code": f.error["code"], "error_data": f.error["data"]}

    def note(self, what):
        if self.log:
            self.log.write(json.dumps(what) + "\n")
            self.log.flush()

    def answer(self, m):
        """The result or error of one message; None for a notification."""
        if not isinstance(m, dict) or m.get("jsonrpc") != "2.0" or not isinstance(m.get("method"), str) or \
                isinstance(m.get("id"), (dict, list, bool)):
            self.note({"error": "no request"})
            return {"error": Failure(-32600, "no request", "invalid_request").error}
        method, params = m["method"], m.get("params", {})
        self.note(m)
        if "id" not in m:
            self.is_ending = self.is_ending or method == "exit"
            if method == "stream.ack":
                self.take_ack(params)
            return None
        try:
            if method.startswith("batch_") and method in METHODS:
                results = [self.item(method[6:], p) for p in params["requests"]]
                return {"result": {"results": results[:-1] if "short" in OPTIONS else results}}
            return {"result": self.call(method, params)}
        except Failure as f:
            return {"error": f.error}

    @staticmethod
    def wrap(body, raw_id):
        """A whole answer; the id in the bytes it came in."""
        return f'{{"jsonrpc": "2.0", "id": {raw_id}, ' + json.dumps(body, ensure_ascii=False)[1:]

    @staticmethod
    def raw_id(m, line):
        found = re.search(rb'"id"\s*:\s*("(?:[^"\\]|\\.)*"|[^,}\s]+)', line)
        return found.group(1).decode() if found and isinstance(m, dict) and \
            not isinstance(m.get("id"), (dict, list, bool)) else "null"

    def handle(self, line):
        try:
            m = parse(line)
        except Failure as f:
            self.note({"error": "no JSON"})
            self.write(self.wrap({"error": f.error}, "null"))
            return
        if isinstance(m, list) and m:
            answers = [self.wrap(a, json.dumps(one.get("id")) if isinstance(one, dict) else "null")
                       for one, a in [(one, self.answer(one)) for one in m] if a]
            if answers:
                self.write("[" + ",".join(answers) + "]")
            return
        body = self.answer(m)
        text = line.decode()
        if not body or has_word("mute-on", text) or ("tokenize" in text and OPTIONS.pop("mute-first", None)):
            return
        raw_id = self.raw_id(m, line)
        if ("tokenize" in text and "wrong-id" in OPTIONS) or has_word("wrong-on", text):
            raw_id = "77" + raw_id.strip('"')
        for i in range(option("flood")):
            self.chunk(f"nobody-{i}", i)
        late = option("slow-ms") or ("tokenize" in text and option("hold-ms"))
        answer = (self.wrap(body, raw_id), has_word("torn-on", text))
        if late:
            self.later.append((time.monotonic() + late / 1000, answer))
        else:
            self.write(*answer)
        if "twice" in OPTIONS:
            self.write(*answer)

    def take(self, pieces, data):
        """Whole lines are handled; what is left begins the next. A line too long is not kept."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            pieces.append(line)
            if sum(map(len, pieces)) > MESSAGE_BYTES:
                self.write(self.wrap({"error": Failure(-32600, "too long", "invalid_request").error}, "null"))
            elif b"".join(pieces).strip():
                self.handle(b"".join(pieces))
            pieces.clear()
        pieces.append(rest)

    def run(self):
        pieces = []
        os.set_blocking(1, False)
        pause = option("token-ms", 1) / 1000
        while not self.is_ending or self.streams:
            busy = self.later or any(self.may_go_on(s) for s in self.streams.values())
            waits = (pause if busy else None) if not self.heard else 0
            if select.select([] if self.is_at_end else [0], [], [], waits)[0]:
                self.hear()
            while self.heard:
                self.take(pieces, self.heard.pop(0))
            if self.is_at_end and "deaf" not in OPTIONS:
                return
            now = time.monotonic()
            for due, answer in [x for x in self.later if x[0] <= now]:
                self.later.remove((due, answer))
                self.write(*answer)
            self.step()


def main():
    if "help" in OPTIONS:
        print(__doc__, end="")
        return
    if "exit" in OPTIONS:
        print("fake: bad argument", file=sys.stderr)
        sys.exit(option("exit"))
    try:
        Worker().run()
    except BrokenPipeError:
        pass


if __name__ == "__main__":
    main()
