"""speedrun-kit: pinned images, contained runs and signed results for the LLM speedrunning benchmark."""

__version__ = "0.2.0.dev0"
