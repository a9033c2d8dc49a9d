"""The checks of a server: golden frames, then scenes a host may bring about, its bad days included."""
import json
import pkgutil
from pipe import Broken, Pipe

ASKED = 500
CANCELS = 10000
LONG_LINE = 100 << 20


class Skip(Exception):
    """Cannot be checked here; says why."""


class Subject:
    """What is checked: a command, and the model it may load."""

    def __init__(self, argv, model, patience):
        self.argv, self.model, self.patience = argv, model, patience
        self.methods, self.limits, self.framings, self.can_load = [], {}, ["ndjson"], False

    def open(self, **more):
        return Pipe(self.argv, self.patience, **more)

    def open_loaded(self):
        pipe = self.open()
        try:
            pipe.call("load_model", model_id="conform", **({"local_path": self.model} if self.model else {}))
        except BaseException:
            pipe.__exit__()
            raise
        return pipe

    def get_to_know(self):
        """Everything else rests on this, so that nothing else is tried when it fails."""
        with self.open() as pipe:
            told = pipe.call("initialize", protocolVersion="1", capabilities={})
            if why := fits({"capabilities": {"methods": ["<string>"]}}, told):
                raise Broken(f"its result should tell what it can, {{capabilities: {{methods: [...]}}}}, but {why}")
            self.methods = told["capabilities"]["methods"]
            self.framings = told["capabilities"].get("framing", self.framings)
            self.limits = told.get("limits", {})
            if "load_model" in self.methods:
                body = pipe.answer(pipe.start("load_model", model_id="conform",
                                              **({"local_path": self.model} if self.model else {})))
                self.can_load = "result" in body

    def need(self, *names):
        for name in names:
            if name == "model" and not self.can_load:
                raise Skip("no model could be loaded; see --model")
            if name != "model" and name not in self.methods:
                raise Skip(f"there is no method {name}")


# -- golden frames -----------------------------------------------------------------------------

TYPES = {"<object>": dict, "<string>": str, "<integer>": int, "<number>": (int, float), "<boolean>": bool}


def fits(shape, value):
    """None, or where the value is not of the shape: a dict names members that must be there, a list of one
    shape says it of all elements, `<type>` stands for any value of it."""
    if isinstance(shape, str) and shape in TYPES:
        is_right = isinstance(value, TYPES[shape]) and (shape == "<boolean>" or not isinstance(value, bool))
        return None if is_right else f"{json.dumps(value)[:80]} is no {shape}"
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{json.dumps(value)[:80]} is no object"
        for key, inner in shape.items():
            if key not in value:
                return f"no {key} in {json.dumps(value)[:160]}"
            if why := fits(inner, value[key]):
                return f"{key}: {why}"
        return None
    if isinstance(shape, list):
        if not isinstance(value, list) or (len(shape) > 1 and len(shape) != len(value)):
            return f"{json.dumps(value)[:160]} is no list as {json.dumps(shape)[:80]}"
        shapes = shape * len(value) if len(shape) == 1 else shape
        return next((why for s, v in zip(shapes, value) if (why := fits(s, v))), None)
    return None if shape == value and type(shape) is type(value) else f"{json.dumps(value)[:80]} is not {json.dumps(shape)}"


def try_frame(subject, pipe, frame):
    subject.need(*frame.get("needs", []))
    # Frames choose their own ids; each may come back once.
    sent = json.loads(frame["send"]) if fits_json(frame["send"]) else None
    for one in sent if isinstance(sent, list) else [sent]:
        if isinstance(one, dict) and "id" in one:
            pipe.asked[json.dumps(one["id"])] = 1
    pipe.last_id += 1000
    before = len(pipe.messages)
    pipe.send(frame["send"])
    want, asked = frame["want"], frame["send"][:100]
    pipe.wait(lambda: len(pipe.messages) >= before + len(want), f"{len(want)} message(s) in answer to {asked}")
    pipe.settle()
    got = pipe.messages[before:-1]
    if len(got) != len(want):
        raise Broken(f"{len(want)} messages are wanted in answer to {asked}, these came: {[raw[:120] for raw, _ in got]}")
    for shape, (raw, message) in zip(want, got):
        if why := fits(shape, message):
            raise Broken(f"{why}, in answer to {asked}")
        if frame.get("raw_has", "").encode() not in raw:
            raise Broken(f"{frame['raw_has']} is not in {raw[:120]!r}")


def fits_json(text):
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def frame_checks(subject):
    """(name, function) of each; they share one process until one of them breaks it."""
    shared = []

    def pipe():
        if not shared:
            shared.append(subject.open_loaded() if subject.can_load else subject.open())
        return shared[0]

    def run(frame):
        try:
            try_frame(subject, pipe(), frame)
        except Broken:
            while shared:
                shared.pop().__exit__()
            raise

    for frame in json.loads(pkgutil.get_data("checks", "frames.json")):
        yield frame["name"], lambda frame=frame: run(frame)
    while shared:
        shared.pop().__exit__()


# -- scenes ------------------------------------------------------------------------------------

SCENES = []


def scene(name):
    def keep(function):
        SCENES.append((name, function))
        return function
    return keep


def pings(pipe, n):
    return [pipe.encode("ping") for _ in range(n)]


def all_answered(pipe):
    pipe.wait(lambda: not any(pipe.asked.values()), "every answer")


@scene("requests sent all at once are answered once each")
def _(subject):
    with subject.open() as pipe:
        pipe.write(b"".join(map(pipe.frame, pings(pipe, ASKED))))
        all_answered(pipe)
        pipe.settle()


@scene("a request may come byte by byte, its line end be CRLF, blank lines lie between")
def _(subject):
    with subject.open() as pipe:
        for byte in pipe.encode("ping").encode() + b"\r\n\r\n\n":
            pipe.write(bytes([byte]))
        all_answered(pipe)
        pipe.settle()


@scene("requests with headers are answered with headers")
def _(subject):
    if isinstance(subject.framings, list) and "lsp" not in subject.framings:
        raise Skip("its framing has no headers")
    with subject.open(framing="lsp") as pipe:
        pipe.write(b"".join(map(pipe.frame, pings(pipe, 3))))
        all_answered(pipe)
        for byte in pipe.frame(pipe.encode("ping")):
            pipe.write(bytes([byte]))
        all_answered(pipe)


@scene("a host that does not read while it writes 4 MB is answered when it reads")
def _(subject):
    with subject.open() as pipe:
        padding = " " * 2000
        data = b"".join(pipe.frame(text[:-1] + padding + "}") for text in pings(pipe, 2000))
        pipe.write(data, reads=False)
        all_answered(pipe)


@scene("a line of 100 MB costs one error, and the next works")
def _(subject):
    limit = subject.limits.get("message_bytes") or subject.limits.get("max_frame_in", 0)
    if not 0 < limit < LONG_LINE:
        raise Skip(f"its limit is {limit}")
    with subject.open() as pipe:
        pipe.send(pipe.encode("ping"))
        all_answered(pipe)
        piece = b"x" * (1 << 20)
        pipe.write(b'{"jsonrpc":"2.0","id":99,"method":"')
        for _ in range(LONG_LINE >> 20):
            pipe.write(piece)
        pipe.write(b'"}\n')
        pipe.settle()
        errors = [m for _, m in pipe.messages if isinstance(m, dict) and "error" in m]
        if len(errors) != 1 or errors[0]["error"]["code"] != -32600 or errors[0].get("id") is not None:
            raise Broken(f"it costs {json.dumps(errors)[:200]}")


@scene("10,000 cancels of nothing disturb nobody")
def _(subject):
    subject.need("cancel")
    with subject.open() as pipe:
        texts = []
        for i in range(CANCELS // 2):
            texts.append(pipe.encode("$/cancelRequest", {"id": 10 ** 6 + i}, is_call=False))
            texts.append(pipe.encode("cancel", {"stream_id": f"nobody-{i}"}))
        pipe.write(b"".join(map(pipe.frame, texts)))
        all_answered(pipe)


@scene("a stream is answer, chunks in order, stats, one event")
def _(subject):
    subject.need("model", "generate")
    with subject.open_loaded() as pipe:
        stream = pipe.generate(model_id="conform", prompt="The old house", max_tokens=12, seed=3)
        if stream.event["event"] != "completed" or len(stream.tokens) > 12 or not stream.tokens:
            raise Broken(f"{len(stream.tokens)} tokens and {stream.event}")
        if stream.stats["tokens_generated"] != len([t for t in stream.tokens if not t.get("is_tail")]):
            raise Broken(f"its stats are {stream.stats}")
        pipe.settle()


@scene("a stream says the same alone, among others, and whole")
def _(subject):
    subject.need("model", "generate")
    asked = {"model_id": "conform", "prompt": "The old house", "max_tokens": 12, "seed": 3}
    with subject.open_loaded() as pipe:
        alone = pipe.generate(**asked).text
        keys = [pipe.start("generate", **asked, stream_id=f"beside-{i}") for i in range(8)]
        for key in keys:
            pipe.answer(key)
        pipe.wait(lambda: all(s.event for s in pipe.streams.values()), "the end of eight streams")
        texts = {s.text for s in pipe.streams.values()} | {pipe.call("generate", **asked, stream=False)["text"]}
        if texts != {alone}:
            raise Broken(f"{sorted(texts)} instead of {alone!r}")


@scene("a cancelled stream ends once, and says nothing after its cancel is answered")
def _(subject):
    subject.need("model", "generate", "cancel")
    with subject.open_loaded() as pipe:
        pipe.answer(pipe.start("generate", model_id="conform", prompt="The", max_tokens=400, ignore_eos=True,
                               stream_id="long"))
        stream = pipe.streams["long"]
        pipe.wait(lambda: stream.tokens, "its first token")
        cancelled = pipe.call("cancel", stream_id="long")["cancelled"]
        if cancelled and not stream.event:
            raise Broken("cancel is answered before the stream has ended")
        pipe.wait(lambda: stream.event, "its end")
        pipe.settle()


@scene("a stream_id in use is refused, and its owner is not disturbed")
def _(subject):
    subject.need("model", "generate")
    with subject.open_loaded() as pipe:
        asked = {"model_id": "conform", "prompt": "The", "max_tokens": 400, "ignore_eos": True, "stream_id": "mine"}
        first = pipe.start("generate", **asked)
        stream = pipe.streams["mine"]
        second = pipe.encode("generate", asked)
        pipe.send(second)
        pipe.wait(lambda: json.dumps(pipe.last_id) in pipe.answers, "the second answer")
        if pipe.answers[json.dumps(pipe.last_id)].get("error", {}).get("code") != -32602:
            raise Broken(f"the second is answered {pipe.answers[json.dumps(pipe.last_id)]}")
        pipe.answer(first)
        pipe.call("cancel", stream_id="mine")
        pipe.wait(lambda: stream.event, "the end of the first")


@scene("at the end of input what was asked is answered, and it exits with 0")
def _(subject):
    with subject.open() as pipe:
        pipe.write(b"".join(map(pipe.frame, pings(pipe, 20))))
        pipe.close_input()
        code = pipe.wait_exit()
        if any(pipe.asked.values()) or code != 0:
            raise Broken(f"exit {code}, {sum(pipe.asked.values())} not answered")


@scene("shutdown is answered, and exit ends it with 0")
def _(subject):
    subject.need("shutdown")
    with subject.open() as pipe:
        pipe.call("shutdown")
        pipe.send(pipe.encode("exit", is_call=False))
        if (code := pipe.wait_exit()) != 0:
            raise Broken(f"exit {code}")


def server_checks(subject):
    yield from frame_checks(subject)
    for name, function in SCENES:
        yield name, lambda function=function: function(subject)
