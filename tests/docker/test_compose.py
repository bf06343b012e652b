"""compose.yaml, as it is used: train, serve, train again while it serves."""

import json
from pathlib import Path

import httpx

from tests.docker.conftest import PENGUINS
from tests.docker.engine import REPOSITORY, SERVER, TAG, Compose, composed, docker
from tests.e2e.load import Load
from tests.waiting import until

GPU = ("docker/compose.yaml", "docker/compose.gpu.yaml")
ROW = {"island": "Biscoe", "flipper_length_mm": 210.0}


def test_up_trains_and_serves(compose: Compose) -> None:
    assert compose.container("trainer").exit_code == 0
    address = compose.address("server", 8000)
    assert address.startswith("127.0.0.1:")
    described = httpx.get(f"http://{address}/models/penguins", timeout=60).json()
    assert [version["version"] for version in described["versions"]] == [1]
    until(lambda: compose.container("server")[".State.Health.Status"] == "healthy")


def test_the_server_is_hardened_and_bounded(compose: Compose) -> None:
    host = json.loads(compose.container("server")["json .HostConfig"])
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] > 0
    assert host["NanoCpus"] > 0
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    mounts = json.loads(compose.container("server")["json .Mounts"])
    assert {mount["Destination"]: mount["RW"] for mount in mounts} == {"/models": False, "/cache": True}


def test_it_has_time_to_answer_what_runs(compose: Compose) -> None:
    server = compose.container("server")
    settings = server.python(
        "from service.settings import load_settings; s = load_settings(); print(s.drain_delay_ms + s.drain_timeout_ms)"
    )
    assert int(server[".Config.StopTimeout"]) * 1000 > int(settings)


def test_a_second_up_trains_nothing(compose: Compose) -> None:
    server = compose.container("server").name
    compose("up", "--detach")
    until(lambda: compose.container("trainer")[".State.Status"] == "exited")
    assert compose.container("trainer").exit_code == 0
    assert "penguins has version 1: nothing to train" in compose("logs", "trainer")
    assert compose.container("server").name == server


def test_a_version_that_is_trained_meanwhile_takes_over_and_no_request_fails(compose: Compose) -> None:
    url = f"http://{compose.address('server', 8000)}"
    body = {"instances": [ROW], "heads": "*"}
    with Load(url, body, alike=False) as load:
        words = ("train", PENGUINS, "--models", "/models", "--runs", "/runs", "--steps", "20")
        printed = compose("run", "--rm", "trainer", *words)
        assert printed.splitlines()[-1].strip() == "/models/penguins/2"
        until(lambda: load.versions[-1] == 2)
    assert load.wrong == []
    assert load.versions[0] == 1


def test_the_gpu_images_are_built_for_gpus(compose: Compose) -> None:
    written = compose("config", files=GPU)
    assert written.count("target: server-gpu") == written.count("target: trainer-gpu") == 1


def test_the_server_is_given_the_gpus_and_wants_one(images: None) -> None:
    """The container is made, not started: there may be no GPU here. What the image is does not matter for that."""
    image = f"headserve-server-gpu:{TAG}-stand-in"
    docker("tag", SERVER, image)
    try:
        with composed(HEADSERVE_TAG=f"{TAG}-stand-in") as compose:
            compose("up", "--no-start", "--no-deps", "--no-build", "server", files=GPU)
            server = compose.container("server")
            (request,) = json.loads(server["json .HostConfig.DeviceRequests"])
            assert (request["Driver"], request["Count"], request["Capabilities"]) == ("nvidia", -1, [["gpu"]])
            assert {"HEADSERVE_REQUIRE_GPU=1", "HEADSERVE_HOST=0.0.0.0"} <= set(json.loads(server["json .Config.Env"]))
    finally:
        docker("rmi", image)


def test_every_setting_of_the_file_is_an_example() -> None:
    files = [(REPOSITORY / name).read_text() for name in GPU]
    used = {text.split(":-")[0] for file in files for text in file.split("${")[1:]}
    example = (REPOSITORY / "docker/.env.example").read_text()
    named = {line.split("=")[0] for line in example.splitlines() if line[:1].isupper()}
    assert named - {"COMPOSE_PROJECT_NAME"} == used - {"HEADSERVE_TAG"}


def test_what_is_mounted_is_there() -> None:
    for path in ("docker/prometheus/prometheus.yml", "docker/grafana/provisioning", "docker/grafana/dashboards/headserve.json"):
        assert Path(REPOSITORY / path).exists()
