"""Exports of ordinary models; each function writes a version with the operations of one kind of model."""

from collections.abc import Callable
from pathlib import Path

from tests.half_plus import export_half_plus_three, export_half_plus_two, save


def _module(folder: Path, signature, predict: Callable, **members) -> None:
    import tensorflow as tf

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            for name, member in members.items():
                setattr(self, name, member)

        @tf.function(input_signature=signature)
        def predict(self, x):
            return predict(self, x)

    model = Module()
    tf.saved_model.save(model, str(folder), signatures={"serving_default": model.predict})


def _vocabulary(folder: Path) -> str:
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.parent / "words.txt"
    path.write_text("film\nheat\n")
    return str(path)


def _texts():
    import tensorflow as tf

    return [tf.TensorSpec([None], tf.string, name="x")]


def _numbers(*shape):
    import tensorflow as tf

    return [tf.TensorSpec([None, *shape], tf.float32, name="x")]


def vocabulary_file(folder: Path) -> None:
    import tensorflow as tf

    lookup = tf.lookup
    initializer = lookup.TextFileInitializer(
        _vocabulary(folder), tf.string, lookup.TextFileIndex.WHOLE_LINE, tf.int64, lookup.TextFileIndex.LINE_NUMBER
    )
    table = lookup.StaticVocabularyTable(initializer, 2)
    weights = tf.Variable([1.0, 2.0, 3.0, 4.0])
    _module(folder, _texts(), lambda m, x: {"y": tf.gather(m.weights, m.table.lookup(x))}, table=table, weights=weights)


def two_vocabulary_files(folder: Path) -> None:
    import tensorflow as tf

    def table(name):
        path = Path(_vocabulary(folder)).with_name(name)
        path.write_text("film\nheat\n")
        initializer = tf.lookup.TextFileInitializer(
            str(path), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
        )
        return tf.lookup.StaticHashTable(initializer, -1)

    members = {"a": table("a.txt"), "b": table("b.txt")}
    _module(folder, _texts(), lambda m, x: {"y": m.a.lookup(x) + m.b.lookup(x)}, **members)


def tables(folder: Path) -> None:
    import tensorflow as tf

    fixed = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a"], tf.constant([1], tf.int64)), -1)
    mutable = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    dense = tf.lookup.experimental.DenseHashTable(tf.string, tf.int64, -1, "", "$")
    mutable.insert(tf.constant(["a"]), tf.constant([2], tf.int64))

    def predict(m, x):
        return {"y": m.fixed.lookup(x) + m.mutable.lookup(x) + m.dense.lookup(x)}

    _module(folder, _texts(), predict, fixed=fixed, mutable=mutable, dense=dense)


def strings(folder: Path) -> None:
    import tensorflow as tf

    def predict(m, x):
        words = tf.strings.split(tf.strings.regex_replace(tf.strings.lower(x), r"\W", " "))
        grams = tf.strings.ngrams(words, 2).to_tensor("")
        tf.debugging.assert_greater(tf.size(x), 0)
        return {"y": tf.strings.reduce_join(grams, axis=1), "hash": tf.strings.to_hash_bucket_fast(x, 9)}

    _module(folder, _texts(), predict)


def examples(folder: Path) -> None:
    import tensorflow as tf

    features = {
        "a": tf.io.FixedLenFeature([], tf.float32, 0.0),
        "b": tf.io.VarLenFeature(tf.string),
        "c": tf.io.RaggedFeature(tf.int64),
    }

    def predict(m, x):
        parsed = tf.io.parse_example(x, features)
        lengths = tf.cast(parsed["c"].row_lengths(), tf.float32)
        return {"y": parsed["a"] + lengths, "b": tf.sparse.to_dense(parsed["b"], "")}

    _module(folder, _texts(), predict)


def images(folder: Path) -> None:
    import tensorflow as tf

    def decode(content):
        image = tf.io.decode_image(content, channels=3, expand_animations=False)
        return tf.image.resize(tf.cast(image, tf.float32), [4, 4])

    def predict(m, x):
        decoded = tf.map_fn(decode, x, fn_output_signature=tf.TensorSpec([4, 4, 3], tf.float32))
        return {"y": tf.image.adjust_contrast(decoded, 1.5)}

    _module(folder, _texts(), predict)


def loops(folder: Path) -> None:
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def compiled(x):
        return tf.nn.softmax(tf.matmul(x, x, transpose_b=True))

    def predict(m, x):
        total = tf.zeros_like(x)
        for i in tf.range(3):
            if tf.reduce_sum(x) > tf.cast(i, tf.float32):
                total += x
        counted = tf.data.Dataset.range(4).map(lambda i: i * 2).batch(2).reduce(tf.constant(0, tf.int64), lambda n, _: n + 1)
        noise = tf.random.stateless_uniform(tf.shape(x), [1, 2]) * 0
        scanned = tf.scan(lambda a, b: a + b, x)
        folded = tf.switch_case(tf.constant(1), [lambda: x, lambda: scanned])
        return {"y": total + noise + folded, "similar": compiled(x), "n": tf.fill([tf.shape(x)[0]], counted)}

    _module(folder, _numbers(2), predict)


def keras(folder: Path) -> None:
    """Layers of all kinds, an LSTM with its functions for each device, and an optimizer that has trained."""
    import tensorflow as tf

    k = tf.keras
    model = k.Sequential(
        [
            k.layers.Input((3,)),
            k.layers.Embedding(9, 4),
            k.layers.Bidirectional(k.layers.LSTM(3, return_sequences=True)),
            k.layers.GRU(3),
            k.layers.BatchNormalization(),
            k.layers.Dropout(0.5),
            k.layers.Dense(2, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(tf.ones([4, 3]), tf.zeros([4]), verbose=0)
    model.export(str(folder))


def text_vectorization(folder: Path) -> None:
    import tensorflow as tf

    layer = tf.keras.layers.TextVectorization(vocabulary=_vocabulary(folder), output_sequence_length=3)
    _module(folder, _texts(), lambda m, x: {"y": m.layer(x)}, layer=layer)


def saved_again(folder: Path) -> None:
    """A model that was loaded and exported once more, with its assets and savers of before."""
    import tensorflow as tf

    first = folder.parent / "first"
    vocabulary_file(first)
    loaded = tf.saved_model.load(str(first))
    tf.saved_model.save(loaded, str(folder), signatures=loaded.signatures)


def graph_with_assets(folder: Path) -> None:
    """TensorFlow 1: a table from a file, a saver of the training besides the export's, and a while loop of its kind."""
    import tensorflow as tf

    v1 = tf.compat.v1
    path = _vocabulary(folder)
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.string, [None], name="x")
        table = v1.lookup.StaticVocabularyTable(
            tf.lookup.TextFileInitializer(
                path, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
            ),
            1,
        )
        weights = v1.get_variable("weights", [3, 2], partitioner=v1.fixed_size_partitioner(2))
        old = v1.get_variable("old", initializer=1.0, use_resource=False)
        embedded = tf.gather(tf.convert_to_tensor(weights), table.lookup(x))
        count = v1.while_loop(lambda i: i < 3, lambda i: i + 1, [tf.constant(0)])
        y = embedded * old + tf.cast(count, tf.float32)
        v1.summary.scalar("mean", tf.reduce_mean(y))
        v1.train.Saver()  # of the training: nothing names it
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            [v1.saved_model.SERVING],
            {"serving_default": v1.saved_model.predict_signature_def({"x": x}, {"y": y})},
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            main_op=v1.tables_initializer(),
        )
        builder.save()


def without_variables(folder: Path) -> None:
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], name="x")
        save(session, folder, {"serving_default": ("predict", {"x": x}, {"y": tf.square(x)})})


EXPORTS: dict[str, Callable[[Path], None]] = {
    "vocabulary_file": vocabulary_file,
    "two_vocabulary_files": two_vocabulary_files,
    "tables": tables,
    "strings": strings,
    "examples": examples,
    "images": images,
    "loops": loops,
    "keras": keras,
    "text_vectorization": text_vectorization,
    "saved_again": saved_again,
    "graph_with_assets": graph_with_assets,
    "without_variables": without_variables,
    "half_plus_two": export_half_plus_two,
    "half_plus_three": export_half_plus_three,
}
