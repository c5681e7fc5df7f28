"""Reads JSON members with errors that name them, and writes protobuf messages as JSON.

Reading: stems and statuses are those of Triton's JSON reader, which answers 500 to whatever it cannot
read (common/include/triton/common/triton_json.h).
Writing: as Triton writes its messages: names as in the .proto file, every field that has no presence
of its own, 64-bit numbers as numbers (protobuf's own JSON makes them strings).
"""

import base64

from google.protobuf.message import Message

from zoo_server.errors import InvalidRequest, UnreadableJson
from zoo_server.protocols.rest import sliced_json

#: A JSON object, of which nothing is known before it is looked at.
Json = dict[str, object]

#: Arrays and objects in one request. Each takes thirty times its two bytes of text, and time of the
#: garbage collector; a tensor that needs more is better sent flat, or as bytes.
MAX_CONTAINERS = 1 << 20

#: What int64 parameters and sizes may be.
_MAX_INT = 2**63 - 1

#: What was being done with a member that cannot be read, as messages begin; nothing, where Triton's
#: begin with what is wrong (all of its paths but inference).
PARSE, SET, READ = "parse", "set", ""


#: How the error begins of bytes that are no JSON object.
NO_JSON = "failed to parse the request JSON buffer: "


def parse_json(
    raw: bytes | bytearray | memoryview,
    instead: str = "send 'data' flat, or in the binary form",
) -> Json:
    """Return a JSON object; UnreadableJson if the bytes are none, InvalidRequest if it is too much.

    NaN and Infinity are numbers here, as they are to Triton. `instead`: what to do if it is too much.
    """
    text_bytes = bytes(raw)
    if text_bytes.count(b"[") + text_bytes.count(b"{") > MAX_CONTAINERS:
        raise InvalidRequest(
            f"request JSON has more than {MAX_CONTAINERS} arrays and objects: {instead}"
        )
    try:
        value = sliced_json.loads(text_bytes)
    except RecursionError:
        raise InvalidRequest("JSON nesting depth exceeds maximum allowed limit (100)") from None
    except ValueError as error:  # bad JSON, bad UTF-8, or a number of thousands of digits
        why = " ".join(str(error).split())[:200]
        raise UnreadableJson(f"{NO_JSON}{why}") from None
    if not isinstance(value, dict):
        raise UnreadableJson(f"{NO_JSON}it is not an object")
    return value


def text(owner: Json, key: str, doing: str = PARSE) -> str:
    """Return a member that must be a string."""
    value = _present(owner, key)
    if not isinstance(value, str):
        raise _wrong(key, "string", doing)
    try:
        value.encode()
    except UnicodeEncodeError:  # half a pair of surrogates: JSON can write it, UTF-8 cannot
        raise UnreadableJson(f"Unable to parse '{key}': not valid Unicode") from None
    return value


def array(owner: Json, key: str) -> list[object]:
    """Return a member that must be an array."""
    value = _present(owner, key)
    if not isinstance(value, list):
        raise _wrong(key, "array", PARSE)
    return value


def parameters(owner: Json, doing: str = PARSE) -> Json:
    """Return the member `parameters`, an empty object if there is none."""
    value = owner.get("parameters", {})
    if not isinstance(value, dict):
        words = "attempt to get members for non-object: 'parameters'"
        raise UnreadableJson(f"failed to get request params.: {words}" if doing else words)
    return value


def flag(owner: Json, key: str, doing: str = PARSE) -> bool:
    """Return a member that must be a boolean if it is there; False if it is not."""
    value = owner.get(key, False)
    if not isinstance(value, bool):
        raise _wrong(key, "boolean", doing)
    return value


def unsigned(value: object, key: str, doing: str = PARSE, *, most: int = _MAX_INT) -> int:
    """Return a value that must be a non-negative integer of at most `most`."""
    if type(value) is not int or not 0 <= value <= most:
        raise _wrong(key, "unsigned-integer", doing)
    return value


def decode_base64(value: str, key: str) -> bytes:
    """Return the bytes of a base64 string."""
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise InvalidRequest(f"Unable to parse '{key}': it is not base64") from None


def _present(owner: Json, key: str) -> object:
    if key not in owner:
        raise UnreadableJson(
            f"Unable to parse '{key}': attempt to access non-existing object member '{key}'"
        )
    return owner[key]


def _wrong(key: str, kind: str, doing: str) -> UnreadableJson:
    words = f"attempt to access JSON non-{kind} as {kind}"
    return UnreadableJson(f"Unable to {doing} '{key}': {words}" if doing else f"{words}: '{key}'")


def message_to_json(message: Message) -> Json:
    """Return a protobuf message as what json.dumps takes."""
    members: Json = {}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            members[field.name] = {str(key): _plain(value[key]) for key in value}
        elif field.enum_type is not None:
            known = field.enum_type.values_by_number
            names = {number: known[number].name for number in known}
            members[field.name] = (
                [names.get(item, item) for item in value]
                if field.is_repeated
                else names.get(value, value)
            )
        elif field.is_repeated:
            members[field.name] = [_plain(item) for item in value]
        else:
            members[field.name] = _plain(value)
    return members


def _plain(value: object) -> object:
    if isinstance(value, Message):
        return message_to_json(value)
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
