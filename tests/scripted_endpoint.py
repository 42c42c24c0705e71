"""An OpenAI-compatible endpoint on loopback whose answers a test writes."""

import json
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-scripted-0123456789abcdef"
MODEL = "scripted"
USAGE = {"prompt_tokens": 50, "completion_tokens": 10}
HELLO = [{"role": "user", "content": "hello"}]


class _Server(ThreadingHTTPServer):
    """One whose clients may go before they have read everything, as they do with what they refuse."""

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class ScriptedEndpoint:
    """Answers each completion with what ``script`` gives for the request's body: (status, JSON or bytes, headers)."""

    def __init__(self, script: Callable[[dict], tuple[int, object, dict]]):
        self.script = script
        self.asked, self.headers = [], []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                endpoint.headers.append({name.lower(): value for name, value in self.headers.items()})
                self._send(200, {"data": [{"id": MODEL}]}, {})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.asked.append(body)
                endpoint.headers.append({name.lower(): value for name, value in self.headers.items()})
                self._send(*endpoint.script(body))

            def _send(self, status, said, headers):
                data = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", "Content-Length": len(data), **headers}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                try:
                    self._drip(data)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def _drip(self, data):
                for part in [data] if endpoint.drip is None else [data[n : n + 1] for n in range(len(data))]:
                    self.wfile.write(part)
                    self.wfile.flush()
                    time.sleep(endpoint.drip or 0)

            def log_message(self, *_):
                pass

        self.drip: float | None = None
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @contextmanager
    def running(self):
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


def completion(content=None, calls=None, likely=None, usage=USAGE):
    """A chat completion: text, calls as (name, arguments), or tokens with their log-probabilities."""
    made = [
        {"id": str(n), "type": "function", "function": {"name": name, "arguments": arguments}}
        for n, (name, arguments) in enumerate(calls or ())
    ]
    top = [{"token": token, "logprob": logprob} for token, logprob in (likely or {}).items()]
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    if made:
        choice["message"]["tool_calls"] = made
    if likely is not None:
        choice["logprobs"] = {"content": [{"token": "", "logprob": 0.0, "top_logprobs": top}]}
    return {"id": "1", "object": "chat.completion", "choices": [choice], **({"usage": usage} if usage else {})}


def says(*args, **kwargs):
    """A script that always answers the same."""
    return lambda _body: (200, completion(*args, **kwargs), {})


def ask(endpoint, longest=10, **options):
    """What an `Endpoint` answers to a greeting."""
    return endpoint.ask("trying", HELLO, longest, options)
