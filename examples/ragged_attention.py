"""Padding never changes a result: attention over sentences of different lengths.

Sentences of 2, 5 and 3 words are padded to one batch. Self-attention and a mean over the words make
a vector of each sentence, once where it comes alone and once in the batch. With its length both are
the same, even where the padding is NaN. Where padding is taken for words, they are not.

Run with: .venv/bin/python examples/ragged_attention.py

Output:

    padding of zeros, masked:
      2 words: alone  0.024 -0.893  2.493, in the batch  0.024 -0.893  2.493: the same
      5 words: alone  0.585 -0.322  0.290, in the batch  0.585 -0.322  0.290: the same
      3 words: alone  0.889  0.290 -0.523, in the batch  0.889  0.290 -0.523: the same
    padding of NaN, masked:
      2 words: alone  0.024 -0.893  2.493, in the batch  0.024 -0.893  2.493: the same
      5 words: alone  0.585 -0.322  0.290, in the batch  0.585 -0.322  0.290: the same
      3 words: alone  0.889  0.290 -0.523, in the batch  0.889  0.290 -0.523: the same
    padding of zeros, taken for words:
      2 words: alone  0.024 -0.893  2.493, in the batch  0.046 -0.354  1.100: changed
      5 words: alone  0.585 -0.322  0.290, in the batch  0.585 -0.322  0.290: the same
      3 words: alone  0.889  0.290 -0.523, in the batch  0.563  0.180 -0.318: changed
"""

import numpy as np
from caffe2.python import brew, model_helper, workspace

import caffe2op_mask  # noqa: F401 (its layers are brew's from here on)

WIDTH, HEADS = 8, 2


def make_model():
    """words [B, L, WIDTH], lengths [B] -> sentence [B, WIDTH]"""
    model = model_helper.ModelHelper("sentences")
    attended = brew.multi_head_attention(
        model, "words", "attended", WIDTH, HEADS, lengths="lengths"
    )
    brew.masked_mean(model, attended, "sentence", lengths="lengths")
    for i, op in enumerate(model.param_init_net.Proto().op):
        op.device_option.random_seed = i + 1
    workspace.RunNetOnce(model.param_init_net)
    return model


def vectors(model, batch, lengths):
    workspace.FeedBlob("words", batch)
    workspace.FeedBlob("lengths", np.array(lengths, dtype=np.int32))
    workspace.RunNetOnce(model.net)
    return workspace.FetchBlob("sentence")


def pad(sentences, padding):
    batch = np.full((len(sentences), max(map(len, sentences)), WIDTH), padding, dtype=np.float32)
    for row, sentence in zip(batch, sentences):
        row[: len(sentence)] = sentence
    return batch


def text(vector):
    return " ".join("{:6.3f}".format(number) for number in vector[:3])


model = make_model()
random = np.random.RandomState(0)
sentences = [random.randn(words, WIDTH).astype(np.float32) for words in (2, 5, 3)]
lengths = [len(sentence) for sentence in sentences]

for title, padding, told in (
    ("padding of zeros, masked", 0.0, lengths),
    ("padding of NaN, masked", np.nan, lengths),
    ("padding of zeros, taken for words", 0.0, [max(lengths)] * len(lengths)),
):
    print("{}:".format(title))
    for sentence, in_batch in zip(sentences, vectors(model, pad(sentences, padding), told)):
        (alone,) = vectors(model, sentence[np.newaxis], [len(sentence)])
        same = np.allclose(alone, in_batch, rtol=0, atol=1e-6)
        print(
            "  {} words: alone {}, in the batch {}: {}".format(
                len(sentence), text(alone), text(in_batch), "the same" if same else "changed"
            )
        )
