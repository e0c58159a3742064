"""Translations by a language model on a server, tested with the local server of the tests of the judge."""

import json
import logging
import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.unit.test_judging import KEY, Server, content, server, slow_from  # noqa: F401, a fixture
from workflow_scripts.lat.decoding.on_server import translate, translation_request
from workflow_scripts.lat.files import InputError, Journal, read_lines, read_table
from workflow_scripts.lat.prompts.chat import ChatTemplate
from workflow_scripts.lat.prompts.prompting import translation_instruction
from workflow_scripts.lat.servers import ChatServer, Prices, held

PLACE = "systems.GPT.server"
SOURCES = {"it-nl": ["Ciao mondo.", "Buona notte a tutti.", "Grazie."], "nl-it": ["Hallo wereld.", "Dank je wel."]}
LINES = [(direction, line) for direction, lines in SOURCES.items() for line in lines]


def in_capitals(text):
    """Translate by the letters of the last line of the message."""
    return text.splitlines()[-1].upper()


@pytest.fixture(autouse=True)
def reply(server):  # noqa: F811
    Server.reply = staticmethod(in_capitals)


def asked(server, tmp_path, **settings):  # noqa: F811
    given = {"key": KEY, "model": "j", "request": {"temperature": 0}, "timeout": 10.0} | settings
    return ChatServer(PLACE, server.url, journal=Journal(tmp_path / "journal"), **given)


def texts(replies):
    return [reply.text for reply in replies]


def test_a_line_is_asked_as_in_the_chats_of_the_workflow(server, tmp_path):  # noqa: F811
    replies = translate(asked(server, tmp_path), LINES, parallel=2)
    assert texts(replies) == [line.upper() for _, line in LINES]
    bodies = {body["messages"][0]["content"]: body for _, _, body in Server.requests}
    assert len(bodies) == len(Server.requests) == len(LINES)
    template = ChatTemplate("plain", "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}", {}, ())
    for direction, line in LINES:
        (message,) = translation_request(direction, f" {line} ")
        rendered = "".join(template.render(translation_instruction(direction), line))
        assert rendered == f"<user>{message['content']}"
        body = bodies[message["content"]]
        assert body == {"model": "j", "temperature": 0, "messages": [message]}
    assert "Translate the following sentences from Italian to Dutch.\n\nCiao mondo." in bodies


def test_no_line_is_asked_twice(server, tmp_path):  # noqa: F811
    again = [*LINES, ("it-nl", "Ciao mondo."), ("it-en", "Ciao mondo.")]
    first = translate(asked(server, tmp_path), LINES, parallel=2)
    second = translate(asked(server, tmp_path), again, parallel=2)
    assert second == [*first, first[0], second[-1]]
    assert len(Server.requests) == len(LINES) + 1  # The same words in another direction are another request.


def test_journals_of_the_judge_stay_valid(tmp_path):
    """A request has the hash that it had before there were systems on servers; nothing is asked and paid for again."""
    messages = [{"role": "user", "content": "Which one, A or B?"}]
    journal = Journal(tmp_path / "journal")
    response = {"choices": [{"message": {"role": "assistant", "content": "A"}}], "usage": {"prompt_tokens": 7}}
    earlier = "9a5779a121bda2ae1538a7a99fd0f0047010c72bdf330027d8235df0c1fa980a"
    journal.add({"request": earlier, "response": json.dumps(response)})
    tested = ChatServer("judge", "http://127.0.0.1:9/v1", KEY, "j", {"temperature": 0}, journal)
    assert tested.ask([messages], 1) == [("A", 7, 0, False)]


def test_the_cost_of_the_lines_is_estimated_and_limited(server, tmp_path, caplog):  # noqa: F811
    caplog.set_level(logging.INFO)
    prices = Prices(prompt=1000.0, completion=2000.0)
    prompts = sum(len(translation_request(*line)[0]["content"]) for line in LINES)
    estimate = (prompts * 1000 + sum(len(line) for _, line in LINES) * 2000) / 4 / 1e6
    with pytest.raises(
        InputError, match=rf"{PLACE}: 5 lines would cost about {estimate:.2f}, {PLACE}\.max_cost is 0.01"
    ):
        translate(asked(server, tmp_path), LINES, 1, prices, max_cost=0.01)
    assert not Server.requests
    translate(asked(server, tmp_path), LINES, 1, prices, max_cost=estimate)
    assert (
        f"5 lines for j, 5 still to ask: about 0 thousand tokens, {estimate:.2f} at the config's prices" in caplog.text
    )
    assert "500 prompt tokens and 5 reply tokens, earlier runs included, 0.51 at the config's prices" in caplog.text
    translate(asked(server, tmp_path), LINES, 1, prices, max_cost=0)  # Nothing is left to pay for.


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ((401, f"no such key {KEY}"), rf"answers 401 \(no such key \*\*\*\); check the key .* `{PLACE}\.key`"),
        ((404, "no model j"), rf"check {PLACE}\.base_url and {PLACE}\.model"),
        ((400, "temperature"), rf"check the config's `{PLACE}`$"),
        (lambda handler: handler.answer(200, {"choices": []}), rf"no chat completion; check {PLACE}\.base_url"),
        (lambda handler: handler.answer(200, b"<html>sign in</html>"), rf"check {PLACE}\.base_url, which usually"),
        (lambda handler: handler.answer(200, b"x" * 600_000), rf"ask for shorter replies in {PLACE}\.request"),
        (lambda handler: handler.answer(302, b"", {"Location": "http://other"}), rf"set {PLACE}\.base_url to"),
    ],
)
def test_failures_name_the_system_and_keep_what_there_is(server, tmp_path, failure, message):  # noqa: F811
    translate(asked(server, tmp_path), LINES[:2], parallel=1)
    Server.failures = [failure]
    with pytest.raises(InputError, match=message) as error:
        translate(asked(server, tmp_path), LINES, parallel=1)
    assert str(error.value).startswith(f"{PLACE}: {server.url} ") and "\n" not in str(error.value)
    assert KEY not in str(error.value) + (tmp_path / "journal").read_text()
    assert texts(translate(asked(server, tmp_path), LINES[:2], parallel=1)) == ["CIAO MONDO.", "BUONA NOTTE A TUTTI."]
    assert len(Server.requests) == 3


def test_temporary_failures_are_repeated(server, tmp_path):  # noqa: F811
    Server.failures = [(429, "slow down"), (500, "oops")]
    assert texts(translate(asked(server, tmp_path), LINES[:1], parallel=1)) == ["CIAO MONDO."]
    assert len(Server.requests) == 3


def test_a_model_without_any_translation_is_detected_early(server, tmp_path):  # noqa: F811
    cut = content(None)
    cut["choices"][0]["finish_reason"] = "length"
    lines = [("it-nl", f"Numero {number}.") for number in range(30)]
    Server.failures = [lambda handler: handler.answer(200, cut)] * 30
    with pytest.raises(InputError, match=r"first 10 replies of j are empty, and 10 of them end .*; allow more tokens"):
        translate(asked(server, tmp_path), lines, parallel=2)
    assert len(Server.requests) == 10
    Server.failures, Server.reply = [], staticmethod(lambda text: " \n")
    with pytest.raises(InputError, match=rf"replies of k are empty; check the fields in {PLACE}\.request, or"):
        translate(asked(server, tmp_path, model="k"), lines, parallel=2)
    assert len(Server.requests) == 20


def test_thoughts_are_no_translation(server, tmp_path):  # noqa: F811
    Server.reply = staticmethod(lambda text: "<think>\nItalian.\n</think>\n\nHallo." if "mondo" in text else "Dag.")
    with pytest.raises(
        InputError, match=rf"{PLACE}: 1 of the first 5 replies of j contain thoughts .* {PLACE}\.request"
    ):
        translate(asked(server, tmp_path), LINES, parallel=1)


@pytest.fixture
def command(server, tmp_path):  # noqa: F811
    """A function that returns the command line of the script, as the workflow calls it."""
    for direction, lines in SOURCES.items():
        (tmp_path / "test").mkdir(exist_ok=True)
        (tmp_path / "test" / f"{direction}.src.txt").write_text("".join(f"{line}\n" for line in lines))
    flags = {
        "system": "GPT", "base-url": server.url, "model": "j", "request": '{"max_tokens": 9, "temperature": 0}',
        "key": "THE_KEY", "parallel": "1", "test": tmp_path / "test", "journal": tmp_path / "journals" / "GPT",
        "output": tmp_path / "out",
    }  # fmt: skip

    def command_line(*more):
        words = [sys.executable, "-m", "workflow_scripts.translate", "--directions", *SOURCES, *more]
        return words + [f"--{name}={value}" for name, value in flags.items()]

    return command_line


def environment(**more):
    return {name: value for name, value in os.environ.items() if name != "THE_KEY"} | {"PYTHONPATH": str(ROOT)} | more


def run(command_line, **more):
    return subprocess.run(command_line, capture_output=True, text=True, env=environment(**more))


def test_replies_become_lines_and_what_they_lacked_is_said(command, tmp_path):
    def replies(text):
        return {
            "Ciao mondo.": "Here it is:\r\n\r\nHallo\u2028wereld.\n",
            "Grazie.": "",
            "Hallo wereld.": "\n Ciao \u00e8 \ud83d mondo \n",
        }.get(text.splitlines()[-1], f"{KEY}!")

    def cut(handler):
        answer = content("Goede nacht aan")
        answer["choices"][0]["finish_reason"] = "length"
        handler.answer(200, answer)

    Server.reply = staticmethod(replies)
    Server.failures = [lambda handler: handler.answer(200, content(replies("Ciao mondo."))), cut]
    done = run(command(), THE_KEY=KEY)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert read_lines(out / "it-nl.txt") == ["Here it is: Hallo wereld.", "Goede nacht aan", ""]
    assert read_lines(out / "nl-it.txt") == ["Ciao è \ufffd mondo", "***!"]
    numbers = [list(map(int, list(row.values())[1:])) for row in read_table(out / "counts.tsv")]
    assert list(read_table(out / "counts.tsv")[0]) == ["direction", "lines", "empty", "truncated", "several_lines"]
    assert numbers == [[3, 1, 1, 1], [2, 0, 0, 0]]
    assert sorted(path.name for path in out.iterdir()) == ["counts.tsv", "it-nl.txt", "nl-it.txt"]
    for text in (
        "it-nl: 3 lines, 1 empty, 1 truncated, 1 of several lines",
        "1 of 5 replies are empty",
        "1 of 5 replies end at the maximum number of tokens; allow more in systems.GPT.server.request",
        "1 of 5 replies have several lines, which are joined by spaces, such as 'Here it is:",
    ):
        assert text in done.stderr
    assert all(body["max_tokens"] == 9 and body["temperature"] == 0 for _, _, body in Server.requests)
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert KEY not in "".join(written) + done.stdout + done.stderr


def test_a_missing_key_and_a_cost_that_is_too_high_stop_the_script(command, tmp_path):
    done = run(command())
    assert done.returncode == 1
    assert f"error: {PLACE}: the environment variable THE_KEY is not set; export it" in done.stderr
    assert f"`{PLACE}.key: null`" in done.stderr
    done = run(command("--prices", "9000", "9000", "--max-cost", "0.5"), THE_KEY=KEY)
    assert done.returncode == 1 and f"{PLACE}.max_cost is 0.5" in done.stderr
    assert not Server.requests and not (tmp_path / "out").exists()


def test_a_killed_script_continues_without_asking_again(command, tmp_path):
    Server.reply, fourth = slow_from(4, 30, in_capitals)
    killed = subprocess.Popen(command(), stderr=subprocess.PIPE, text=True, env=environment(THE_KEY=KEY))
    assert fourth.wait(60)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert len((tmp_path / "journals" / "GPT").read_text().splitlines()) == 3
    assert not (tmp_path / "out").exists()
    Server.reply, Server.requests = staticmethod(in_capitals), []
    again = run(command(), THE_KEY=KEY)
    assert "5 lines for j, 2 still to ask" in again.stderr and len(Server.requests) == 2
    assert read_lines(tmp_path / "out" / "it-nl.txt") == [line.upper() for line in SOURCES["it-nl"]]


def test_two_jobs_with_one_journal_do_not_both_pay(command, tmp_path):
    """Experiments with different base models translate the same lines."""
    Server.reply, started = slow_from(1, 0.5, in_capitals)
    first = subprocess.Popen(command(), stderr=subprocess.PIPE, text=True, env=environment(THE_KEY=KEY))
    assert started.wait(60)
    second = run([*command(), f"--output={tmp_path / 'other'}"], THE_KEY=KEY)
    assert first.wait(60) == second.returncode == 0
    first.communicate()
    assert "5 lines for j, 0 still to ask" in second.stderr
    assert len(Server.requests) == len(LINES)
    assert (tmp_path / "other" / "it-nl.txt").read_bytes() == (tmp_path / "out" / "it-nl.txt").read_bytes()


def test_a_held_journal_can_be_written(tmp_path):
    journal = Journal(tmp_path / "new" / "journal")
    with held(journal):
        assert journal.read() == []
        journal.add({"a": 1})
    assert json.loads(journal.path.read_text()) == {"a": 1}
