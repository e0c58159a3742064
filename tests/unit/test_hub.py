"""Downloads from the Hugging Face Hub and their error messages, with a small hub on the loopback interface."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import huggingface_hub
import pytest

from tests.conftest import ROOT
from workflow_scripts.lat.data.hub import check_config, check_files, fetch_snapshot
from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.manifest import check_manifest

BASE_MODEL = ("base_model", "fetch", "--hub", "some/model")
COMMIT = "0123456789012345678901234567890123456789"
CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
FILES = {
    "config.json": json.dumps(CONFIG).encode(),
    "model.safetensors": b"weights" * 1000,
    "pytorch_model.bin": b"the same in another format" * 1000,
    "flax_model.msgpack": b"not wanted",
}


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's interface that the download of a model or a data set needs."""

    error = None  # status and error code of every response, if given
    gated = False  # whether only the list of files is public
    files = FILES
    commit = COMMIT  # what every revision is
    asked: ClassVar[list[str]] = []  # names of the files that were downloaded
    weights = threading.Event()  # when weights are sent

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.split("?")[0]
        if self.error:
            status, code = self.error
            return self.answer(status, b"", {"X-Error-Code": code})
        kind = "datasets" if path.startswith("/api/datasets") else "models"
        self.model = "/".join(path.removeprefix(f"/api/{kind}").split("/")[1:3])
        if path.startswith(f"/api/{kind}/{self.model}/tree/"):
            listing = [
                {"type": "file", "path": name, "size": len(content), "oid": "0"} for name, content in self.files.items()
            ]
            return self.answer(200, json.dumps(listing).encode())
        if path.startswith(f"/api/{kind}/"):
            info = {"id": self.model, "sha": self.commit, "siblings": [{"rfilename": name} for name in self.files]}
            return self.answer(200, json.dumps(info).encode())
        name = re.sub(r".*/resolve/[^/]+/", "", path)
        if name not in self.files:
            return self.answer(404, b"")
        if self.gated:
            return self.answer(403, b"", {"X-Error-Code": "GatedRepo"})
        content = self.files[name]
        if self.command == "GET":
            self.asked.append(name)
            if name.endswith(".safetensors"):
                self.weights.wait(60)
        return self.answer(200, content, {"ETag": f'"{len(content)}"', "X-Repo-Commit": self.commit})

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
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()

        Hub.asked, Hub.commit, Hub.gated = [], COMMIT, False
        Hub.weights.set()

        def start(
            error=None,
            port=server.server_port,
            words=BASE_MODEL,
            files=FILES,
            run=subprocess.run,
            output="model",
            revision="main",
            store=None,
        ):
            Hub.error, Hub.files = error, files
            words = [*words, *(["--revision", revision] if "--hub" in words else []), "--output", tmp_path / output]
            words += ["--store", store] if store else []
            environment = os.environ | {
                "HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)
            }  # fmt: skip
            return run(
                [sys.executable, "-m", f"workflow_scripts.{words[0]}", *map(str, words[1:])],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
            )  # fmt: skip

        yield start
        Hub.weights.set()
        server.shutdown()
        thread.join()


def test_the_files_of_a_model_arrive_and_no_others(fetch, tmp_path):
    done = fetch()
    assert done.returncode == 0, done.stderr[-3000:]
    found = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir() if path.is_file()}
    manifest = json.loads(found.pop("manifest.json"))
    assert found == {name: FILES[name] for name in ("config.json", "model.safetensors")}
    assert set(manifest) == set(found)
    assert {path.name for path in tmp_path.iterdir()} <= {"model", "home"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config.json": None}, "some/model: has no config.json; choose a model in the format of transformers"),
        ({"config.json": b'{"model_type": "llama"}'}, "some/model: config.json names no `architectures`"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_before_its_weights_arrive(fetch, tmp_path, changes, message):
    done = fetch(files={name: content for name, content in (FILES | changes).items() if content is not None})
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not [name for name in Hub.asked if not name.endswith(".json")]
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["adapter_config.json", "adapter_model.safetensors"], r"some/model: has no config\.json"),
        (["config.json", "pytorch_model.bin"], "some/model: has no weights in safetensors files; choose a revision"),
        (["config.json", "original/model.safetensors"], "some/model: has no weights in safetensors files"),
    ],
)
def test_files_that_are_no_base_model_are_refused(names, message):
    with pytest.raises(InputError, match=message):
        check_files("some/model", names)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": None}, "config.json names no `architectures`"),
        ({"architectures": []}, "config.json names no `architectures`"),
        ({"architectures": "LlamaForCausalLM"}, "config.json names no `architectures`"),
        ({"model_type": "own"}, "transformers has no model type 'own'; choose another base model"),
        ({"model_type": []}, "transformers has no model type []"),
        (
            {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}},
            "no model type 'own', and code of the model's own (`auto_map`) is never run; choose another base model",
        ),
        (b"{", "config.json: line 1 is not JSON"),
        (b"[" * 100_000, "config.json: line 1 is not JSON that Python can read"),
        (b"[]", "config.json is no JSON object"),
        (b"\xff", "config.json: line 1: not UTF-8"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused(tmp_path, changes, message):
    content = changes if isinstance(changes, bytes) else json.dumps(CONFIG | changes).encode()
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(InputError) as error:
        check_config("some/model", tmp_path, ["config.json"])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_model_type_of_transformers_needs_no_code_of_its_own(tmp_path):
    config = CONFIG | {"auto_map": {"AutoModelForCausalLM": "own.Own"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    check_config("some/model", tmp_path, ["config.json"])


def test_a_missing_file_of_weights_is_named(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    index = tmp_path / "model.safetensors.index.json"
    files = ["config.json", index.name, "model-1.safetensors"]
    index.write_text('{"weight_map": {"a": "model-1.safetensors"}}')
    check_config("some/model", tmp_path, files)
    index.write_text('{"weight_map": {"a": "model-1.safetensors", "b": ["x"]}}')
    with pytest.raises(InputError, match=r"index\.json names \['x'\], which is not there; choose another revision"):
        check_config("some/model", tmp_path, files)
    index.write_text("{}")
    with pytest.raises(InputError, match=r"model\.safetensors\.index\.json has no `weight_map`"):
        check_config("some/model", tmp_path, files)


def test_unfinished_downloads_of_other_commits_are_removed(fetch, tmp_path):
    for name in (".model.unfinished", ".model.fedcba987654.unfinished", ".model.x.unfinished"):
        (tmp_path / name).mkdir()
    assert fetch().returncode == 0
    assert {path.name for path in tmp_path.iterdir()} <= {"model", "home", ".model.x.unfinished"}
    again = fetch()
    assert again.returncode == 1
    assert "model: is there already; delete it to download some/model again" in again.stderr.splitlines()[-1]


def test_two_processes_download_a_model_once(fetch, tmp_path):
    Hub.weights.clear()
    first = fetch(run=subprocess.Popen)
    end = time.monotonic() + 60
    while "model.safetensors" not in Hub.asked and time.monotonic() < end:
        time.sleep(0.02)
    second = fetch(run=subprocess.Popen)
    assert "another process is downloading or converting it; waiting for it" in second.stderr.readline()
    Hub.weights.set()
    messages = [process.communicate(timeout=60)[1] for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0], messages
    assert Hub.asked.count("model.safetensors") == 1
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_checkpoint_of_the_source_table_arrives_with_older_weights(fetch, tmp_path):
    done = fetch(words=("download", "fetch", "--source", "BLEURT-20"))
    assert done.returncode == 0, done.stderr[-3000:]
    found = {path.name for path in (tmp_path / "model").iterdir() if path.is_file()}
    assert found == set(FILES) - {"flax_model.msgpack"}


# As in FLORES+: folders with a file for each language.
DATASET = {
    "README.md": b"not wanted",
    "dev/nld_Latn.jsonl": b'{"id": 0, "text": "Een."}\n',
    "devtest/nld_Latn.jsonl": b'{"id": 0, "text": "Twee."}\n',
    "devtest/nld_Latn.parquet": b"not wanted",
}


def test_the_files_of_a_data_set_arrive_in_their_folders(fetch, tmp_path):
    words = ("download", "fetch", "--source", "floresplus")
    done = fetch(words=words, files=DATASET)
    assert done.returncode == 0, done.stderr[-3000:]
    wanted = {name: content for name, content in DATASET.items() if b"not wanted" not in content}
    assert {name: (tmp_path / "model" / name).read_bytes() for name in wanted} == wanted
    assert sorted(Hub.asked) == sorted(wanted)
    for output in ("one", "two"):
        assert fetch(words=words, files=DATASET, output=output, store=tmp_path / "store").returncode == 0
        assert (tmp_path / output / "dev" / "nld_Latn.jsonl").read_bytes() == wanted["dev/nld_Latn.jsonl"]
    assert len(Hub.asked) == 2 * len(wanted)


def test_a_gated_data_set_is_one_line_with_the_remedy(fetch, tmp_path):
    Hub.gated = True
    done = fetch(words=("download", "fetch", "--source", "floresplus"), files=DATASET)
    assert done.returncode == 1
    place = "https://huggingface.co/datasets/openlanguagedata/flores_plus"
    assert f"gated; accept its licence at {place} and set HF_TOKEN" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "model").exists()


class TestStore:
    @pytest.fixture
    def store(self, tmp_path):
        return tmp_path / "store"

    def test_working_folders_share_one_download_of_a_commit(self, fetch, tmp_path, store):
        for output in ("one", "two"):
            done = fetch(output=output, store=store)
            assert done.returncode == 0, done.stderr[-3000:]
        (entry,) = store.iterdir()
        assert entry.name.startswith(f"model-some--model-{COMMIT[:12]}-")
        names = {"config.json", "model.safetensors", "manifest.json"}
        assert {path.name for path in entry.iterdir()} == names
        assert sorted(Hub.asked) == ["config.json", "model.safetensors"]
        for folder in (tmp_path / "one", tmp_path / "two"):
            assert not folder.is_symlink()
            assert {path.name: path.readlink() for path in folder.iterdir()} == {name: entry / name for name in names}
            assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
            check_manifest(folder)

        # A commit that is there needs no network; a branch may have moved.
        done = fetch(output="three", revision=COMMIT, store=store, port=1)
        assert done.returncode == 0, done.stderr[-3000:]
        assert (tmp_path / "three" / "model.safetensors").readlink() == entry / "model.safetensors"
        done = fetch(output="four", store=store, port=1)
        assert done.returncode == 1 and "some/model: could not be downloaded" in done.stderr.splitlines()[-1]

        # Another commit is another entry.
        Hub.commit = COMMIT[::-1]
        assert fetch(output="five", store=store, files=FILES | {"model.safetensors": b"better"}).returncode == 0
        assert len(list(store.iterdir())) == 2
        assert (tmp_path / "one" / "model.safetensors").read_bytes() == FILES["model.safetensors"]
        assert (tmp_path / "five" / "model.safetensors").read_bytes() == b"better"

    def test_two_processes_download_a_model_once(self, fetch, tmp_path, store):
        Hub.weights.clear()
        first = fetch(run=subprocess.Popen, output="one", store=store)
        end = time.monotonic() + 60
        while "model.safetensors" not in Hub.asked and time.monotonic() < end:
            time.sleep(0.02)
        second = fetch(run=subprocess.Popen, output="two", store=store)
        # The first messages are those of the requests for the commit.
        assert any("another process is downloading or converting it" in line for line in second.stderr)
        Hub.weights.set()
        messages = [process.communicate(timeout=60)[1] for process in (first, second)]
        assert [process.returncode for process in (first, second)] == [0, 0], messages
        assert Hub.asked.count("model.safetensors") == 1
        for name in ("one", "two"):
            assert (tmp_path / name / "model.safetensors").read_bytes() == FILES["model.safetensors"]

    def test_files_that_only_one_use_needs_are_in_its_entry_alone(self, fetch, tmp_path, store):
        words = ("download", "fetch", "--source", "BLEURT-20")
        done = fetch(words=words, output="one", store=store)
        assert done.returncode == 0, done.stderr[-3000:]
        assert {path.name for path in (tmp_path / "one").iterdir()} == set(FILES) - {"flax_model.msgpack"} | {
            "manifest.json"
        }
        hub = ("base_model", "fetch", "--hub", "lucadiliello/BLEURT-20")
        assert fetch(words=hub, output="two", store=store).returncode == 0
        assert not (tmp_path / "two" / "pytorch_model.bin").exists()
        assert len(list(store.iterdir())) == 2

    def test_a_local_folder_is_linked_as_without_a_store(self, fetch, tmp_path, store):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "config.json").write_text("{}")
        done = fetch(words=("base_model", "fetch", "--path", str(tmp_path / "mine")), output="one", store=store)
        assert done.returncode == 0, done.stderr[-3000:]
        assert (tmp_path / "one").readlink() == tmp_path / "mine"
        assert not store.exists()


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

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    with pytest.raises(InputError, match=r"a/b: could not be downloaded \(TimeoutError\)"):
        fetch_snapshot("a/b", None, tmp_path / "model")
