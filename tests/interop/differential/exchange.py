"""Send a case to a server, and put what comes back into a form that can be compared."""

import http.client
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message

from tests.interop.differential.peers import Peer
from tests.interop.differential.requests import COUNTED, Case
from tests.interop.differential.rest_cases import LENGTH, HttpCase
from zoo_proto import grpc_service_pb2 as pb

SECONDS = 20
ENDED = "THE PROCESS ENDED"

#: What one of the two has no use for, or counts in nanoseconds: said in docs/compatibility.md.
_LEFT_OUT = {
    "ModelConfig": ("platform", "backend", "instance_group", "default_model_filename",
                    "optimization"),
    "ModelMetadata": ("platform",),
    "ServerMetadata": ("version", "extensions"),
    "ModelStatistics": ("last_inference", "ns", "memory_usage"),
    #: Of models that both have answered a different number of times by then.
    "ModelStatistics, uncounted": ("last_inference", "inference_count", "execution_count",
                                   "inference_stats", "batch_stats", "memory_usage"),
    "LogSettings": ("log_info", "log_warning", "log_verbose_level", "log_format"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a server answered: a code's name or a number, the error's text, and the answer."""

    code: str
    text: str = ""
    answer: Any = None


def send(peer: Peer, case: Case | HttpCase) -> Outcome:
    """Return what a server answers; that the request ended its process is an answer too."""
    if isinstance(case, HttpCase):
        outcome = _http(peer, case)
    elif case.method == "ModelStreamInfer":
        outcome = _stream(peer, case)
    else:
        outcome = _unary(peer, case)
    gone = outcome.code in ("UNAVAILABLE", "no answer")
    return Outcome(ENDED) if gone and peer.has_ended() else outcome


def _unary(peer: Peer, case: Case) -> Outcome:
    try:
        call = getattr(peer.stub, case.method)
        answer = call(case.messages[0], timeout=SECONDS, metadata=case.metadata)
    except grpc.RpcError as error:
        return Outcome(error.code().name, error.details() or "")
    counted = case.method != "ModelStatistics" or case.name.startswith(COUNTED)
    return Outcome(
        "OK", "", _plain(case.method if counted else f"{case.method}, uncounted", answer)
    )


def _stream(peer: Peer, case: Case) -> Outcome:
    answers = []
    try:
        call = peer.stub.ModelStreamInfer(
            iter(case.messages), timeout=SECONDS, metadata=case.metadata
        )
        for answer in call:
            # An error's text is compared like a status's, below.
            said = stem(answer.error_message)
            answers.append([said, _plain("ModelInfer", answer.infer_response)])
    except grpc.RpcError as error:
        return Outcome(error.code().name, error.details() or "", answers)
    return Outcome("OK", "", answers)


def _plain(method: str, message: Message) -> Any:
    values = json_format.MessageToDict(message, preserving_proto_field_name=True)
    if isinstance(message, pb.ModelInferResponse):
        values["raw_output_contents"] = [raw.hex() for raw in message.raw_output_contents]
    return tidy(values, _LEFT_OUT.get(method, ()))


def tidy(values: Any, left_out: tuple[str, ...]) -> Any:
    """Return values without what is not compared; lists of models by name."""
    if isinstance(values, Mapping):
        return {key: tidy(value, left_out) for key, value in values.items() if key not in left_out}
    if isinstance(values, list):
        tidied = [tidy(value, left_out) for value in values]
        named = tidied and all(isinstance(value, dict) and "version" in value for value in tidied)
        return sorted(tidied, key=lambda v: (v["name"], v["version"])) if named else tidied
    return values


def _http(peer: Peer, case: HttpCase) -> Outcome:
    connection = http.client.HTTPConnection("127.0.0.1", peer.http_port, timeout=SECONDS)
    try:
        connection.request(case.verb, case.path, case.body or None, case.headers)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return Outcome("no answer", type(error).__name__)
    finally:
        connection.close()
    return _http_outcome(case, answer, body)


def _http_outcome(case: HttpCase, answer: http.client.HTTPResponse, body: bytes) -> Outcome:
    code = str(answer.status)
    encoding = answer.headers.get("content-encoding", "")
    if encoding:  # the two compress differently
        return Outcome(code, "", encoding)
    length = answer.headers.get(LENGTH)
    end = int(length) if length is not None else len(body)
    try:
        values = json.loads(body[:end]) if body[:end] else None
    except ValueError:
        return Outcome(code, "", "no JSON")
    if isinstance(values, dict) and set(values) == {"error"}:
        return Outcome(code, values["error"])
    left_out = _LEFT_OUT.get(_method_of(case.path), ())
    if isinstance(values, dict) and length is not None:
        values["binary"] = body[end:].hex()
    return Outcome(code, "", tidy(values, left_out))


def _method_of(path: str) -> str:
    """Return the RPC that answers the same as a path."""
    if path.endswith("/config"):
        return "ModelConfig"
    if path.endswith("/stats"):
        return "ModelStatistics, uncounted"
    if path.endswith("/logging"):
        return "LogSettings"
    if path in ("/v2", "/v2/"):
        return "ServerMetadata"
    return "ModelMetadata"


def stem(text: str) -> str:
    """Return a message without the request's id and with single spaces."""
    text = re.sub(r"\[request id: [^\]]*\] ", "", text)
    return " ".join(text.split())


def differs(triton: Outcome, ours: Outcome) -> str:
    """Return in what two outcomes differ: code, answer, order, text, final or nothing.

    "final" is an answer that differs only in what a stream's errors say of being the last, "order" one
    that differs only in the order of its outputs and in the parameters beside them.
    Our text may go on after Triton's, and Triton's after ours.
    """
    if triton.code != ours.code:
        return "code"
    if triton.answer != ours.answer:
        if _without_final(triton.answer) == _without_final(ours.answer):
            return "final"
        return "order" if _outputs(triton.answer) == _outputs(ours.answer) else "answer"
    return "" if same_words(triton.text, ours.text) else "text"


def _without_final(answers: Any) -> Any:
    """Return a stream's answers, the errors without their parameters; others as they are."""
    if not isinstance(answers, list):
        return answers
    return [[said, tidy(answer, ("parameters",)) if said else answer] for said, answer in answers]


def _outputs(answer: Any) -> Any:
    """Return the outputs of an answer by their names; what is no such answer as it is."""
    if not isinstance(answer, Mapping) or "raw_output_contents" not in answer:
        return answer
    raws = answer["raw_output_contents"]
    rest = {key: answer[key] for key in ("model_name", "model_version", "id") if key in answer}
    outputs = answer.get("outputs", [])
    return rest, {output["name"]: (output, raw) for output, raw in zip(outputs, raws, strict=True)}


def same_words(one: str, other: str) -> bool:
    """Tell whether two messages have one stem: one may go on after the other."""
    one, other = stem(one).rstrip("."), stem(other).rstrip(".")
    shorter, longer = sorted((one, other), key=len)
    return one == other or (shorter != "" and longer.startswith(shorter))
