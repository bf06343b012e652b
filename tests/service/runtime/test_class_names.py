import numpy as np

from service.runtime.model import ClassNames
from service.types import HeadSpec, TensorSpec


def head(name, kind, classes, *keys):
    return HeadSpec(name, tuple(TensorSpec(key, "string", (-1, 1)) for key in keys), kind, classes)


NAMES = ClassNames(
    (
        head("age", "multi_class", ("old", "new"), "class_ids", "classes", "all_classes"),
        head("genres", "multi_label", ("a", "b", "c"), "probabilities", "classes"),
        head("rating", "regression", None, "predictions"),
        head("other", "sequence", ("x", "y"), "classes"),
    )
)
IDS = {("age", "class_ids"): np.array([[1], [0]])}


def test_only_ids_are_computed():
    assert NAMES.outputs == (("age", "all_classes"), ("age", "classes"), ("genres", "classes"))
    wanted = (("age", "classes"), ("age", "class_ids"), ("age", "all_classes"), ("rating", "predictions"), ("other", "classes"))
    assert NAMES.computed(wanted) == (("age", "class_ids"), ("rating", "predictions"), ("other", "classes"))


def test_names_are_written_in_the_order_asked_for():
    wanted = (("genres", "classes"), ("age", "classes"), ("age", "all_classes"))
    written = NAMES.written(IDS, wanted, 2)
    assert [(output, array.tolist()) for output, array in written.items()] == [
        (("genres", "classes"), [[b"a", b"b", b"c"]] * 2),
        (("age", "classes"), [[b"new"], [b"old"]]),
        (("age", "all_classes"), [[b"old", b"new"]] * 2),
    ]


def test_names_that_are_wrong_are_left_to_the_model():
    left = NAMES.without([("age", "classes")])
    assert left.outputs == (("age", "all_classes"), ("genres", "classes"))
    assert left.computed([("age", "classes")]) == (("age", "classes"),)


def test_a_model_without_classes_has_none():
    assert not ClassNames((head("rating", "regression", None, "predictions"),))
