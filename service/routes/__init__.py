"""HTTP routes: thin, no tensor work; each module makes a router from what it needs."""
