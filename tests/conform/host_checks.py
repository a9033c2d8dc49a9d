"""The checks of a host: it is run with TANDEM naming a scripted server, whose faults it must live through."""
import json
import os
import subprocess
import sys
import tempfile
from pipe import Broken

KIT = os.path.abspath(sys.argv[0])
# (what it is, the server's faults, must the host exit with 0)
SERVERS = [
    ("it says only requests, each with an id of its own, and exits with 0", "", True),
    ("its frames may come in pieces", "--half", True),
    ("a token may take its time", "--token-ms=20", True),
    ("notifications of streams it does not know are ignored", "--flood=50", True),
    ("a server that dies in a stream does not hang it", "--die-after=6", False),
    ("a server that dies at once does not hang it", "--exit=70", False),
]


def run(argv, patience, faults):
    """The exit code and what the server heard."""
    with tempfile.TemporaryDirectory() as folder:
        log, server = os.path.join(folder, "log"), os.path.join(folder, "server")
        with open(server, "w", encoding="utf-8") as f:
            f.write(f'#!/bin/sh\nexec "{sys.executable}" "{KIT}" --fake-worker {faults} "--log={log}" "$@"\n')
        os.chmod(server, 0o755)
        try:
            code = subprocess.run(argv, timeout=patience, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, env={**os.environ, "TANDEM": server}).returncode
        except subprocess.TimeoutExpired as e:
            raise Broken("still runs") from e
        except OSError as e:
            raise Broken(f"cannot be started: {e}") from e
        if not os.path.exists(log):
            return code, []
        with open(log, encoding="utf-8") as f:
            return code, [json.loads(line) for line in f]


def judge(argv, patience, faults, must_succeed):
    code, heard = run(argv, patience, faults)
    if must_succeed and code != 0:
        raise Broken(f"exit {code}")
    if "--exit" in faults:
        return
    if not heard:
        raise Broken("it never started the program that TANDEM names, or asked it nothing")
    ids = [json.dumps(m["id"]) for m in heard if "id" in m]
    for bad in (m for m in heard if m.get("error")):
        raise Broken(f"it was refused: {bad}")
    if len(set(ids)) != len(ids):
        raise Broken("it uses an id twice")


def host_checks(argv, patience):
    for name, faults, must_succeed in SERVERS:
        yield name, lambda f=faults, m=must_succeed: judge(argv, patience, f, m)
