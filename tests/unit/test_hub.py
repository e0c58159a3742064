"""Downloads of models and their error messages, with a small Hugging Face Hub on the loopback interface."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest

from tests.conftest import ROOT
from workflow_scripts.lat.data.hub import fetch_snapshot
from workflow_scripts.lat.files import InputError

COMMIT = "0123456789012345678901234567890123456789"
FILES = {
    "config.json": json.dumps({"architectures": ["LlamaForCausalLM"]}).encode(),
    "model.safetensors": b"weights" * 1000,
    "pytorch_model.bin": b"the same in another format" * 1000,
    "flax_model.msgpack": b"not wanted",
}


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's interface that the download of a model needs."""

    error = None  # status and error code of every response, if given

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.split("?")[0]
        if self.error:
            status, code = self.error
            return self.answer(status, b"", {"X-Error-Code": code})
        self.model = "/".join(path.removeprefix("/api/models").split("/")[1:3])
        if path.startswith(f"/api/models/{self.model}/tree/"):
            listing = [
                {"type": "file", "path": name, "size": len(content), "oid": "0"} for name, content in FILES.items()
            ]
            return self.answer(200, json.dumps(listing).encode())
        if path.startswith("/api/models/"):
            info = {"id": self.model, "sha": COMMIT, "siblings": [{"rfilename": name} for name in FILES]}
            return self.answer(200, json.dumps(info).encode())
        content = FILES[path.rsplit("/", 1)[-1]]
        return self.answer(200, content, {"ETag": f'"{len(content)}"', "X-Repo-Commit": COMMIT})

    def answer(self, status, body, headers=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def fetch(tmp_path):
    """A function that downloads the model from the hub, which answers with an error if one is given."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        def run(error=None, port=server.server_port, words=("base_model", "fetch", "--hub", "some/model")):
            Hub.error = error
            words = [*words, *(["--revision", "main"] if "--hub" in words else []), "--output", tmp_path / "model"]
            environment = os.environ | {
                "HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)
            }  # fmt: skip
            return subprocess.run(
                [sys.executable, "-m", f"workflow_scripts.{words[0]}", *map(str, words[1:])],
                capture_output=True, text=True, env=environment,
            )  # fmt: skip

        yield run
        server.shutdown()
        thread.join()


def test_the_files_of_a_model_arrive_and_no_others(fetch, tmp_path):
    done = fetch()
    assert done.returncode == 0, done.stderr[-3000:]
    found = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir() if path.is_file()}
    assert found == {name: FILES[name] for name in ("config.json", "model.safetensors")}
    assert {path.name for path in tmp_path.iterdir()} <= {"model", "home"}


def test_a_checkpoint_of_the_source_table_arrives_with_older_weights(fetch, tmp_path):
    done = fetch(words=("download", "fetch", "--source", "BLEURT-20"))
    assert done.returncode == 0, done.stderr[-3000:]
    found = {path.name for path in (tmp_path / "model").iterdir() if path.is_file()}
    assert found == set(FILES) - {"flax_model.msgpack"}


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            (403, "GatedRepo"),
            "some/model: gated; accept its licence at https://huggingface.co/some/model and set HF_TOKEN",
        ),
        ((404, "RepoNotFound"), "some/model: the hub has no such model, or it is private"),
        ((404, "RevisionNotFound"), "some/model: has no revision `main`"),
    ],
)
def test_a_refusal_of_the_hub_is_one_line_with_the_remedy(fetch, tmp_path, error, message):
    done = fetch(error)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]
    assert not (tmp_path / "model").exists()


def test_a_hub_that_cannot_be_reached_is_one_line_with_the_remedy(fetch):
    done = fetch(port=1)
    assert done.returncode == 1
    assert "some/model: could not be downloaded" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_an_address_in_place_of_a_name_is_one_line_with_the_remedy(tmp_path):
    with pytest.raises(InputError, match="a/b: no name of a model on the hub; write it as owner/name"):
        fetch_snapshot("https://huggingface.co/a/b", None, tmp_path / "model")


def test_an_error_without_a_message_is_called_by_its_class(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise TimeoutError

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(InputError, match=r"a/b: could not be downloaded \(TimeoutError\)"):
        fetch_snapshot("a/b", None, tmp_path / "model")
