"""A receiver for the scripts in this folder: writes down the id of every message that it accepts.

    receiver.py PORT FOLDER

FOLDER/mode says how it answers: `accept` (200), `refuse` (503) or `hang` (no answer until the mode changes). The ids go
to FOLDER/accepted, one a line, in the order of arrival.
"""

import http.server
import pathlib
import sys
import threading
import time

port, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2])
lock = threading.Lock()


def mode() -> str:
    return (folder / "mode").read_text().strip()


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        while mode() == "hang":
            time.sleep(0.1)
        accepts = mode() == "accept"
        if accepts:
            with lock, (folder / "accepted").open("a") as ids:
                ids.write(self.headers["webhook-id"] + "\n")
        self.send_response(200 if accepts else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


(folder / "accepted").touch()
Server(("127.0.0.1", port), Receiver).serve_forever()
