"""A teacher in a thread: an HTTP server that speaks chat completions and answers as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Request = dict[str, Any]
USAGE = {"prompt_tokens": 700, "completion_tokens": 100, "total_tokens": 800}


@dataclass
class Response:
    """status, and the body or the teacher's text; delay_s: before it is sent.

    is_dropped: the connection ends without an answer.
    """

    text: str = ""
    status: int = 200
    body: Any = None
    delay_s: float = 0.0
    is_dropped: bool = False
    finish: str = "stop"
    usage: dict[str, int] | None = field(default_factory=lambda: dict(USAGE))
    headers: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> Any:
        if self.body is not None:
            return self.body
        message = {"role": "assistant", "content": self.text}
        choice = {"index": 0, "message": message, "finish_reason": self.finish}
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "teacher"}
        return {**answer, "choices": [choice], "usage": self.usage}


@dataclass
class Teacher:
    """The server as a test sees it. answer: from a request and its number to the response."""

    url: str
    answer: Callable[[Request, int], Response]
    requests: list[Request] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    most_at_once: int = 0


@contextmanager
def teacher_server() -> Iterator[Teacher]:
    lock = threading.Lock()
    open_now = 0

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nonlocal open_now
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                open_now += 1
                teacher.most_at_once = max(teacher.most_at_once, open_now)
                number = len(teacher.requests)
                teacher.requests.append(body)
                teacher.headers.append(
                    {name.lower(): value for name, value in self.headers.items()}
                )
            try:
                is_chat = self.path == "/v1/chat/completions"
                response = teacher.answer(body, number) if is_chat else Response(status=404)
                time.sleep(response.delay_s)
                raw = json.dumps(response.as_json()).encode()
            finally:
                with lock:
                    open_now -= 1
            if response.is_dropped:
                return
            try:
                self.send_response(response.status)
                for name, value in response.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)
            except OSError:
                pass  # the client has given up

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    teacher = Teacher(url=url, answer=lambda *_: Response(status=500))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield teacher
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def facts_in(request: Request) -> dict[str, Any]:
    """The facts that a request tells."""
    text = request["messages"][1]["content"][-1]["text"]
    line = next(line for line in text.splitlines() if line.startswith("Facts: "))
    return json.loads(line.removeprefix("Facts: "))


def right_answer(request: Request) -> dict[str, Any]:
    """What a good teacher writes about the facts of a request: a caption, a dialogue, a choice."""
    facts = facts_in(request)
    if facts["verdict"] == "normal":
        return _normal_answer()
    defect = facts["defects"][0]
    label, place, box = defect["label"], defect["place"], defect["boxes"][0]["box"]
    claim = {"label": label, "is_anomaly": True, "place": place, "count": 1, "contrast": None}
    marked = {
        "text": f"The query sample shows a {label} <box> at the {place}.",
        "claims": [claim | {"box": box}],
    }
    plain = {"text": f"Yes, there is a {label}.", "claims": [claim | {"box": None}]}
    where = {"text": f"It is at the {place}.", "claims": [claim | {"box": None}]}
    options = [*facts["other_labels"][:2], label, "No defect"]
    return {
        "verdict": "anomaly",
        "caption": [{"text": "The query sample differs from the template.", "claims": []}, marked],
        "dialogue": [
            {"question": "Is there any defect in the query sample?", "answer": [plain]},
            {"question": "Where is it?", "answer": [where]},
        ],
        "choice": {
            "about": "label",
            "question": "What type of defect does the query sample show?",
            "options": options,
            "right": options.index(label),
        },
    }


def _normal_answer() -> dict[str, Any]:
    says = {"text": "The query sample matches the template.", "claims": []}
    return {
        "verdict": "normal",
        "caption": [says, {"text": "No defect is visible.", "claims": []}],
        "dialogue": [
            {
                "question": "Is there any defect in the query sample?",
                "answer": [{"text": "No, it is intact.", "claims": []}],
            }
        ],
        "choice": {
            "about": "presence",
            "question": "Is there any defect in the query sample?",
            "options": ["Yes", "No"],
            "right": 1,
        },
    }


def answering(text: Any) -> Response:
    """A response whose text is ``text`` as JSON."""
    return Response(text=json.dumps(text))
