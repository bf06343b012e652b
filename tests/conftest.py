"""What all tests share: a quiet TensorFlow, and the models that the serving tests run on."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
