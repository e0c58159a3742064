"""The flags of the scripts that ask a language model on a server, with settings of the config."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from .credentials import secret
from .files import Journal

if TYPE_CHECKING:
    from .servers import ChatServer, Prices


def add_server_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags to the parser of a script."""
    parser.add_argument("--base-url", required=True, help="URL of a server with OpenAI's chat-completions interface")
    parser.add_argument("--model", required=True, help="name of the model on the server")
    parser.add_argument("--key", help="environment variable that holds the API key, if the server needs one")
    parser.add_argument("--request", type=json.loads, default={}, help="more fields of every request, a JSON object")
    parser.add_argument("--parallel", type=int, default=1, help="number of parallel requests")
    parser.add_argument("--prices", type=float, nargs=2, help="prices of one million prompt tokens and reply tokens")
    parser.add_argument("--max-cost", type=float, help="stop before the first request if the estimated cost is higher")
    parser.add_argument("--timeout", type=float, default=120.0, help="timeout of one whole request, in seconds")
    parser.add_argument("--journal", type=Path, required=True, help="file that keeps all replies for a rerun")


def server_of(arguments: argparse.Namespace, place: str) -> ChatServer:
    """Return the server that the flags describe, with the replies that its journal has.

    Args:
        arguments: the parsed flags.
        place: key of the server's settings in the config, such as `judge`, for messages.

    Raises:
        InputError: the key is missing, or the URL is not that of a server.
    """
    # Imported here, since the client takes a second to load, and the check of the flags does without it.
    from .servers import ChatServer

    return ChatServer(
        place,
        base_url=arguments.base_url,
        key=secret(arguments.key, place),
        model=arguments.model,
        request={name: value for name, value in arguments.request.items() if value is not None},
        journal=Journal(arguments.journal),
        timeout=arguments.timeout,
    )


def prices_of(arguments: argparse.Namespace) -> Prices | None:
    """Return the prices of the flags, if there are any."""
    from .servers import Prices

    return Prices(*arguments.prices) if arguments.prices else None
