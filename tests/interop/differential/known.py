"""The differences that stay, each under the name of its row in docs/compatibility.md."""

import re
from dataclasses import dataclass

from tests.interop.differential.exchange import ENDED, Outcome


@dataclass(frozen=True, slots=True)
class Known:
    """One difference: in which cases, and what it looks like there."""

    #: Of whole case names.
    cases: str
    #: "code", "text", "answer", "order" or "final", or several: "code|text".
    difference: str
    #: Of whole codes, or of the answer's text; empty for any.
    triton: str = ""
    ours: str = ""

    def fits(self, case: str, difference: str, triton: Outcome, ours: Outcome) -> bool:
        """Tell whether a case shows this difference."""
        return (
            difference in self.difference.split("|")
            and re.fullmatch(self.cases, case) is not None
            and _is(self.triton, triton)
            and _is(self.ours, ours)
        )


def _is(pattern: str, outcome: Outcome) -> bool:
    return not pattern or bool(
        re.fullmatch(pattern, outcome.code) or re.match(pattern, outcome.text)
    )


_INVALID = "INVALID_ARGUMENT|400"

KNOWN: dict[str, tuple[Known, ...]] = {
    "version-spelling": (
        Known(r"version/'(\+1|1\.0| 1|1 )'/.*", "code", "OK|NOT_FOUND", "INVALID_ARGUMENT"),
    ),
    "version-details": (
        Known(r"(rest/)?version/.*", "text", "failed to get model version.*stol", "failed to get"),
        Known(r"stream/version in words", "answer"),
    ),
    "batch-first": (
        Known(r"shape/.*", "text", "", r"\[request id: 7\] inference request batch-size"),
        Known(r"(inputs/rows|rest/input/shape) .*", "text", "", r".*inference request batch-size"),
        Known(r"ensemble/no rows", "text", ".*input byte size mismatch"),
        Known(r"shape/no bytes/\[0, 0\]", "code", "DEADLINE_EXCEEDED", "INVALID_ARGUMENT"),
    ),
    "negative-dimension": (
        Known(r"shape/.*", "text", "", r"\[request id: 7\] All input dimensions should be"),
    ),
    "size-overflow": (
        Known(r"(shape|strings)/.*", "text", "", r"\[request id: 7\] shape holds more than"),
        Known(r"shape/no bytes/.*", "code", "INTERNAL", "INVALID_ARGUMENT"),
        Known(r"rest/input/shape huge", "code", ENDED, "400"),
    ),
    "which-input": (
        Known(
            r"(inputs|ensemble)/.*", "text",
            ".*(unexpected inference input|batch size does not match)",
        ),
        Known(r"ensemble/an input too many", "text", ".*expected 2 inputs but got 3"),
        Known(r"inputs/\('INPUT0', 'INPUT1', 'INPUT2'\)", "text", ".*expected 2 inputs but got 3"),
        Known(r"contents/empty typed", "text", ".*input byte size mismatch"),
    ),
    "unknown-datatype": (Known(r"inputs/datatype .*", "text", ".*data-type is '<invalid>'"),),
    "optional-but-required": (
        Known(r"inputs/optional alone", "code", "INTERNAL", "INVALID_ARGUMENT"),
    ),
    "output-order": (Known(r"outputs/\('OUTPUT1', 'OUTPUT0'\)", "order"),),
    "ensemble-answer": (Known(r"ensemble/.*", "order"),),
    "warm-up-counted": (Known(r"statistics/warm", "answer"),),
    "output-twice": (
        Known(r"outputs/.*'OUTPUT0'.*'OUTPUT0'\)", "code", "OK", "INVALID_ARGUMENT"),
        Known(r"rest/request/output twice", "code", "200", "400"),
    ),
    "surplus-raw": (Known(r"contents/three raw for two", "code", "OK", "INVALID_ARGUMENT"),),
    "narrow-integers": (
        Known(r"contents/U?INT(8|16) .*", "code", "OK", "INVALID_ARGUMENT"),
    ),
    "strings-checked-first": (
        Known(r"(datatype/BYTES|strings)/.*", "text", "incomplete string data"),
        Known(r"statistics/identity_bytes", "answer"),
    ),
    "strings-not-utf8": (Known(r"strings/not UTF-8", "code", "INTERNAL", "INVALID_ARGUMENT"),),
    "uint64-parameter": (
        Known(r"parameter/.*/uint64_param", "code", "INVALID_ARGUMENT", "OK"),
    ),
    "classes-over-int32": (
        Known(r"(rest/)?classification/\d{10,}", "code", "OK|200", _INVALID),
    ),
    "classes-zero": (Known(r"rest/classification/0", "code", "200", "400"),),
    "classes-of-strings": (Known(r"classification/of BYTES", "code", ENDED, "INVALID_ARGUMENT"),),
    "stream-error-is-final": (Known(r"stream/.*", "final"),),
    "stream-statuses": (Known(r"stream/statuses, (bad|unknown model)", "code", "OK"),),
    "load-name-first": (
        Known(r"management/RepositoryModelLoad ''", "code", "UNAVAILABLE", "INVALID_ARGUMENT"),
    ),
    "rest-home": (Known(r"rest/path/(GET|POST) /", "code", "404", "200|405"),),
    "rest-parser": (
        Known(r"rest/.*", "text", r".*failed to parse the request JSON buffer", r".*failed to parse"),
        Known(r"rest/binary/header length 1e2", "code", "500", "400"),
        Known(r"rest/binary/no header length", "code", "unexpected size for", "failed to parse"),
        Known(r"rest/malformed/not UTF-8", "text", "Unable to parse 'inputs'", "failed to parse"),
    ),
    "rest-no-object": (Known(r"rest/(malformed|control)/.*", "code|text", "", ".*not an object"),),
    "rest-control-later": (
        Known(r"rest/control//v2/repository/index .*", "code", "500", "Invalid value for 'ready'"),
        Known(r"rest/control//v2/repository/.*/unload .+", "code", "503", "500"),
        Known(r"rest/control/.*file:1/model.onnx.*", "code", "503", "400"),
    ),
    "rest-load-parameter": (
        Known(r"rest/control/.*/load .*mine.*", "code", "unexpected error on creating", "400"),
    ),
    "rest-raw-name": (Known(r"rest/.*", "text", r".*input byte size mismatch for input 'raw_i"),),
    "rest-first-fault": (
        Known(r"rest/malformed/(deep|input a number|NaN)", "text", "Input must set only one"),
        Known(r"rest/input/shape \[\]", "code", ".*has no shape but model requires batch", "500"),
        Known(r"rest/control//v2/systemsharedmemory/register .*", "code", "'region name' is", "500"),
    ),
    "rest-parameters-a-list": (Known(r"rest/input/parameters a list", "code", "200", "500"),),
}  # fmt: skip


def known_difference(case: str, difference: str, triton: Outcome, ours: Outcome) -> str:
    """Return the name of the known difference that a case shows, or nothing."""
    for name, forms in KNOWN.items():
        if any(form.fits(case, difference, triton, ours) for form in forms):
            return name
    return ""
