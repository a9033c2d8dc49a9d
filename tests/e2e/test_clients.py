"""Clients that others wrote, against the built binary: each makes the session of tests/clients."""
import os
import shutil
import subprocess
import tempfile
import unittest

from host import NOVEL, PATIENCE, ROOT, TANDEM, WORKER

CLIENTS = os.path.join(ROOT, "tests/clients")
MODULES = os.path.join(ROOT, "build/clients/node_modules")
PYTHON = "/usr/bin/python3"  # the one that Debian's packages are for
NOT_THERE = "{} is not installed; `make setup-clients` installs it"


class Clients(unittest.TestCase):
    def run_client(self, *command, **env):
        paths = {"TANDEM": TANDEM, "TANDEM_WORKER": WORKER, "NOVEL": NOVEL, "NODE_PATH": MODULES}
        done = subprocess.run(command, env={**os.environ, **paths, **env}, timeout=2 * PATIENCE,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def run_node(self, package, script):
        if not shutil.which("node") or not os.path.isdir(os.path.join(MODULES, package)):
            self.skipTest(NOT_THERE.format(package))
        self.run_client("node", os.path.join(CLIENTS, script))

    def test_vscode_jsonrpc_calls_streams_hears_progress_cancels_and_shuts_down(self):
        self.run_node("vscode-jsonrpc", "vscode-jsonrpc.js")

    def test_json_rpc_2_calls_streams_batches_cancels_and_shuts_down(self):
        self.run_node("json-rpc-2.0", "json-rpc-2.0.js")

    def test_jayson_calls_streams_batches_cancels_and_shuts_down(self):
        self.run_node("jayson", "jayson.js")

    def test_the_mcp_sdk_lists_tools_calls_them_hears_progress_and_cancels(self):
        self.run_node("@modelcontextprotocol/sdk", "mcp.js")

    def test_pylsp_jsonrpc_calls_streams_hears_progress_cancels_and_shuts_down(self):
        if not os.path.isdir("/usr/lib/python3/dist-packages/pylsp_jsonrpc"):
            self.skipTest(NOT_THERE.format("python3-pylsp-jsonrpc"))
        self.assertIn("ok", self.run_client(PYTHON, os.path.join(CLIENTS, "pylsp_jsonrpc_client.py")))

    def test_neovims_language_client_calls_streams_hears_progress_cancels_and_shuts_down(self):
        if not shutil.which("nvim"):
            self.skipTest(NOT_THERE.format("neovim"))
        with tempfile.TemporaryDirectory() as home:
            said = self.run_client("nvim", "--headless", "-u", "NONE", "-i", "NONE", "-n",
                                   "-c", "luafile " + os.path.join(CLIENTS, "neovim.lua"), HOME=home,
                                   XDG_STATE_HOME=home, XDG_CACHE_HOME=home, XDG_DATA_HOME=home)
        self.assertIn("ok", said)


if __name__ == "__main__":
    unittest.main()
