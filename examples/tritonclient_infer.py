"""Films to a running server through Triton's Python client: `pip install "tritonclient[http]"`.

headserve serve --models models                 # in another terminal, after `make demo`
python examples/tritonclient_infer.py [host:port]
"""

import sys

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

TITLES = np.array([b"Heat", b"The Land Before Time", b"$"], object)
COLUMNS = {"year": [1995, 1988, 1971], "length": [170, 69, 121], "budget": [60_000_000, np.nan, np.nan]}


def inputs() -> list[InferInput]:
    """The films as binary tensors; a budget that nobody knows is NaN."""
    title = InferInput("title", [len(TITLES)], "BYTES")
    title.set_data_from_numpy(TITLES)
    tensors = [title]
    for name, values in COLUMNS.items():
        tensor = InferInput(name, [len(values)], "FP32")
        tensor.set_data_from_numpy(np.array(values, np.float32))
        tensors.append(tensor)
    return tensors


def main(address: str = "localhost:8000") -> None:
    with InferenceServerClient(address) as client:
        print("ready:", client.is_model_ready("movies"))
        print("outputs:", *(output["name"] for output in client.get_model_metadata("movies")["outputs"]))

        # Several heads in one run of the network: each output that is asked for is `head/key`.
        wanted = [InferRequestedOutput("rating/predictions"), InferRequestedOutput("genres/probabilities", class_count=2)]
        answer = client.infer("movies", inputs(), outputs=wanted, request_compression_algorithm="gzip")
        for title, rating, genres in zip(
            TITLES, answer.as_numpy("rating/predictions"), answer.as_numpy("genres/probabilities"), strict=True
        ):
            likely = (text.decode().split(":") for text in genres)
            print(f"{title.decode()}: {rating[0]:.1f},", *(f"{label} {float(value):.0%}" for value, _, label in likely))

        # The same by heads and keys, for which the protocol leaves room among its parameters.
        answer = client.infer("movies", inputs(), parameters={"heads": "mpaa,popular", "keys": "probabilities"})
        print("heads and keys:", {output["name"]: output["shape"] for output in answer.get_response()["outputs"]})


if __name__ == "__main__":
    main(*sys.argv[1:])
