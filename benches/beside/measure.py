#!/usr/bin/env python3
"""Runs the relay, a script with a loop (script.py) and a pipeline of dlt (pipeline.py) on the simulator, one after the
other, and prints what each of them costs and loses.

    cargo build --release --workspace
    python3 -m venv /tmp/dlt && /tmp/dlt/bin/pip install dlt==1.31.0
    /tmp/dlt/bin/python benches/beside/measure.py target/release

The scenes: `quiet`, a message every two seconds; `backlog`, many messages at once; `kills`, the program is killed again
and again while messages come and the receiver refuses a tenth of them; `late`, a part of the messages shows up late, behind
newer messages. Each scene counts the requests to the API, the processor time and the peak memory of the program, the
messages that the receiver lacks at the end, and those that it got more than once.
"""

import http.server
import json
import os
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from datetime import datetime, timezone

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = ["relay", "script", "dlt"]


class Receiver:
    """Counts what it gets. `refuse` is the share of requests that it answers with 503."""

    def __init__(self):
        self.got, self.refuse, self.lock = {}, 0.0, threading.Lock()
        chance = random.Random(7)
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with receiver.lock:
                    accepted = chance.random() >= receiver.refuse
                    if accepted:
                        receiver.got.setdefault(body["id"], []).append(time.time())
                self.send_response(200 if accepted else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def count(self):
        with self.lock:
            return len(self.got)


class Simulator:
    def __init__(self, binaries, *options):
        command = [binaries / "joltsms-simulator", "--port", "0", "--switch", "limit=100000", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        found = dict(part.split("=", 1) for part in line.split())
        self.url, self.key, self.session = found["url"], found["key"], found["session"]

    def ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Authorization": "Bearer " + self.session})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def send(self):
        return self.ask("/_simulator/send", {"from": "SHOPLY", "body": "Your code is {code}"})

    def add(self, seconds_ago):
        received = datetime.fromtimestamp(time.time() - seconds_ago, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        return self.ask("/_simulator/messages", {"from": "SHOPLY", "body": "late", "receivedAt": received + "Z"})

    def requests(self):
        """Returns how many requests the program made so far."""
        return sum(1 for request in self.ask("/_simulator/requests?after=0") if not request["session"])

    def messages(self):
        """Returns when the API had each message, in seconds."""
        had, cursor = {}, None
        while True:
            page = self.ask("/v1/messages?limit=100" + (f"&cursor={cursor}" if cursor else ""))
            for row in page["data"]:
                had[row["id"]] = datetime.fromisoformat(row["ingestedAt"].replace("Z", "+00:00")).timestamp()
            cursor = page["meta"].get("nextCursor")
            if not cursor:
                return had

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Program:
    """One of the three programs, started as often as it is killed, with the sums of what its processes used."""

    def __init__(self, name, binaries, simulator, receiver, directory):
        state = pathlib.Path(directory) / name
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": directory, "TZ": "UTC", "API_URL": simulator.url,
            "API_KEY": simulator.key, "RECEIVER_URL": receiver.url, "STATE": str(state),
            "JOLTSMS_API_KEY": simulator.key, "JOLTSMS_API_URL": simulator.url,
            "JOLTSMS_RELAY_STATE__DIR": str(state), "JOLTSMS_RELAY_POLL__START": "beginning",
            "JOLTSMS_RELAY_API__REQUESTS_PER_MINUTE": "10000", "JOLTSMS_RELAY_SINKS__CRM__TYPE": "http",
            "JOLTSMS_RELAY_SINKS__CRM__URL": receiver.url, "JOLTSMS_RELAY_SINKS__CRM__RETRY__INITIAL": "1s",
            "RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "CRITICAL",
        }
        commands = {"relay": [str(binaries / "joltsms-relay")], "script": [sys.executable, str(HERE / "script.py")],
                    "dlt": [sys.executable, str(HERE / "pipeline.py")]}
        self.command, self.log = commands[name], open(f"{directory}/{name}.log", "a")
        self.seconds, self.peak = 0.0, 0

    def start(self):
        self.process = subprocess.Popen(self.command, env=self.environment, stdout=self.log, stderr=self.log)

    def end(self, how):
        self.process.send_signal(how)
        _, _, used = os.wait4(self.process.pid, 0)
        self.process.returncode = 0
        self.seconds += used.ru_utime + used.ru_stime
        self.peak = max(self.peak, used.ru_maxrss)


def wait_for(condition, limit):
    until = time.time() + limit
    while time.time() < until and not condition():
        time.sleep(0.05)
    return condition()


def quiet(simulator, receiver, program):
    program.start()
    wait_for(lambda: receiver.count() >= 5, 60)
    chance = random.Random(5)
    for _ in range(60):
        simulator.send()
        # The messages are not in step with the polls, so the delays are spread.
        time.sleep(1 + 2 * chance.random())


def backlog(simulator, receiver, program):
    program.start()


def kills(simulator, receiver, program):
    receiver.refuse = 0.1
    chance = random.Random(3)
    program.start()
    wait_for(lambda: receiver.count() >= 5, 60)
    for _ in range(10):
        for _ in range(20):
            simulator.send()
        # Python starts more slowly than the relay. The pause gives each program the time to do something.
        time.sleep(2 + 3 * chance.random())
        program.end(signal.SIGKILL)
        program.start()
    receiver.refuse = 0.0


def late(simulator, receiver, program):
    program.start()
    wait_for(lambda: receiver.count() >= 5, 60)
    for place in range(60):
        simulator.send()
        if place % 10 == 5:
            # This message came 20 seconds ago, and shows up now, behind newer messages.
            simulator.add(20)
        time.sleep(1)


SCENES = {
    "quiet": (quiet, ["--messages", "5"], 20),
    "backlog": (backlog, ["--messages", "2000"], 120),
    "kills": (kills, ["--messages", "5"], 60),
    "late": (late, ["--messages", "5"], 90),
}


def measure(scene, name, binaries):
    play, options, patience = SCENES[scene]
    with tempfile.TemporaryDirectory() as directory:
        simulator, receiver = Simulator(binaries, "--seed", "7", *options), Receiver()
        program = Program(name, binaries, simulator, receiver, directory)
        began = time.time()
        play(simulator, receiver, program)
        wanted = simulator.messages()
        wait_for(lambda: receiver.count() >= len(wanted), patience)
        asked, took = simulator.requests(), time.time() - began
        program.end(signal.SIGTERM)
        simulator.stop()
    with receiver.lock:
        got = dict(receiver.got)
    last = max((times[0] for times in got.values()), default=began) - began
    delays = [got[message][0] - at for message, at in wanted.items() if message in got and at > began]
    delay = f"{statistics.median(delays):.2f} s, {max(delays):.2f} s" if delays else "–"
    lacking = sum(1 for message in wanted if message not in got)
    repeats = sum(len(times) - 1 for times in got.values())
    print(
        f"| {scene} | {name} | {len(wanted)} | {last:.1f} s | {delay} | {asked / took * 60:.0f} | {program.seconds:.2f} s "
        f"| {program.peak / 1024:.0f} MiB | {lacking} | {repeats} |",
        flush=True,
    )


def main():
    binaries = pathlib.Path(sys.argv[1])
    print("| scene | program | messages | last one after | delay: median, worst | requests a minute | processor "
          "| peak memory | lost | repeated |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for scene in sys.argv[2:] or SCENES:
        for name in PROGRAMS:
            measure(scene, name, binaries)
    print("load", " ".join(f"{load:.1f}" for load in os.getloadavg()))


if __name__ == "__main__":
    main()
