"""A client of yaml-language-server, the one behind editors: JSON-RPC over its standard streams."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any


def find_server() -> tuple[list[str] | None, str]:
    """The command that starts the server, or None and why there is none. ``YAML_LANGUAGE_SERVER``
    may name its script."""
    node = shutil.which("node")
    if node is None:
        return None, "node is not installed"
    given, on_path = os.environ.get("YAML_LANGUAGE_SERVER"), shutil.which("yaml-language-server")
    script = given or on_path
    if script is None or not Path(script).exists():
        return None, "npm package yaml-language-server is not installed (npm install -g it)"
    return [node, str(Path(script).resolve()), "--stdio"], ""


class LanguageServer:
    """Speaks to one server; ``close`` ends it."""

    def __init__(self, command: list[str], folder: Path, limit_s: float = 60.0) -> None:
        self._limit_s = limit_s
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._buffer = b""
        self._number = 0
        self.diagnostics: dict[str, list[Any]] = {}
        support = {"completionItem": {"snippetSupport": True}}
        self.request(
            "initialize",
            processId=None,
            rootUri=folder.as_uri(),
            capabilities={
                "workspace": {"configuration": True},
                "textDocument": {"completion": support, "publishDiagnostics": {}},
            },
        )
        self.notify("initialized")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def open(self, path: Path, text: str) -> None:
        document = {"uri": path.as_uri(), "languageId": "yaml", "version": 1, "text": text}
        self.notify("textDocument/didOpen", textDocument=document)

    def diagnose(self, path: Path, text: str) -> list[Any]:
        """Open a text under ``path`` and wait for what is wrong with it."""
        self.diagnostics.pop(path.as_uri(), None)
        self.open(path, text)
        end = time.monotonic() + self._limit_s
        while path.as_uri() not in self.diagnostics:
            self._handle(self._read(end))
        return self.diagnostics[path.as_uri()]

    def at(self, method: str, path: Path, line: int, column: int) -> Any:
        """Completion or hover at a place, 0-based."""
        return self.request(
            f"textDocument/{method}",
            textDocument={"uri": path.as_uri()},
            position={"line": line, "character": column},
        )

    # Messages -----------------------------------------------------------------------------
    def request(self, method: str, **params: Any) -> Any:
        self._number += 1
        number = self._number
        self._send({"id": number, "method": method, "params": params})
        end = time.monotonic() + self._limit_s
        while True:
            message = self._read(end)
            if message.get("id") == number and "method" not in message:
                assert "error" not in message, message["error"]
                return message["result"]
            self._handle(message)

    def notify(self, method: str, **params: Any) -> None:
        self._send({"method": method, "params": params})

    def _handle(self, message: Any) -> None:
        """Answer what the server asks and note what it tells."""
        method = message.get("method")
        if method == "textDocument/publishDiagnostics":
            self.diagnostics[message["params"]["uri"]] = message["params"]["diagnostics"]
        elif "id" in message and method == "workspace/configuration":
            on = {"validate": True, "hover": True, "completion": True, "schemaStore": {}}
            settings = {"yaml": {**on, "schemaStore": {"enable": False}}}
            asked = message["params"]["items"]
            result = [settings.get(item.get("section"), {}) for item in asked]
            self._send({"id": message["id"], "result": result})
        elif "id" in message and method is not None:
            self._send({"id": message["id"], "result": None})

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._process.stdin.flush()

    def _read(self, end: float) -> Any:
        while True:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if found:
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                if len(rest) >= length:
                    self._buffer = rest[length:]
                    return json.loads(rest[:length])
            assert self._process.stdout is not None
            ready, _, _ = select.select([self._process.stdout], [], [], end - time.monotonic())
            assert ready, f"the language server said nothing for {self._limit_s:g} s"
            self._buffer += os.read(self._process.stdout.fileno(), 1 << 16)
