"""What README.md shows is what happens, and the files it names are there."""
import os
import re
import subprocess
import unittest

from host import ROOT, tandem, worker


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as f:
        return f.read()


def transcript():
    """(what is typed, what is read) in order, from the block that begins with `$ build/tandem`."""
    block = re.search(r"```console\n\$ build/tandem\n(.*?)```", read("README.md"), re.S).group(1)
    return [(line[0], line[2:]) for line in block.splitlines()]


def pattern(shown):
    return re.compile(".*".join(re.escape(part) for part in shown.split("…")), re.S)


class Transcript(unittest.TestCase):
    def replay(self, host):
        heard = 0
        for direction, text in transcript():
            if direction == ">":
                host.send_text(text)
                continue
            self.assertEqual(direction, "<")
            heard += 1
            line = host.wait_count(heard)[-1].raw.decode()
            self.assertRegex(line, pattern(text))
            self.assertTrue(pattern(text).fullmatch(line), f"shown: {text}\nheard: {line}")
        self.assertEqual(len(host.messages), heard)
        self.assertGreater(heard, 5)

    def test_the_session_by_hand_goes_as_it_is_shown(self):
        with tandem() as host:
            self.replay(host)

    def test_a_worker_alone_answers_the_same_session(self):
        with worker() as host:
            self.replay(host)


class Names(unittest.TestCase):
    def test_every_file_and_folder_the_pages_name_exists(self):
        for page in ("README.md", "docs/protocol.md", "bench/SPEED.md"):
            for path in re.findall(r"[`(]((?:controller|worker|protocol|kernels|tests|bench|models|docs|examples)/"
                                   r"[\w./-]*)[`)]", read(page)):
                self.assertTrue(os.path.exists(os.path.join(ROOT, path)), f"{page} names {path}")

    def test_the_tour_names_every_stop_in_the_order_of_the_code(self):
        toured = [(path, int(n)) for n, path in
                  re.findall(r"^\| (\d+) \| `([\w./]+\.c)` \|", read("README.md"), re.M)]
        self.assertEqual([n for _, n in toured], list(range(1, len(toured) + 1)))
        sources = subprocess.run(["git", "ls-files", "*.c"], cwd=ROOT, capture_output=True, text=True, check=True)
        says = {}
        for path in sources.stdout.split():
            opening = " ".join(read(path).split("*/", 1)[0].replace("\n *", " ").split())
            if found := re.search(r" Stop (\d+); next: ([\w./]+\.c)", opening):
                says[path] = (int(found.group(1)), found.group(2))
        self.assertEqual({path: n for path, (n, _) in says.items()}, dict(toured))
        for (path, _), (following, _) in zip(toured, toured[1:] + toured[:1]):
            self.assertTrue(following.endswith(says[path][1]), f"{path} names {says[path][1]}, not {following}")

    def test_every_command_the_readme_gives_is_a_target(self):
        makefile = read("Makefile")
        for target in re.findall(r"\bmake ([a-z]+)", read("README.md")):
            self.assertRegex(makefile, rf"(?m)^{target}:")


class Page(unittest.TestCase):
    def test_every_example_of_the_page_works(self):
        """rpc.discover tells the same examples; what is refused until it exists has none that works."""
        with tandem() as host:
            host.load("novel-7m")
            tried = 0
            for method in host.call("rpc.discover")["methods"]:
                name, example = method["name"], method["example"]
                if method["notification"] or name in ("shutdown", "cancel", "unload_model"):
                    continue
                answer = host.answer(host.request(name, **example)).body
                if "error" in answer:
                    self.assertRegex(answer["error"]["message"], "not available|Model not loaded", name)
                else:
                    tried += 1
            self.assertGreater(tried, 10)
            for stream in list(host.streams.values()):
                stream.wait()


class Trace(unittest.TestCase):
    def test_trace_all_prints_a_requests_way_in_the_order_of_the_tour(self):
        with tandem(env={"TRACE": "all"}) as host:
            host.load()
            host.stream(prompt="The old house stood", max_tokens=2)
            for last in ("after 2 tokens", "[relay]", "[stream]"):
                host.wait_stderr(last)
            way = "".join(host.stderr)
        way = way[way.rindex("tandem: [host] in", 0, re.search(r"\[registry\] .* generate", way).start()):]
        ours = re.findall(r"^tandem: \[([a-z]+)\]", way, re.M)
        workers = re.findall(r"^tandem: \[worker 0\] tandem-worker: \[([a-z]+)\]", way, re.M)
        for parts, order in ((ours, ["host", "registry", "queue", "dispatch", "relay"]),
                             (workers, ["session", "handler", "generate", "engine", "sched", "stream"])):
            self.assertEqual([p for p in dict.fromkeys(parts) if p in order], order, way)


    def test_the_page_names_the_parts_that_can_be_traced(self):
        named = re.search(r"`TRACE=PART,PART` \(or `all`\).*?: ([^.]*)\.", read("docs/protocol.md"), re.S).group(1)
        sources = subprocess.run(["git", "ls-files", "controller/*.c", "worker/*.c"], cwd=ROOT, capture_output=True,
                                 text=True, check=True).stdout.split()
        traced = {part for path in sources for part in re.findall(r'log_trace\("(\w+)"', read(path))}
        self.assertEqual(set(re.findall(r"`(\w+)`", named)), traced)
        with worker(env={"TRACE": "nothing"}) as host:
            host.wait_stderr("TRACE names nothing")
            told = re.search(r"there are all,(.*)", "".join(host.stderr)).group(1)
        self.assertEqual(set(told.split(",")), traced)


if __name__ == "__main__":
    unittest.main()
