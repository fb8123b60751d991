"""A Caffe2 net that answers two questions about a sentence: its topic, and a verb taken out of it.

It attends to the words once for each question, or once for both.
"""

import collections

import numpy as np
from caffe2.python import brew, model_helper, optimizer, workspace
from caffe2.python.modeling.initializers import ExternalInitializer, Initializer

import caffe2op_mask  # noqa: F401  (its layers are brew's from here on)
import help_topics
from program import seed_nets

WIDTH = 64
# Of all queries together: one of each, or two of one query.
HEADS = 2
DROPOUT = 0.6
LEARNING_RATE = 0.005
BATCH_SIZE = 64
# A batch is as long as its longest sentence; the few that are longer would cost half the time.
LONGEST = 40
# Words farther than this from the gap are all told the same distance.
FAR = 3

VERBS = ("are", "can", "is", "may", "must", "should", "will")
GAP = "[...]"
QUESTIONS = ("topic", "verb")

# places: how far each word is from the gap, from -FAR to FAR
Example = collections.namedtuple("Example", "words places topic verb")
# Of some examples: by question the answers, as ids, and how many are right; attention, the mean of
# heads, [N, queries, L]; gate [N, queries].
Result = collections.namedtuple("Result", "answers right attention gate")


def examples_of(sentences):
    """Sentences, if not too long, that have verbs of VERBS, with a gap for the first of them."""
    for sentence in sentences:
        gaps = [place for place, word in enumerate(sentence.words) if word in VERBS]
        if gaps and len(sentence.words) <= LONGEST:
            gap, words = gaps[0], sentence.words
            places = tuple(np.clip(np.arange(len(words)) - gap, -FAR, FAR))
            words_left = words[:gap] + (GAP,) + words[gap + 1 :]
            yield Example(words_left, places, sentence.topic, words[gap])


class Encoder:
    """Examples as a net is fed with them; words that have no number are not in `train`."""

    def __init__(self, examples, train):
        self.answers = {
            question: sorted({getattr(example, question) for example in examples})
            for question in QUESTIONS
        }
        self._words = help_topics.Vocabulary(example.words for example in train)
        self.size = len(self._words)

    def __call__(self, examples):
        """{blob: array} of a batch."""
        words = self._words.pad([example.words for example in examples])
        places = np.zeros_like(words)
        for row, example in zip(places, examples):
            row[: len(example.places)] = np.add(example.places, FAR)
        batch = {
            "words": words,
            "places": places,
            "lengths": np.array([len(example.words) for example in examples], dtype=np.int32),
        }
        for question, answers in self.answers.items():
            told = [answers.index(getattr(example, question)) for example in examples]
            batch[question] = np.array(told, dtype=np.int32)
        return batch


def add_words(model, encoder, is_test):
    """`words` and `places`, int64 [B, L] -> a vector of each word in its place, [B, L, WIDTH]."""
    net = model.net

    def embed(ids, size):
        initializer = Initializer("GaussianFill", std=0.1)
        if not model.init_params:
            initializer = ExternalInitializer()
        table = model.create_param(ids + "_table", shape=[size, WIDTH], initializer=initializer)
        flat = net.FlattenToVec(ids, ids + "_flat")
        # A sparse gradient would update a word once for each time that it occurs.
        return net.Gather([table, flat], ids + "_rows", dense_gradient=True)

    rows = net.Add([embed("words", encoder.size), embed("places", 2 * FAR + 1)], "rows")
    rows = brew.dropout(model, rows, "rows_out", ratio=DROPOUT, is_test=is_test)
    hidden = brew.fc(model, rows, "hidden_in", dim_in=WIDTH, dim_out=WIDTH)
    hidden = brew.tanh(model, hidden, "hidden")
    width = net.GivenTensorInt64Fill([], "width", shape=[1], values=[WIDTH])
    dims, _ = net.Concat([net.Shape("words"), width], ["dims", "dims_split"], axis=0)
    return net.Reshape([hidden, dims], ["by_sentence", "hidden_shape"])[0]


def add_net(model, encoder, queries, is_test):
    """Adds what leads from `words`, `places` and `lengths` to `loss`.

    `<question>_probabilities` are the answers. With `is_test`, what each query attended to is
    `attention` [B, heads, queries, L]; the layer keeps no such matrix.
    """
    net, heads = model.net, HEADS // queries
    seen = add_words(model, encoder, is_test)
    attended = brew.adaptive_attention(
        model, seen, "attend", WIDTH, heads, num_tasks=queries, lengths="lengths"
    )
    if is_test:
        blobs = ["attend_attended_to_queries", "attend_attended_to_keys"]
        scores = net.BatchMatMul(blobs, "scores", trans_b=1)
        scale = (WIDTH // heads) ** -0.5
        brew.masked_softmax(model, scores, "attention", lengths="lengths", scale=scale)
    parts = [attended] * len(QUESTIONS)
    if queries > 1:
        parts = net.Split(attended, [question + "_part" for question in QUESTIONS], axis=1)
    losses = []
    for question, part in zip(QUESTIONS, parts):
        summary, _ = net.Reshape(
            part, [question + "_summary", question + "_shape"], shape=[-1, WIDTH]
        )
        summary = brew.dropout(model, summary, question + "_out", ratio=DROPOUT, is_test=is_test)
        answers = len(encoder.answers[question])
        logits = brew.fc(model, summary, question + "_logits", dim_in=WIDTH, dim_out=answers)
        outputs = [question + "_probabilities", question + "_loss"]
        losses.append(net.SoftmaxWithLoss([logits, question], outputs)[1])
    return net.Add(losses, "loss")


def feed(batch):
    for blob, value in batch.items():
        workspace.FeedBlob(blob, value)


class Net:
    """A net with its parameters, in a workspace that it takes for itself."""

    def __init__(self, encoder, queries, seed):
        workspace.ResetWorkspace()
        train = model_helper.ModelHelper("train")
        train.AddGradientOperators([add_net(train, encoder, queries, is_test=False)])
        optimizer.build_adam(train, LEARNING_RATE)
        seed_nets(seed, train.param_init_net, train.net)
        predict = model_helper.ModelHelper("predict", init_params=False)
        add_net(predict, encoder, queries, is_test=True)
        self._encoder, self._train, self._predict = encoder, train.net, predict.net
        workspace.RunNetOnce(train.param_init_net)

    def train(self, examples, epochs, seed):
        """All examples once an epoch, in another order each time; yields after each step."""
        random = np.random.RandomState(seed)
        feed(self._encoder(examples))
        workspace.CreateNet(self._train)
        for _ in range(epochs):
            order = random.permutation(len(examples))
            for begin in range(0, len(order), BATCH_SIZE):
                chosen = [examples[i] for i in order[begin : begin + BATCH_SIZE]]
                feed(self._encoder(chosen))
                workspace.RunNet(self._train.Name())
                yield float(workspace.FetchBlob("loss"))

    def test(self, examples):
        batch = self._encoder(examples)
        feed(batch)
        workspace.RunNetOnce(self._predict)
        answers = {
            question: workspace.FetchBlob(question + "_probabilities").argmax(axis=1)
            for question in QUESTIONS
        }
        right = {question: np.mean(answers[question] == batch[question]) for question in QUESTIONS}
        attention, gate = workspace.FetchBlobs(["attention", "attend_gate"])
        return Result(answers, right, attention.mean(axis=1), gate[..., 0])
