#!/usr/bin/env python3
"""A scripted worker: speaks the worker's JSON-RPC and computes nothing.

Tokens of a text are its words' lengths; a generate says "w0 w1 …". Faults are switched on by
arguments: --garbage (a line that is no message before each frame, and a piece without a line end),
--half (frames are written in two pieces), --die-after=N (SIGKILL itself after N frames of its own),
--die-on=WORD (when a text holds it), --exit=N (at once), --silent (never answers), --torn-at=N
(frame N loses its half), --wrong-id (of the answer to a tokenize), --token-ms=N, --token-bytes=N,
--hold-ms=N (each batch frame is answered so late), --deaf (ignores the end of stdin), --mute-first
(no answer to the first tokenize), --log=FILE (each frame that came).
"""
import json
import os
import selectors
import signal
import sys
import time

OPTIONS = dict((a[2:].split("=", 1) + ["1"])[:2] for a in sys.argv[1:] if a.startswith("--"))


def option(name, default=0):
    return int(OPTIONS.get(name, default))


class Failure(Exception):
    def __init__(self, code, message, kind):
        super().__init__(message)
        self.error = {"code": code, "message": message, "data": {"type": kind, "retryable": False}}


class Worker:
    def __init__(self):
        self.models, self.streams, self.later = {}, {}, []
        self.frames = 0
        self.log = open(OPTIONS["log"], "a") if "log" in OPTIONS else None

    # -- out -------------------------------------------------------------------------------

    def write(self, message):
        if "silent" in OPTIONS:
            return
        data = (json.dumps(message, ensure_ascii=False) + "\n").encode()
        if "garbage" in OPTIONS:
            os.write(1, b"Content of no protocol: {\"jsonrpc\"\n[1,2\nloose end ")
        if "half" in OPTIONS:
            os.write(1, data[:len(data) // 2])
            time.sleep(0.002)
            data = data[len(data) // 2:]
        self.frames += 1
        if self.frames == option("torn-at"):
            data = data[:len(data) // 2] + b"\n"
        while data:
            data = data[os.write(1, data):]
        if self.frames == option("die-after"):
            print("fake: told to die", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    def notify(self, method, **params):
        self.write({"jsonrpc": "2.0", "method": method, "params": params})

    # -- methods ---------------------------------------------------------------------------

    def need(self, params, key="model_id"):
        if params.get(key) not in self.models:
            raise Failure(-32005, f"Model not loaded: {params.get(key)}", "model_not_loaded")

    def initialize(self, params):
        return {"protocolVersion": "1", "capabilities": {}, "serverInfo": {"name": "fake", "version": "0"}}

    def runtime_info(self, params):
        return {"version": "fake", "hardware": {"cpu": "none"}, "mlx_version": "none", "pid": os.getpid()}

    def runtime_telemetry(self, params):
        return {"counters": {"fake": 7, "no name": 1}}

    def ping(self, params):
        return {"uptime": 1}

    def load_model(self, params):
        if "unloadable" in params["model_id"]:
            raise Failure(-32001, "Failed to load model", "model_load")
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
        if not isinstance(params.get("text"), str):
            raise Failure(-32602, "text must be a string", "invalid_params")
        if OPTIONS.get("die-on", "\0") in params["text"]:
            print("fake: that word", file=sys.stderr, flush=True)
            os.abort()
        return {"tokens": [len(w) for w in params["text"].split()], "pid": os.getpid(),
                "timeout_ms": params.get("timeout_ms")}

    def check_draft(self, params):
        for key in ("primary_id", "draft_id"):
            self.need(params, key)
        return {"compatible": True, "pid": os.getpid()}

    def generate(self, params):
        self.need(params)
        if params["stream_id"] in self.streams:
            raise Failure(-32602, f"Stream ID '{params['stream_id']}' is already in use", "invalid_params")
        if OPTIONS.get("die-on", "\0") in params.get("prompt", ""):
            os.abort()
        done = params.get("resume_tokens", [])
        if done != list(range(len(done))):
            raise Failure(-32602, f"resume_tokens are not what was sent: {done}", "invalid_params")
        self.streams[params["stream_id"]] = {"n": len(done), "max": params.get("max_tokens", 5)}
        return {"stream_id": params["stream_id"], "started_at": time.time(), "pid": os.getpid(),
                "seed": params.get("seed", 7)}

    def cancel(self, params):
        stream = self.streams.get(params.get("stream_id"))
        if not stream:
            return {"cancelled": False}
        self.end(params["stream_id"], "cancelled")
        return {"cancelled": True}

    # -- streams ---------------------------------------------------------------------------

    def step(self):
        for name, stream in list(self.streams.items()):
            if stream["n"] == stream["max"]:
                self.end(name, "length")
                continue
            self.notify("stream.chunk", stream_id=name, token=f"w{stream['n']} " + "x" * option("token-bytes"), token_id=stream["n"],
                        index=stream["n"], is_final=False)
            stream["n"] += 1

    def end(self, name, reason):
        stream = self.streams.pop(name)
        self.notify("stream.stats", stream_id=name, tokens_generated=stream["n"], tokens_per_second=1.0,
                    time_to_first_token=0.1, total_time=1.0, usage={"prompt_tokens": 3})
        self.notify("stream.event", stream_id=name, event="completed", finish_reason=reason, is_final=True)

    # -- in --------------------------------------------------------------------------------

    def call(self, method, params):
        function = getattr(self, method.replace("/", "_"), None)
        if not function:
            raise Failure(-32601, f"Unknown method: {method}", "method_not_found")
        return function(params)

    def item(self, method, params):
        try:
            return {"success": True, "result": self.call(method, params), "error": None}
        except Failure as f:
            return {"success": False, "result": None, "error": f.error["message"],
                    "error_code": f.error["code"], "error_data": f.error["data"]}

    def handle(self, line):
        m = json.loads(line)
        if self.log:
            self.log.write(json.dumps({"method": m["method"], "params": m.get("params")}) + "\n")
            self.log.flush()
        if "id" not in m:
            return
        if m["method"] == "tokenize" and OPTIONS.pop("mute-first", None):
            return
        answer = {"jsonrpc": "2.0", "id": m["id"]}
        if "tokenize" in m["method"] and "wrong-id" in OPTIONS:
            answer["id"] += 1000
        try:
            if m["method"].startswith("batch_"):
                item = m["method"][len("batch_"):]
                answer["result"] = {"results": [self.item(item, p) for p in m["params"]["requests"]]}
            else:
                answer["result"] = self.call(m["method"], m.get("params", {}))
        except Failure as f:
            answer["error"] = f.error
        if "tokenize" in m["method"] and option("hold-ms"):
            self.later.append((time.monotonic() + option("hold-ms") / 1000, answer))
        else:
            self.write(answer)

    def run(self):
        selector, pending = selectors.DefaultSelector(), b""
        selector.register(0, selectors.EVENT_READ)
        pause = option("token-ms", 1) / 1000
        while True:
            busy = self.streams or self.later
            if selector.select(pause if busy else None):
                data = os.read(0, 1 << 16)
                if not data and "deaf" not in OPTIONS:
                    return
                if not data:
                    selector.unregister(0)
                    selector.register(os.pipe()[0], selectors.EVENT_READ)
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    self.handle(line)
            now = time.monotonic()
            for due, answer in [x for x in self.later if x[0] <= now]:
                self.later.remove((due, answer))
                self.write(answer)
            self.step()


if "exit" in OPTIONS:
    print("fake: bad argument", file=sys.stderr)
    sys.exit(option("exit"))
Worker().run()
