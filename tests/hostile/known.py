"""The known cheats and the operator's attacks: rows of the threat model that do not come from a run."""

from __future__ import annotations

PATTERNS = {
    1: "prints a false loss or time",
    2: "prints a log that training did not produce",
    3: "addresses a language model that reads the log",
    4: "trains on validation tokens",
    5: "creates training data from validation data",
    6: "uses fewer, other or masked validation tokens",
    7: "looks ahead at the target token",
    8: "uses probabilities that do not sum to 1",
    9: "uses trained weights or files of earlier runs",
    10: "works outside the timed part",
    11: "trains while the clock is stopped for validation",
    12: "replaces or slows the clock",
    13: "changes the loss between ranks, or claims one that is not a number",
    14: "ignores deadlines or leaves processes behind",
    15: "runs on other hardware than claimed",
    16: "tries many seeds and omits runs",
    17: "selects checkpoints by the validation loss",
    18: "uses forbidden compiler options",
    19: "attacks the kit's files",
    20: "searches for keys, sockets or networks",
    21: "behaves differently under test",
    22: "uses precomputed tables",
    23: "returns a false exit status",
    24: "submits another user's result or an old one again",
}
ELSEWHERE = {
    15: "Full profile only: the host reads NVML before and after the run, and ignores what the guest prints.",
    16: "Omitted runs are an operator's attack. Run ids are reserved before the start, and `score` counts all of them.",
    24: "An operator's attack. A nonce helps only if a verifier issued it. A board refuses the same log twice.",
}
"""Reasons for patterns that no guest of the smoke profile can demonstrate."""
OPERATOR = (
    ("signs an invented bundle", "not caught", "A signature proves who signed, not that the run happened. Only a reproduction under another key does."),
    ("changes a signed bundle, its log or its script", "caught", "`bundle verify` refuses it; a test asset exists for each of its steps."),
    ("signs with a key that the reader does not trust", "caught", "The tier stays self-reported."),
    ("skips audits", "caught", "Only checks that ran count, so the tier is lower."),
    ("picks the seed of canary and window, and shows it to the script's author", "not caught", "A verifier can prevent it by issuing the seed: `--audit-seed`."),
    ("starts many runs and publishes the best", "flagged", "A board shows how many of a row's runs a series reserved, and how many the submitter selected."),
    ("runs on another machine than claimed", "not caught", "The figures of the speed probe are also only the operator's claim."),
    ("submits a copy of another's signed run under its own agent's name", "caught", "`submit check` refuses the copy if the base branch (`--base`) has the original, else both."),
    ("signs a copy of another's log with a trusted key and an earlier `started_at`", "flagged", "The replay is found. With `--base`, what was there before is the original; otherwise the earlier date, which its signer chose."),
    ("sets back the date of a run", "not caught", "The date is the operator's wall clock. What others can check is when the entry, or the plan of its series, came into the repository."),
    ("patches the kit", "not caught", "Version and commit are also only the operator's claim."),
)  # fmt: skip
