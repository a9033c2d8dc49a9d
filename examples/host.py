#!/usr/bin/env python3
"""A complete host in Python's standard library: load, tokenize, stream a text, cancel another."""
import itertools
import json
import os
import subprocess
import sys

model = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "models/novel-7m")
tandem = subprocess.Popen([os.environ.get("TANDEM", "build/tandem")], encoding="utf-8",
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE)
ids = itertools.count(1)


def read_until(wanted):
    """Print the text of every chunk on the way to the message that is wanted."""
    for message in map(json.loads, tandem.stdout):
        if message.get("method") == "stream.chunk":
            chunk = message["params"]
            print("".join(t["token"] for t in chunk.get("tokens", [chunk])), end="", flush=True)
        if wanted(message):
            return message.get("params") or message.get("result") or message["error"]


def call(method, **params):
    request = {"jsonrpc": "2.0", "id": next(ids), "method": method, "params": params}
    tandem.stdin.write(json.dumps(request) + "\n")
    tandem.stdin.flush()
    return read_until(lambda m: m.get("id") == request["id"])


print("loaded:", call("load_model", model_id="novel", local_path=model)["state"])
print("tokens:", call("tokenize", model_id="novel", text="It was a cold evening")["tokens"])
call("generate", model_id="novel", prompt="It was a cold evening", max_tokens=40, seed=1)
print("\nended:", read_until(lambda m: m.get("method") == "stream.event")["finish_reason"])
stream = call("generate", model_id="novel", prompt="Once upon a time", ignore_eos=True)
print("\ncancelled:", call("cancel", stream_id=stream["stream_id"])["cancelled"])
tandem.stdin.close()  # the end of input is the end of tandem
sys.exit(tandem.wait())
