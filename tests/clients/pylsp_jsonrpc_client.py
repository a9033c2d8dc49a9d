"""Debian's python3-pylsp-jsonrpc: headers, futures, $/cancelRequest by cancelling the future."""
import concurrent.futures
import os
import queue
import subprocess
import sys
import threading

from pylsp_jsonrpc.endpoint import Endpoint
from pylsp_jsonrpc.exceptions import JsonRpcException
from pylsp_jsonrpc.streams import JsonRpcStreamReader, JsonRpcStreamWriter

PATIENCE = float(os.environ.get("PATIENCE", "60"))
TEXT = {"model_id": "m", "prompt": "The old house stood", "max_tokens": 12, "temperature": 0}
LONG = {"model_id": "m", "prompt": "Once", "max_tokens": 480, "ignore_eos": True, "stream": False}

child = subprocess.Popen([os.environ["TANDEM"], "--worker", os.environ["TANDEM_WORKER"], "--", "--dev-stall-ms=20"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
chunks, events, progress, cancelled = [], queue.Queue(), [], queue.Queue()
endpoint = Endpoint({"stream.chunk": lambda p: chunks.extend(p.get("tokens") or [p]),
                     "stream.stats": lambda p: None,
                     "stream.event": events.put,
                     "$/progress": lambda p: progress.append(p["value"]["kind"])},
                    JsonRpcStreamWriter(child.stdin).write)


def consume(message):
    """The answer to a request whose future was cancelled finds that future closed."""
    try:
        endpoint.consume(message)
    except concurrent.futures.InvalidStateError:
        cancelled.put(message["error"]["code"])


def call(method, **params):
    return endpoint.request(method, params).result(PATIENCE)


def code(method, **params):
    try:
        return call(method, **params)
    except JsonRpcException as e:
        return e.code


def main():
    threading.Thread(target=JsonRpcStreamReader(child.stdout).listen, args=(consume,), daemon=True).start()
    assert call("initialize", processId=os.getpid(), capabilities={})["serverInfo"]["name"] == "tandem"
    endpoint.notify("initialized", {})
    assert call("load_model", model_id="m", local_path=os.environ["NOVEL"], workDoneToken="w")["state"] == "ready"
    assert (progress[0], progress[-1]) == ("begin", "end"), progress
    assert call("tokenize", model_id="m", text=TEXT["prompt"])["tokens"] == [1, 522, 667, 834, 1087]
    whole = call("generate", **TEXT, stream=False)
    assert call("generate", **TEXT, stream_id="s")["stream_id"] == "s"
    assert events.get(timeout=PATIENCE)["finish_reason"] == "length"
    assert "".join(c["token"] for c in chunks) == whole["text"]
    assert code("tokenise") == -32601
    assert code("tokenize", model_id="absent", text="x") == -32005
    assert endpoint.request("generate", LONG).cancel()
    assert cancelled.get(timeout=PATIENCE) == -32800
    assert call("runtime/state")["active_streams"] == 0
    assert call("shutdown")["success"]
    endpoint.notify("exit")
    assert child.wait(PATIENCE) == 0
    print("ok")


try:
    main()
finally:
    child.kill()
    sys.stdout.flush()
