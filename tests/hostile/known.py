"""What cheats are known, and what an operator may try: the rows of the threat model that no run fills."""

from __future__ import annotations

PATTERNS = {
    1: "a false loss or time is printed",
    2: "log or figures do not come from the script",
    3: "the log addresses a language model that reads it",
    4: "training on validation tokens",
    5: "training data are made again, from validation data",
    6: "fewer, other or masked validation tokens",
    7: "a look ahead at the target",
    8: "probabilities that do not sum to 1",
    9: "trained weights or leftovers of earlier runs",
    10: "work outside the timed part",
    11: "training while the clock is stopped for validation",
    12: "a clock that is replaced or slowed",
    13: "a loss that is bent between ranks, or is no number",
    14: "deadlines ignored, processes left behind",
    15: "other hardware than is said",
    16: "many seeds tried, runs left out",
    17: "checkpoints chosen by the validation loss",
    18: "compiler options that are forbidden",
    19: "an attack on the kit's own files",
    20: "keys, sockets, networks",
    21: "another behaviour where it is tested",
    22: "precomputed tables",
    23: "a false exit status",
    24: "another's result, or an old one, handed in again",
}
ELSEWHERE = {
    15: "Full profile only: NVML is read on the host, before and after. The guest's own words are not read.",
    16: "Runs that are left out: an operator's attack. Ids are reserved before a start, and `score` counts all.",
    24: "An operator's attack: the nonce binds only where a verifier issued it; a listing refuses a log twice.",
}
"""What a guest of the smoke profile cannot show."""
OPERATOR = (
    ("makes up a bundle of any content", "not caught", "A signature says who, not that it happened. Only another key's reproduction binds him."),
    ("changes a signed bundle, its log or its script", "caught", "`bundle verify`: one bad asset for each of its steps."),
    ("signs with a key that the reader does not trust", "caught", "The tier stays self-reported."),
    ("leaves audits out", "caught", "Only checks that ran count; the tier falls."),
    ("picks the seed of canary and window, and shows the script beforehand", "not caught", "Unless a verifier issues it: `--audit-seed`."),
    ("starts many runs and shows the best", "flagged", "A board says how many runs of a row a series had reserved, and how many were chosen by who sent them."),
    ("runs on another machine than he says", "not caught", "The figures of the probe are his own words, too."),
    ("patches the kit", "not caught", "Version and commit are his own words, too."),
)  # fmt: skip
