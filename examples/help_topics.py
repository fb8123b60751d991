"""Sentences of Python's own help, each with the topic it is from: a data set in every CPython.

``pydoc_data.topics`` holds what ``help("for")`` prints, some 80 topics of running text between
headings, grammar rules and code. What is sentence-like in it is kept, once, and labelled.
"""

import collections
import re

import numpy as np
from pydoc_data.topics import topics

Sentence = collections.namedtuple("Sentence", "text words topic")
Split = collections.namedtuple("Split", "train held_out")

MIN_WORDS = 4
MIN_SENTENCES = 20
OTHER = "other topics"

PADDING = 0
UNKNOWN = 1

_SENTENCE_END = re.compile(
    r"""(?:(?<=[.!?:]) | (?<=[.!?:][)"”]))  # behind a full stop, or behind one in brackets,
        \s+ (?=[A-Z"“*(])                   # and before what can begin a sentence.
    """,
    re.VERBOSE,
)
_BULLET = re.compile(r"^\s*(?:[*-]|\d+\.|\[\d+\])\s+")
_UNDERLINE = re.compile(r"\s*([*=~^-])\1+\s*$")
_NOT_TEXT = ("::=", ">>>", "+--")
_WORD = re.compile(r"[^\W\d]+(?:['’][a-z]+)?|\d+")


def words_of(text):
    """The words of a text in lower case, `__dunder__` names and numbers among them."""
    return _WORD.findall(text.lower())


def _indent(line):
    return len(line) - len(line.lstrip())


def _paragraphs(text):
    """What stands between blank lines, without headings, grammar rules, sessions and tables."""
    for block in re.split(r"\n\s*\n", text):
        lines = block.strip("\n").split("\n")
        if any(mark in block for mark in _NOT_TEXT) or _UNDERLINE.match(lines[-1]):
            continue
        # A term and, indented below it, what it means: only that is a sentence.
        if len(lines) > 1 and _indent(lines[1]) > _indent(lines[0]) and not _BULLET.match(block):
            lines = lines[1:]
        yield " ".join(_BULLET.sub("", "\n".join(lines), count=1).split())


def _is_prose(text):
    """False for code and signatures, by how little of them is letters, and for fragments."""
    letters = sum(c.isalpha() or c.isspace() for c in text)
    whole = len(words_of(text)) >= MIN_WORDS and text[-1] in ".!?:)\"”"
    return whole and letters > 0.75 * len(text)


def sentences_of(text):
    """The sentences of a help topic."""
    return [
        sentence
        for paragraph in _paragraphs(text)
        for sentence in _SENTENCE_END.split(paragraph)
        if sentence and _is_prose(sentence)
    ]


def load():
    """All sentences, each once, in an order that depends on nothing but the text.

    Topics quote one another ("compound" has all of "with" in it), so a sentence found in several
    belongs to the longest: topics that are part of another are thereby merged into it. Topics with
    fewer than MIN_SENTENCES left are merged into one class, OTHER, because a split would leave
    them next to nothing to learn from or to be tested by.
    """
    topic_of = {}
    for topic in sorted(topics, key=lambda name: (-len(topics[name]), name)):
        for text in sentences_of(topics[topic]):
            # Sentences with the same words are the same to the net, whatever their marks.
            topic_of.setdefault(tuple(words_of(text)), (text, topic))
    count = collections.Counter(topic for _, topic in topic_of.values())
    return [
        Sentence(text, words, topic if count[topic] >= MIN_SENTENCES else OTHER)
        for words, (text, topic) in sorted(topic_of.items())
    ]


def split(sentences, seed, held_out=0.2):
    """Shuffles, and sets a part of the sentences aside."""
    order = np.random.RandomState(seed).permutation(len(sentences))
    count = int(held_out * len(sentences))
    return Split([sentences[i] for i in order[count:]], [sentences[i] for i in order[:count]])


def pairs_of(words):
    """Each word with the one behind it."""
    return list(zip(words, words[1:] + ("",)))


class Vocabulary:
    """Numbers what occurs at least so often in the sequences; 0 and 1 stay for PADDING, UNKNOWN."""

    def __init__(self, sequences, at_least=1):
        count = collections.Counter(item for sequence in sequences for item in sequence)
        kept = sorted(item for item in count if count[item] >= at_least)
        self._ids = {item: i for i, item in enumerate(kept, UNKNOWN + 1)}

    def __len__(self):
        return len(self._ids) + UNKNOWN + 1

    def pad(self, sequences):
        """Sequences as rows of ids, int64 [B, L], padded to the longest of them."""
        width = max(map(len, sequences))
        ids = np.full((len(sequences), width), PADDING, dtype=np.int64)
        for row, sequence in zip(ids, sequences):
            row[: len(sequence)] = [self._ids.get(item, UNKNOWN) for item in sequence]
        return ids


class Encoder:
    """Sentences as a net is fed with them; what it has numbers for comes from `train` alone."""

    Sizes = collections.namedtuple("Sizes", "words pairs topics")

    def __init__(self, train):
        self.topics = sorted({sentence.topic for sentence in train})
        self._words = Vocabulary(sentence.words for sentence in train)
        # A pair seen once tells nothing that its sentence does not.
        self._pairs = Vocabulary((pairs_of(sentence.words) for sentence in train), at_least=2)
        self.sizes = self.Sizes(len(self._words), len(self._pairs), len(self.topics))

    def __call__(self, sentences):
        """{blob: array} of a batch."""
        words = [sentence.words for sentence in sentences]
        return {
            "words": self._words.pad(words),
            "pairs": self._pairs.pad([pairs_of(sequence) for sequence in words]),
            "topics": np.array([self.topics.index(s.topic) for s in sentences], dtype=np.int32),
        }

    def batches(self, sentences, size):
        for begin in range(0, len(sentences), size):
            yield self(sentences[begin : begin + size])
