"""Traces what TensorFlow does to text as operators that ONNX has strings for (text.py writes them).

    TextVectorization       splits into words by a token, and pads densely what Keras keeps ragged
    StringLower             handler: of ASCII letters, as TensorFlow's is unless told otherwise
    StaticRegexReplace      handler: of a string, or of one of several characters

A pattern that says more, and splitting other than at spaces, is left to tf2onnx, which refuses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from zoo.convert.nodes import replace
from zoo.convert.recurrent import DOMAIN
from zoo.convert.text import LOWER, REPLACE
from zoo.convert.tokens import Tokens, placeholder

if TYPE_CHECKING:
    import keras
    import tensorflow as tf
    from tf2onnx.graph import Graph, Node

#: One set of characters, and characters that stand for themselves.
CHARACTERS = re.compile(r"\[(?!\^)(\\.|[^\]\\])+\]", re.DOTALL)
LITERAL = re.compile(r"(\\\W|[^\\.^$*+?{}\[\]|()])+", re.DOTALL)


class Words:
    """Stands for splitting rows of text into words."""

    def __str__(self) -> str:
        return "splitting text into words"


class Counts:
    """Stands for how often each of `depth` numbers is in a row, weighted."""

    def __init__(self, depth: int) -> None:
        self.depth = depth

    def __str__(self) -> str:
        return f"counting {self.depth} words"


@contextmanager
def text_tokens(layer: keras.Layer, tokens: Tokens) -> Iterator[None]:
    """Trace a TextVectorization that splits into words densely; others stay as they are."""
    import keras

    dense = type(layer) is keras.layers.TextVectorization and not (
        layer._ngrams or layer._ragged or layer._lookup_layer.sparse
    )
    if not dense or layer._split != "whitespace" or layer._output_mode == "one_hot":
        yield
        return
    layer.__dict__["call"] = lambda inputs: _vectorize(layer, inputs, tokens)
    try:
        yield
    finally:
        layer.__dict__.pop("call", None)


def _vectorize(layer: keras.Layer, inputs: tf.Tensor, tokens: Tokens) -> tf.Tensor:
    """Return what the layer's call does, of words side by side with "" behind."""
    import tensorflow as tf

    layer._split = None
    try:
        text = layer._preprocess(inputs)
    finally:
        layer._split = "whitespace"
    if text.shape.rank > 1:
        text = tf.reshape(text, [-1])
    (words,), token = placeholder([text], [tf.string], [(None, None)], Words())
    tokens[token] = Words()
    lookup = layer._lookup_layer
    numbers = lookup._lookup_dense(words)
    if layer._output_mode != "int":
        return _count_words(lookup, words, numbers, tokens)
    if (length := layer._output_sequence_length) is None:
        return numbers
    behind = tf.zeros([tf.shape(numbers)[0], length], numbers.dtype)
    return tf.ensure_shape(tf.concat([numbers, behind], 1)[:, :length], [None, length])


def _count_words(
    lookup: keras.layers.StringLookup, words: tf.Tensor, numbers: tf.Tensor, tokens: Tokens
) -> tf.Tensor:
    """Return counts of the words that are there, or whether they are, or counts with weights."""
    import tensorflow as tf

    depth = int(lookup.max_tokens if lookup.pad_to_max_tokens else lookup._frozen_vocab_size)
    there = tf.not_equal(words, "")
    stands_for = Counts(depth)
    inputs = [tf.where(there, numbers, 0), tf.cast(there, tf.float32)]
    (counts,), token = placeholder(inputs, [tf.float32], [(None, depth)], stands_for)
    tokens[token] = stands_for
    if lookup.output_mode == "tf_idf":
        return counts * tf.cast(lookup.idf_weights_const, tf.float32)
    most = 1.0 if lookup.output_mode == "multi_hot" else np.inf
    return tf.cast(tf.minimum(counts, most), lookup._value_dtype)


def lower(graph: Graph, node: Node, name: str, _: object) -> None:
    """tf.strings.lower, of the letters A to Z."""
    if node.get_attr_value("encoding", b"") not in (b"", ""):
        raise ValueError(
            "tf.strings.lower with an encoding changes letters that ONNX leaves to the runtime"
        )
    replace(graph, node, LOWER, node.input, domain=DOMAIN)


def regex_replace(graph: Graph, node: Node, name: str, _: object) -> None:
    """tf.strings.regex_replace, where the pattern only lists what is replaced."""
    pattern, new = (_text(node.get_attr_value(key, b"")) for key in ("pattern", "rewrite"))
    strings = literals_of(pattern)
    if not strings or "\\" in new or not node.get_attr_value("replace_global", 1):
        raise ValueError(f"ONNX has no regular expressions such as {pattern!r}")
    if len(strings) > 1 and any(item in new for item in strings):
        raise ValueError(f"the rewrite {new!r} is itself replaced by {pattern!r}")
    replace(graph, node, REPLACE, node.input, {"old": strings, "new": new}, domain=DOMAIN)


def literals_of(pattern: str) -> list[str]:
    """Return the strings that a pattern finds, in ASCII; none where it says more than to list them."""
    if not pattern.isascii():
        return []
    if LITERAL.fullmatch(pattern):
        return [re.sub(r"\\(\W)", r"\1", pattern)]
    if not CHARACTERS.fullmatch(pattern):
        return []
    try:
        one = re.compile(pattern)
    except re.error:
        return []
    # \\w and the like find other characters by TensorFlow's rules, and beyond ASCII.
    if re.search(r"\\\w|\[:", pattern):
        return []
    return [c for c in map(chr, range(128)) if one.fullmatch(c)]


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
