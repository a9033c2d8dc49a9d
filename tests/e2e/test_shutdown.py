"""Every way to stop takes the same path: drained, answered, exit 0, and nothing left behind."""
import signal
import unittest

from host import children, tandem, when_gone, worker

DRAIN_MS = 1500
MARGIN = 10  # seconds a busy machine may add to the drain
STALLED = ["--dev-stall-ms=20"]  # 400 tokens then outlast the drain by far


class Stopping:
    def test_a_closed_stdin_ends_the_process_with_0_within_the_drain_time(self):
        host, stream = self.busy()
        with host:
            host.close_stdin()
            self.assertEqual(host.wait_exit(DRAIN_MS / 1000 + MARGIN), 0)
            self.assertTrue(stream.event, "the stream got no terminal event")

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def test_signals_take_the_same_path(self):
        for number in self.SIGNALS:
            host, stream = self.busy()
            with self.subTest(number), host:
                host.process.send_signal(number)
                self.assertEqual(host.wait_exit(DRAIN_MS / 1000 + MARGIN), 0)
                self.assertTrue(stream.event, "the stream got no terminal event")

    def test_shutdown_is_answered_and_then_the_process_ends(self):
        host, stream = self.busy()
        with host:
            self.assertTrue(host.call("shutdown")["success"])
            try:
                host.notify("exit")  # language clients do, and may be late
            except BrokenPipeError:
                pass
            self.assertEqual(host.wait_exit(DRAIN_MS / 1000 + MARGIN), 0)
            self.assertTrue(stream.event)

    def test_requests_already_written_when_stdin_closes_are_answered(self):
        with self.spawn() as host:
            host.load()
            ids = host.requests([("tokenize", {"model_id": "m", "text": f"t {i}"}) for i in range(200)])
            host.close_stdin()
            self.assertEqual(host.wait_exit(), 0)
            for i in ids:
                self.assertIn("tokens", host.answers[str(i)][0].body["result"])

    def test_a_short_stream_is_drained_not_cut(self):
        with self.spawn("--drain-ms=60000") as host:
            host.load()
            stream = host.start(prompt="The old house stood", max_tokens=16, temperature=0)
            host.close_stdin()
            self.assertEqual(host.wait_exit(), 0)
            self.assertEqual(len(stream.ids), 16)
            self.assertEqual(stream.finish_reason, "length")

    def busy(self):
        """A process with a stream that would outlast the drain."""
        host = self.spawn(f"--drain-ms={DRAIN_MS}", worker_options=STALLED)
        host.load()
        stream = host.start(prompt="Once upon a time", max_tokens=400, ignore_eos=True).wait_tokens()
        return host, stream


class OnTandem(Stopping, unittest.TestCase):
    def spawn(self, *options, **more):
        return tandem(*options, **more)

    def test_workers_end_with_the_controller(self):
        with tandem("--workers=2") as host:
            host.call("ping")
            pids = [pid for pid, _ in children(host.process.pid)]
            self.assertEqual(len(pids), 2)
            host.close_stdin()
            host.wait_exit()
            self.assertEqual(when_gone(pids, 0), 0)


class OnWorker(Stopping, unittest.TestCase):
    SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def spawn(self, *options, **more):
        return worker(*options, **more)


if __name__ == "__main__":
    unittest.main()
