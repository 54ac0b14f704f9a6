"""A small HTTP server for pods: well, or with a fault that its environment names.

It says ``SAYS`` as its version. ``BAD_EVERY`` has each of so many answers be an error, ``SLOW``
delays answers, ``UNREADY`` keeps it from becoming ready, ``QUEUE`` is what its metric says.
Its data is read and written at ``/items``, which it answers with the status ``DATA``, naming the
problem ``PROBLEM``.
"""

from __future__ import annotations

GRACE_SECONDS = 78
"""How long its pods may take to end. As a rule it is a second and a half: it ends once nobody asks
it any more, which on a busy machine may be late, for the node's proxy hears of its end late."""

SERVER = """
import http.server, json, os, signal, threading, time
bad, slow = int(os.environ.get("BAD_EVERY", "0")), float(os.environ.get("SLOW", "0"))
count, closing, asked = 0, threading.Event(), [0.0]
def drain():
    end, asked[0] = time.monotonic() + 70, time.monotonic()
    while time.monotonic() < min(end, asked[0] + 1.5):
        time.sleep(0.05)
    os._exit(0)
def close(*_):
    closing.set()
    threading.Thread(target=drain).start()
signal.signal(signal.SIGTERM, close)
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        global count
        ready = self.path == "/readyz"
        if not ready:
            count += 1
            asked[0] = time.monotonic()
            time.sleep(slow)
        failing = "UNREADY" in os.environ if ready else bad and count % bad == 0
        body = json.dumps({"version": os.environ["SAYS"]}).encode()
        status = 503 if failing else 200
        if self.path == "/items":
            status = int(os.environ.get("DATA", "200"))
            said = {"version": os.environ["SAYS"], "type": os.environ.get("PROBLEM", "")}
            body = json.dumps(said).encode()
        if self.path == "/metrics":
            body = b"web_queue_length %s\\n" % os.environ.get("QUEUE", "3").encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if closing.is_set():
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *words):
        pass
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""
