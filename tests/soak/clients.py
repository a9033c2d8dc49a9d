"""What the soak's clients do, and what they must hear.

Everything asked comes from one catalogue, which is answered first by a controller that nobody
disturbs. A client is a generator: it yields what it waits for and goes on when that is done.
"""
import json
from wire import Stream, Wrong

CRASHED, NOT_LOADED, CANCELLED, TIMEOUT = -32009, -32005, -32800, -32008
GONE, BUSY = -32602, -32011  # a worker that was replaced meanwhile, or is being so
OPENINGS = ["The old house stood", "It was a cold evening in November when", "She opened the letter and",
            "“You are late,” said the captain,", "In the spring of that year", "Nobody in the village",
            "There was once a", "The carriage", "My dear Sir,", "He had never"]
# Of each result, what may not differ from one run to the next.
STEADY = {
    "tokenize": ("tokens", "token_strings", "count"),
    "detokenize": ("text",),
    "apply_chat_template": ("text",),
    "embed": ("data",),
    "check_draft": ("accepted", "next_token", "tokens", "stopped_by", "compatible", "errors"),
    "generate": ("text", "tokens", "finish_reason", "stop_detail", "seed", "logprobs"),
    "initialize": ("protocolVersion", "serverInfo", "capabilities"),
    "rpc.discover": ("methods",),
    "tools/list": ("tools",),
    "tools/call": ("content", "structuredContent", "isError"),
}


def steady(method, result):
    if method.startswith("batch_"):
        return [(r["success"], r.get("error_code"), r["success"] and steady(method[6:], r["result"]))
                for r in result["results"]]
    return {k: result[k] for k in STEADY[method] if k in result}


def make_streams(rng, n):
    """The parameters of n generates."""
    made = []
    for i in range(n):
        params = {"model_id": "m", "prompt": f"{rng.choice(OPENINGS)} {i}", "max_tokens": rng.randint(1, 160),
                  "temperature": rng.choice([0, 0.7, 1.1]), "seed": rng.randrange(1 << 32), "ignore_eos": True}
        if rng.random() < 0.3:
            params["stop_sequences"] = [" and", "."]
        if rng.random() < 0.3:
            params.update(logprobs=True)
        if rng.random() < 0.2:
            params.update(repetition_penalty=1.1, top_k=40, min_p=0.02)
        if rng.random() < 0.2:
            params.update(prediction={"type": "content", "content": rng.choice(OPENINGS)})
        made.append(params)
    return made


def make_calls(rng, streams):
    calls = [("initialize", {}), ("rpc.discover", {}), ("tools/list", {})]
    texts = [" ".join(rng.choice(OPENINGS) for _ in range(n)) for n in (1, 3, 40, 400)]
    for text in texts:
        calls.append(("tokenize", {"model_id": "m", "text": text}))
    calls += [("detokenize", {"model_id": "m", "tokens": [rng.randrange(4, 4096) for _ in range(n)]})
              for n in (1, 20, 500)]
    calls += [("apply_chat_template", {"model_id": "m", "messages": [{"role": "user", "content": t}]})
              for t in texts[:3]]
    calls += [("embed", {"model_id": "m", "input": t}) for t in texts[:2]] + [
        ("check_draft", {"model_id": "m", "prompt": t, "seed": 5, "draft_tokens": [267, 285, 300, 16]})
        for t in texts[:2]] + [("check_draft", {"primary_id": "m", "draft_id": "d"})]
    calls += [("generate", {**s, "stream": False}) for s in streams[:6]]
    calls += [("tools/call", {"name": "detokenize", "arguments": {"model_id": "m", "tokens": list(range(4, 4 + n))}})
              for n in (3, 300)]
    calls.append(("batch_tokenize", {"requests": [{"model_id": m, "text": t} for t in texts for m in ("m", "absent")]}))
    calls.append(("batch_check_draft", {"requests": [c[1] for c in calls if c[0] == "check_draft" and "prompt" in c[1]]}))
    calls.append(("batch_generate", {"requests": [{**s, "stream": False} for s in streams[6:9]]}))
    return calls


class Catalogue:
    """What is asked, with what an undisturbed controller answers."""

    def __init__(self, rng, wire):
        self.streams, self.calls = [], []
        asked = make_streams(rng, 60)
        started = [wire.send("generate", **p) for p in asked]
        for params, request in zip(asked, started):
            wire.wait(request)
            if request.error or request.event["event"] != "completed":
                raise Wrong(f"undisturbed, and yet: {request.answer} {request.event}")
            self.streams.append((params, request.tokens, end_of(request)))
        for method, params in make_calls(rng, asked):
            self.calls.append((method, params, steady(method, wire.call(method, **params))))


def end_of(stream):
    return stream.event.get("finish_reason"), stream.event.get("stop_detail"), stream.tail


class Clients:
    def __init__(self, wire, catalogue, rng, n):
        self.wire, self.catalogue, self.rng = wire, catalogue, rng
        self.counts = {}
        self.n_bad_lines = 0
        self.is_stopping = False
        self.waiting = []  # (generator, what it waits for)
        flows = [(self.whole_stream, 40), (self.call, 30), (self.lossy_stream, 5), (self.cancelled_stream, 8),
                 (self.hurried_stream, 4), (self.batch, 4), (self.load, 2), (self.roster, 0.3),
                 (self.session, 4), (self.twice, 2), (self.nonsense, 3)]
        self.flows, self.weights = zip(*flows)
        for i in range(n):
            client = self.client(i)
            self.waiting.append((client, next(client)))

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def step(self):
        """Every client that has what it waits for goes on. True while some wait."""
        left = []
        for client, request in self.waiting:
            try:
                while request.is_done:
                    request = next(client)
                left.append((client, request))
            except StopIteration:
                pass
        self.waiting = left
        return bool(left)

    def client(self, i):
        while not self.is_stopping:
            flow = self.rng.choices(self.flows, self.weights)[0]
            yield from flow(f"c{i}")
            self.count(flow.__name__)

    # -- judging ---------------------------------------------------------------------------

    def excuse(self, error, *codes):
        """An error that a fault may cause. Two workers that died with one request, nothing in
        between, are the only crash a caller hears of that did not decline the replay."""
        code, data = error["code"], error.get("data", {})
        if code == CRASHED and data.get("poison"):
            self.count("refused as poison")
        elif code in codes:
            self.count(f"error {code}")
        else:
            raise Wrong(f"not an error of ours: {json.dumps(error)[:1500]}")

    def compare_call(self, request, expected, *codes):
        error = request.error or request.answer["result"].get("_meta", {}).get("tandem/error")
        if error:
            self.excuse(error, *codes)
        elif steady(request.method, request.answer["result"]) != expected:
            self.compare_items(request, expected)

    def compare_items(self, request, expected):
        """A batch may hold failures that are excused."""
        got = steady(request.method, request.answer["result"])
        if not request.method.startswith("batch_") or len(got) != len(expected):
            raise Wrong(f"{request.method} {request.params} is {got} instead of {expected}")
        for item, one, other in zip(request.answer["result"]["results"], got, expected):
            if one != other and not item["success"]:
                self.excuse({"code": item["error_code"], "data": item["error_data"], "message": item["error"]})
            elif one != other:
                raise Wrong(f"{request.method} has {one} instead of {other}")

    def compare_stream(self, stream, expected, end, *codes):
        """Whole and the same; or, ended by one of the codes or reasons, the beginning of it."""
        if stream.error:
            self.excuse(stream.error, *codes)
            return
        if stream.tokens != expected[:len(stream.tokens)]:
            raise Wrong(f"{stream.params} became {stream.tokens} instead of {expected}")
        if stream.event["event"] == "error":
            self.excuse({**stream.event, "message": stream.event["error"]}, *codes)
        elif end_of(stream)[0] in codes:
            self.count(f"finished: {end_of(stream)[0]}")
        elif len(stream.tokens) != len(expected) or end_of(stream) != end:
            raise Wrong(f"{stream.id} ended {stream.event} after {len(stream.tokens)} of {len(expected)} tokens")

    # -- what they do ----------------------------------------------------------------------

    def start(self, client, **more):
        params, tokens, end = self.rng.choice(self.catalogue.streams)
        more = {**self.rng.choice([{}, {"resume": "replay"}]), **more}
        priority = self.rng.choice(["urgent", "default", "background"])
        return self.wire.send("generate", **{**params, "client": client, "priority": priority, **more}), tokens, end

    def whole_stream(self, client):
        stream, tokens, end = self.start(client)
        yield stream
        self.compare_stream(stream, tokens, end)

    def lossy_stream(self, client):
        """It wants no replay."""
        stream, tokens, end = self.start(client, resume="error")
        yield stream
        self.compare_stream(stream, tokens, end, CRASHED)

    def hurried_stream(self, client):
        stream, tokens, end = self.start(client, timeout_ms=self.rng.randint(1, 400))
        yield stream
        self.compare_stream(stream, tokens, end, TIMEOUT, "timeout")

    def cancelled_stream(self, client):
        stream, tokens, end = self.start(client)
        ask = yield from self.wait_tokens(stream, self.rng.randint(0, 20))
        way = self.rng.randrange(4)
        if way == 0:
            ask = self.wire.send("cancel", stream_id=stream.params["stream_id"])
        elif way == 1:
            ask = self.wire.send("cancel", id=stream.id)
        elif way == 2:
            self.wire.notify("$/cancelRequest", id=stream.id)
        else:
            self.wire.notify("stream.ack", stream_id=stream.params["stream_id"], index=0)
            self.wire.notify("$/cancelRequest", id=stream.id)
        if ask:
            yield ask
            if ask.error:
                raise Wrong(f"cancel was answered {ask.error}")
        yield stream
        self.compare_stream(stream, tokens, end, CANCELLED, "cancelled")

    def wait_tokens(self, stream, n):
        class Enough:
            is_done = property(lambda _: stream.is_done or len(stream.tokens) >= n)
        yield Enough()

    def call(self, client):
        method, params, expected = self.rng.choice(self.catalogue.calls)
        if method == "batch_generate":
            params = {"requests": [{**p, **self.rng.choice([{}, {"resume": "replay"}])} for p in params["requests"]]}
        request = self.wire.send(method, **params)
        yield request
        self.compare_call(request, expected)

    def batch(self, _):
        """A JSON-RPC array."""
        chosen = [c for c in self.rng.choices(self.catalogue.calls, k=self.rng.randint(1, 12)) if c[0] != "initialize"]
        made = []
        for method, params, expected in chosen:
            more = {"resume": "replay"} if method == "generate" else {}
            if method != "batch_generate":
                made.append((self.wire.make(method, {**params, **more}), expected))
        if made:
            self.wire.put("[" + ",".join(self.wire.text(r) for r, _ in made) + "]")
        for request, expected in made:
            yield request
            self.compare_call(request, expected)

    def twice(self, client):
        """Asked again while it runs, and done once: both answers are the first one's. Such an answer is kept for
        minutes, up to 16 MiB of them: short ones, or that store filling up would look like a leak, or hide one."""
        method, params, expected = next(c for c in self.catalogue.calls if c[0] == "tokenize")
        key = f"{client}-{self.wire.n_sent}"
        made = [self.wire.send(method, **params, client=client, idempotency_key=key) for _ in range(2)]
        for request in made:
            yield request
            self.compare_call(request, expected)

    def load(self, client):
        """A model of its own, used and unloaded: only it hears that a crash took it."""
        name = f"own-{client}"
        for method, params in (("load_model", {"local_path": "models/novel-7m", "workers": self.rng.randint(1, 2)}),
                               ("tokenize", {"text": "one two"}), ("list_models", None),
                               ("generate", {"prompt": "x", "max_tokens": 5}),
                               ("unload_model", {"force": self.rng.random() < 0.5})):
            request = self.wire.send(method, **({"model_id": name, **params} if params is not None else {}))
            yield request
            if request.error:
                self.excuse(request.error, CRASHED, NOT_LOADED)
            elif isinstance(request, Stream) and request.event["event"] == "error":
                self.excuse({**request.event, "message": request.event["error"]}, CRASHED)

    def roster(self, _):
        """A worker more; then it, or another, is drained for a while or sent away."""
        ask = self.wire.send("runtime/add_worker")
        yield ask
        if ask.error:
            self.excuse(ask.error, CRASHED, GONE, BUSY)
            return
        worker = ask.answer["result"]["worker"]
        methods = [("drain_worker", {}), ("drain_worker", {"undo": True})] if self.rng.random() < 0.5 else []
        for method, more in methods + [("remove_worker", {"force": self.rng.random() < 0.5})]:
            ask = self.wire.send(f"runtime/{method}", worker=worker, **more)
            yield ask
            if ask.error:
                self.excuse(ask.error, CRASHED, GONE, BUSY)

    def session(self, _):
        method = self.rng.choice(["ping", "runtime/info", "runtime/state", "runtime/telemetry", "list_models"])
        request = self.wire.send(method)
        yield request
        if request.error:
            self.excuse(request.error)

    def nonsense(self, _):
        way = self.rng.randrange(3)
        if way == 0:
            self.n_bad_lines += 1
            self.wire.put(self.rng.choice(['{"jsonrpc":', "\ufffd", '{"a":NaN}', "]", '"', "{'a':1}"]))
        request = self.wire.send(*(("tokenise",), ("tokenize",))[way > 1], **({"model_id": "m", "txt": 1} if way > 1 else {}))
        yield request
        wanted = -32602 if way > 1 else -32601
        if not request.error or request.error["code"] != wanted:
            raise Wrong(f"nonsense was answered {request.answer}")
