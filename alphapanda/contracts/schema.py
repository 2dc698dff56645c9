"""JSON Schemas of the wire form, generated from the structs: one file an event in `schemas/`.

`python -m alphapanda.contracts.schema` writes them anew; a test holds the committed files to the structs.
"""

import json
from pathlib import Path
from typing import Any

import msgspec

from alphapanda.contracts.codec import VERSION, wire_name
from alphapanda.contracts.events import DOOR_EVENTS, EVENTS, Payload
from alphapanda.pipeline import SOURCES

FOLDER = Path(__file__).with_name("schemas")
_TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$"}
_ID = {"type": "string", "pattern": r"^\d+-\d+-\d+-\d+-\d+$"}


def schema_of(cls: type[Payload]) -> dict[str, Any]:
    """The JSON Schema of this event's wire lines."""
    generated = msgspec.json.schema(cls)
    definitions = generated.pop("$defs")
    fields = definitions.pop(cls.__name__)["properties"]
    data = {}
    for name in cls.__struct_fields__:
        if name.endswith("_ns") and name != "ts_ns":
            nullable = "anyOf" in fields[name]
            data[wire_name(name)] = {"anyOf": [_TIME, {"type": "null"}]} if nullable else _TIME
        elif name != "ts_ns":
            data[name] = {key: value for key, value in fields[name].items() if key != "default"}
    if cls not in DOOR_EVENTS:
        data["cause"] = _ID
    envelope: dict[str, Any] = {
        "type": {"const": cls.__name__}, "ts": _TIME, "key": {"type": "string"}, "source": {"const": SOURCES[cls]},
        "version": {"const": VERSION}, "data": _closed(data), "id": _ID,
    }  # fmt: skip
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": cls.__name__, **_closed(envelope)}
    return schema | ({"$defs": definitions} if definitions else {})


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def texts() -> dict[str, str]:
    """The text of every schema file, by file name."""
    return {f"{cls.__name__}.v{VERSION}.json": json.dumps(schema_of(cls), indent=1) + "\n" for cls in EVENTS}


def main() -> None:
    """Write the schema files."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
