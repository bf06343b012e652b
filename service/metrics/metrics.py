"""The registry of one application: no global state, so that two applications in a process do not mix."""

from pathlib import Path
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from service.lifecycle.loader import Load
from service.lifecycle.manager import Manager
from service.metrics.collector import Collector
from service.metrics.recorder import Recorder
from service.model_options import ModelOptions
from service.statistics import Statistics
from service.types import Loaded


class Metrics:
    """Watches versions from when they are loaded, and writes the page."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # A version that is unloaded takes its numbers with it.
        self._recorders: WeakKeyDictionary[Statistics, Recorder] = WeakKeyDictionary()
        ProcessCollector(registry=self.registry)

    def watching(self, load: Load) -> Load:
        """The same loader; what it loads is watched."""

        def watched(name: str, version: int, folder: Path, options: ModelOptions) -> Loaded:
            loaded = load(name, version, folder, options)
            recorder = self._recorders[loaded.statistics] = Recorder(loaded.spec)
            loaded.statistics.listen(recorder.request, recorder.run)
            return loaded

        return watched

    def tell_of(self, manager: Manager) -> None:
        """Has the page tell of that manager's versions."""
        self.registry.register(Collector(manager, lambda loaded: self._recorders.get(loaded.statistics)))

    def page(self, accept: str) -> tuple[bytes, str]:
        """The page and its media type: Prometheus' text, or OpenMetrics where the header `Accept` asks for that."""
        encode, media_type = choose_encoder(accept)
        return encode(self.registry), media_type
