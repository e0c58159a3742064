"""The judge of general tasks, tested with a local server that has OpenAI's interface and can simulate failures."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from tests.conftest import ROOT
from workflow_scripts.lat.evaluation.judging import Judge, Prices, choice, compare, count, outcome, question, sign_test
from workflow_scripts.lat.files import InputError, Journal
from workflow_scripts.lat.prompts.instructions import Task
from workflow_scripts.lat.runtime import secret

KEY = "sk-very-secret-0123456789"


class Server(BaseHTTPRequestHandler):
    """A chat-completions server.

    Each request takes the next entry of `failures`: a status with a message, or a function that handles the request.
    When `failures` is empty, the server sends what the function `reply` returns for the text of the request.
    """

    protocol_version = "HTTP/1.1"
    requests: ClassVar[list] = []
    failures: ClassVar[list] = []
    reply = None

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).requests.append((self.path, self.headers, body))
        if type(self).failures:
            failure = type(self).failures.pop(0)
            if callable(failure):
                return failure(self)
            status, message = failure
            return self.answer(status, {"error": {"message": message}}, {"Retry-After": "0.01"})
        text = type(self).reply(body["messages"][0]["content"])
        usage = {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101}
        message = {"role": "assistant", "content": text}
        choices = [{"index": 0, "finish_reason": "stop", "message": message}]
        return self.answer(
            200,
            {"id": "1", "object": "chat.completion", "created": 0, "model": "j", "choices": choices, "usage": usage},
        )

    def answer(self, status, content, headers=None, kind="application/json"):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def prefers_longer(text):
    first, second = text.split("=== Answer A ===\n")[1].split("\n\n=== End")[0].split("\n\n=== Answer B ===\n")
    return "A" if len(first) > len(second) else "B"


@pytest.fixture
def server():
    Server.requests, Server.failures, Server.reply = [], [], staticmethod(prefers_longer)
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        running.url = f"http://127.0.0.1:{running.server_port}/v1"
        yield running
        running.shutdown()
        thread.join()


def judge(server, tmp_path, **settings):
    given = {"key": KEY, "model": "j", "request": {"temperature": 0}, "timeout": 10.0} | settings
    return Judge(server.url, journal=Journal(tmp_path / "journal"), **given)


TASKS = [Task(f"Say {number}.", "in Dutch" if number % 2 else None, "") for number in range(6)]
LONG = ["a long answer", "a long answer", "short", "short", "same", "a long answer"]
SHORT = ["short", "short", "a long answer", "short one", "same", "short"]


def test_an_answer_preferred_in_both_positions_wins(server, tmp_path):
    judgements = compare(judge(server, tmp_path), TASKS, LONG, SHORT, parallel=3)
    assert [judgement.outcome for judgement in judgements] == ["win", "win", "lose", "lose", "tie", "win"]
    assert count(judgement.outcome for judgement in judgements) == {
        "n": 6, "win": 3, "tie": 1, "lose": 2, "unclear": 0, "p": 1.0
    }  # fmt: skip
    assert len(Server.requests) == 10  # The judge is not asked about equal answers.
    path, headers, body = Server.requests[0]
    assert path == "/v1/chat/completions" and headers["Authorization"] == f"Bearer {KEY}"
    assert body["model"] == "j" and body["temperature"] == 0
    assert "OpenAI-Organization" not in headers  # A server would refuse an empty header.
    asked = sorted(body["messages"][0]["content"] for _, _, body in Server.requests)
    expected = [(task, *order) for task, *pair in zip(TASKS, LONG, SHORT, strict=True) for order in (pair, pair[::-1])]
    assert asked == sorted(question(*triple)[0]["content"] for triple in expected if triple[1] != triple[2])


def test_a_judge_that_always_prefers_the_first_answer_gives_only_ties(server, tmp_path):
    Server.reply = staticmethod(lambda text: "A")
    judgements = compare(judge(server, tmp_path), TASKS, LONG, SHORT, parallel=2)
    assert {judgement.outcome for judgement in judgements} == {"tie"}


def test_an_instruction_is_asked_with_its_input():
    (message,) = question(Task("Translate.", "Ciao", ""), "Hello", "Hi")
    assert "Translate.\n\nCiao\n" in message["content"]
    assert message["content"].index("Hello") < message["content"].index("Hi\n")


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("A", "A"), ("b", "B"), ("**B**", "B"), ("Answer A.", "A"), (" (B)\n", "B"), ("A\n\nIt is shorter.", "A"),
        ("The first one errs.\n\nB", "B"), ("A\nB", ""), ("A is better.", ""), ("", ""), ("Neither", ""), ("AB", ""),
    ],
)  # fmt: skip
def test_choice_of_a_reply(reply, found):
    assert choice(reply) == found


def test_outcome_of_two_replies():
    found = [outcome(*replies) for replies in (("A", "B"), ("B", "A"), ("A", "A"), ("B", "B"), ("A", "no idea"))]
    assert found == ["win", "lose", "tie", "tie", "unclear"]


def test_sign_test_by_hand():
    assert sign_test(0, 0) == 1
    assert sign_test(5, 5) == 1
    assert sign_test(6, 0) == sign_test(0, 6) == pytest.approx(2 / 64)
    assert sign_test(7, 1) == pytest.approx(2 * (1 + 8) / 256)


def test_the_same_question_is_never_asked_twice(server, tmp_path):
    first = compare(judge(server, tmp_path), TASKS[:2], LONG[:2], SHORT[:2], parallel=2)
    assert len(Server.requests) == 4
    again = compare(judge(server, tmp_path), TASKS, LONG, SHORT, parallel=2)
    assert again[:2] == first and len(Server.requests) == 10
    journal = tmp_path / "journal"
    journal.write_text(journal.read_text()[:-20])  # As if the process had been killed while writing.
    assert compare(judge(server, tmp_path), TASKS, LONG, SHORT, parallel=2) == again
    assert len(Server.requests) == 11
    compare(judge(server, tmp_path, model="another"), TASKS, LONG, SHORT, parallel=2)
    assert len(Server.requests) == 21


def test_requests_are_repeated_after_temporary_failures(server, tmp_path):
    Server.failures = [
        (429, "slow down"),
        (500, "oops"),
        lambda handler: handler.close_connection or handler.wfile.close(),
    ]
    judgements = compare(judge(server, tmp_path), TASKS[:1], LONG[:1], SHORT[:1], parallel=1)
    assert judgements[0].outcome == "win" and len(Server.requests) == 5


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ((401, f"no such key {KEY}"), r"answers 401 \(no such key \*\*\*\); check the key"),
        ((404, "no model j"), r"answers 404 \(no model j\); check judge.base_url and judge.model"),
        ((400, "temperature"), r"answers 400 \(temperature\); check the config's `judge`"),
        (
            lambda handler: handler.answer(200, b"<html>hello</html>", kind="text/html"),
            "no chat completion|cannot be read",
        ),
        (lambda handler: handler.answer(200, b"{", kind="application/json"), "no chat completion|cannot be read"),
        (lambda handler: handler.answer(200, {"choices": []}), "no chat completion"),
        (lambda handler: handler.answer(200, {"choices": [{}]}), "no chat completion"),
        (lambda handler: handler.answer(200, {"choices": [{"message": {"content": ["A"]}}]}), "no chat completion"),
        (
            lambda handler: handler.answer(200, {"error": {"message": "no credits"}}),
            "answers with an error .*no credits",
        ),
        ((400, "line one\nline two"), r"answers 400 \(line one line two\)"),
    ],
)
def test_permanent_failures_give_a_one_line_error_without_the_key(server, tmp_path, caplog, failure, message):
    caplog.set_level(logging.DEBUG)
    Server.failures = [failure] * 2
    with pytest.raises(InputError, match=message) as error:
        compare(judge(server, tmp_path), TASKS[:1], LONG[:1], SHORT[:1], parallel=1)
    assert KEY not in str(error.value) + caplog.text
    assert "\n" not in str(error.value)


def test_replies_are_kept_if_the_server_refuses_or_does_not_answer(server, tmp_path):
    compare(judge(server, tmp_path), TASKS[:1], LONG[:1], SHORT[:1], parallel=1)
    Server.failures = [(429, "quota")] * 3
    with pytest.raises(InputError, match=r"429 \(quota\); wait, or lower judge.parallel; replies so far are kept"):
        compare(judge(server, tmp_path, retries=2), TASKS, LONG, SHORT, parallel=1)
    Server.failures = [lambda handler: time.sleep(1)]
    with pytest.raises(InputError, match=r"does not answer .*rerun to go on"):
        compare(judge(server, tmp_path, timeout=0.2, retries=0), TASKS, LONG, SHORT, parallel=1)
    assert len((tmp_path / "journal").read_text().splitlines()) == 2


def test_the_cost_is_estimated_logged_and_limited(server, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    prices = Prices(prompt=1000.0, completion=0.0)
    asked = [question(TASKS[0], *places) for places in ((LONG[0], SHORT[0]), (SHORT[0], LONG[0]))]
    estimate = sum(len(message["content"]) for messages in asked for message in messages) / 4 * 1000 / 1e6
    with pytest.raises(InputError, match=f"2 questions would cost about {estimate:.2f}, judge.max_cost is 0.1"):
        compare(judge(server, tmp_path), TASKS[:1], LONG[:1], SHORT[:1], 1, prices, max_cost=0.1)
    assert not Server.requests
    compare(judge(server, tmp_path), TASKS[:1], LONG[:1], SHORT[:1], 1, prices, max_cost=estimate)
    assert f"{estimate:.2f} at the config's prices" in caplog.text
    assert "200 prompt tokens and 2 reply tokens, earlier runs included, 0.20 at the config's prices" in caplog.text
    caplog.clear()  # The second run asks nothing and costs nothing.
    compare(judge(server, tmp_path), TASKS[:1], LONG[:1], SHORT[:1], 1, prices, max_cost=0)
    assert "2 questions for j, 0 still to ask: about 0 thousand tokens, 0.00" in caplog.text


def test_many_unclear_replies_are_an_error_and_a_single_one_is_not(server, tmp_path):
    Server.reply = staticmethod(lambda text: "Both are fine.")
    with pytest.raises(InputError, match="10 of 10 replies of j are neither A nor B, such as 'Both"):
        compare(judge(server, tmp_path), TASKS, LONG, SHORT, parallel=2)
    unclear = iter(["Hm."])
    Server.reply = staticmethod(lambda text: next(unclear, None) or prefers_longer(text))
    judgements = compare(judge(server, tmp_path, model="other"), TASKS, LONG, SHORT, parallel=1)
    assert [judgement.outcome for judgement in judgements] == ["unclear", "win", "lose", "lose", "tie", "win"]


def test_a_judge_that_does_not_choose_is_detected_early(server, tmp_path):
    Server.reply = staticmethod(lambda text: "")
    tasks = [Task(f"Say {number}.", None, "") for number in range(40)]
    with pytest.raises(InputError, match="10 of 10 replies"):
        compare(judge(server, tmp_path), tasks, ["yes"] * 40, ["no"] * 40, parallel=2)
    assert len(Server.requests) == 10


def test_a_server_that_counts_no_tokens_is_supported(server, tmp_path):
    message = {"role": "assistant", "content": "A"}
    answer = {"id": "1", "object": "chat.completion", "created": 0, "model": "j", "usage": {}}
    answer["choices"] = [{"index": 0, "finish_reason": "stop", "message": message}]
    Server.failures = [lambda handler: handler.answer(200, answer)] * 2
    judgements = compare(judge(server, tmp_path), TASKS[:1], LONG[:1], SHORT[:1], parallel=1)
    assert judgements[0].outcome == "tie"


def test_a_damaged_journal_is_named(tmp_path):
    (tmp_path / "journal").write_text('{"request": "x"\n')
    with pytest.raises(InputError, match="journal: line 1 is not JSON; delete it"):
        Journal(tmp_path / "journal").read()


def test_a_key_may_end_in_a_line_break_and_must_be_ascii(monkeypatch):
    monkeypatch.setenv("THE_KEY", KEY + "\r\n")
    assert secret("THE_KEY") == KEY
    monkeypatch.setenv("THE_KEY", "schlüssel")
    with pytest.raises(InputError, match="THE_KEY holds characters that no key has"):
        secret("THE_KEY")
    assert secret(None) is None


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def command(tmp_path):
    """A function that returns the command line of the step, as the workflow calls it, for the URL of a server."""
    tasks = write(tmp_path / "tasks.jsonl", [{"instruction": task.instruction} for task in TASKS])
    answers, others = (
        write(tmp_path / f"{name}.jsonl", [{"answer": text} for text in texts])
        for name, texts in (("answers", LONG), ("others", SHORT))
    )

    def command_line(url):
        flags = {
            "instructions": tasks, "name": "tasks", "answers": answers, "others": others, "base-model": "tiny",
            "benchmark": "demo", "system": "LAT", "baseline": "MT", "base-url": url, "model": "j", "key": "THE_KEY",
            "request": '{"max_tokens": null, "seed": 3}', "journal": tmp_path / "journal",
            "judgements": tmp_path / "judgements.jsonl", "output": tmp_path / "table.tsv",
        }  # fmt: skip
        return [sys.executable, "-m", "workflow_scripts.judge", *(f"--{name}={value}" for name, value in flags.items())]

    return command_line


def environment(**more):
    return {name: value for name, value in os.environ.items() if name != "THE_KEY"} | {"PYTHONPATH": str(ROOT)} | more


def test_the_step_logs_its_results_and_never_the_key(server, command, tmp_path):
    run = subprocess.run(command(server.url), capture_output=True, text=True, env=environment(THE_KEY=KEY))
    assert run.returncode == 0, run.stderr
    assert "win 3, tie 1, lose 2, unclear 0, n 6" in run.stderr
    assert "HTTP Request" not in run.stderr  # One line per request would hide the progress messages.
    header, row = (tmp_path / "table.tsv").read_text().splitlines()
    values = dict(zip(header.split("\t"), row.split("\t"), strict=True))
    assert (values["system"], values["baseline"], values["win"], values["n"]) == ("LAT", "MT", "3", "6")
    judgements = [json.loads(line) for line in (tmp_path / "judgements.jsonl").read_text().splitlines()]
    assert (
        judgements[0]["answer"] == LONG[0]
        and judgements[0]["outcome"] == "win"
        and judgements[0]["replies"] == ["A", "B"]
    )
    assert all(body["seed"] == 3 and "max_tokens" not in body for _, _, body in Server.requests)
    for path in tmp_path.iterdir():
        assert KEY not in path.read_text()
    assert KEY not in run.stdout + run.stderr


def test_the_step_without_its_key_names_the_variable(command):
    run = subprocess.run(command("http://127.0.0.1:9/v1"), capture_output=True, text=True, env=environment())
    assert run.returncode == 1
    assert "error: judge: the environment variable THE_KEY is not set" in run.stderr


def test_a_killed_step_continues_without_asking_again(server, command, tmp_path):
    third = threading.Event()

    def slow(text):
        if len(Server.requests) > 3:
            third.set()
            time.sleep(30)
        return prefers_longer(text)

    Server.reply = staticmethod(slow)
    run = subprocess.Popen(command(server.url), stderr=subprocess.PIPE, text=True, env=environment(THE_KEY=KEY))
    assert third.wait(60)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert len((tmp_path / "journal").read_text().splitlines()) == 3
    Server.reply, Server.requests = staticmethod(prefers_longer), []
    again = subprocess.run(command(server.url), capture_output=True, text=True, env=environment(THE_KEY=KEY))
    assert again.returncode == 0, again.stderr
    assert "10 questions for j, 7 still to ask" in again.stderr and len(Server.requests) == 7
