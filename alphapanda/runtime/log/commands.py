"""Operator commands as JSON: what is posted to the door's `/commands`, `{"type": "KillSwitch", "data": {...}}`.

The door numbers a command, and answers once it has read it back: from then on it is on the tape, whatever happens.
"""

import http.client
import json
import urllib.parse
from typing import Any

import msgspec

from alphapanda.contracts.errors import AlphaPandaError, ContractError
from alphapanda.contracts.events import HaltStrategy, KillSwitch, Payload

COMMANDS: dict[str, type[Payload]] = {cls.__name__: cls for cls in (KillSwitch, HaltStrategy)}
PATH = "/commands"


def command_of(body: Any) -> Payload:
    """The command that was posted. Raises ContractError saying what is wrong with it."""
    cls = COMMANDS.get(str(body.get("type"))) if isinstance(body, dict) else None
    if cls is None or body.keys() != {"type", "data"}:
        raise ContractError(f'not a command: post {{"type": ..., "data": {{...}}}} with a type of {", ".join(COMMANDS)}')
    data = body["data"]
    unknown = sorted(data.keys() - set(cls.__struct_fields__)) if isinstance(data, dict) else [data]
    if unknown:
        raise ContractError(f"{cls.__name__} has the fields {', '.join(cls.__struct_fields__)}: there is no {unknown}")
    try:
        return msgspec.convert(data, cls)
    except msgspec.ValidationError as error:
        raise ContractError(f"{cls.__name__}: {error}") from error


def body_of(command: Payload) -> dict[str, Any]:
    """The JSON that says it."""
    return {"type": type(command).__name__, "data": msgspec.to_builtins(command)}


def post(url: str, command: Payload, timeout_s: float = 30.0) -> Any:
    """Give a running door a command, and wait until it is acknowledged; returns the door's answer.

    Raises AlphaPandaError where the door refuses it, or does not answer: then the command may have been taken.
    """
    place = urllib.parse.urlsplit(url)
    if place.scheme != "http" or place.hostname is None:
        raise AlphaPandaError(f"{url!r} is not a door's address: write http://host:port, as the door says at its start")
    try:
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=timeout_s)
    except ValueError as error:
        raise AlphaPandaError(f"{url!r} is not a door's address: {error}") from error
    try:
        connection.request("POST", PATH, json.dumps(body_of(command)), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
    except ConnectionRefusedError as error:
        raise AlphaPandaError(f"there is no door at {url}: nothing was sent") from error
    except OSError as error:
        raise AlphaPandaError(
            f"the door at {url} did not answer ({error}): look at control.commands before you try again"
        ) from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise AlphaPandaError(f"the door at {url} answered {answer.status}: {text.decode(errors='replace').strip()}")
    try:
        return json.loads(text)
    except ValueError as error:
        raise AlphaPandaError(f"what answers at {url} is no door: {text[:80]!r}") from error
