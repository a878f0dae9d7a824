"""Explain the board's columns and tiers to a visitor."""

from __future__ import annotations

from dataclasses import dataclass

from kit.result.appraisal.trust import Tier


@dataclass(frozen=True, slots=True)
class Head:
    """One column of the board."""

    name: str
    first_order: str
    """Direction in which a first click sorts: `up`, `down`, or empty if the column cannot be sorted."""
    about: str


@dataclass(frozen=True, slots=True)
class LegendItem:
    """One term and its meaning."""

    name: str
    about: str


HEADS = (
    Head("Task", "up", "Start record → target record."),
    Head("Agent", "up", "The agent, its model, and the hint levels that it was given."),
    Head(
        "FSR",
        "down",
        "Mean over all runs of the row. In small print: the 95 % interval of the runs that reached the"
        " target, and the source of the two records' times. same-machine: both records ran on the same"
        " machine as the agent's script. scaled: only the start record ran there, and the target's time is"
        " estimated. re-timed: times from the benchmark's paper. official: times from the speedrun's"
        " leaderboard. unresolved: the two records' times are too close to state an FSR.",
    ),
    Head(
        "Reached",
        "down",
        "Runs that reached the target loss, out of all runs. A series reserves its runs in advance. Runs that"
        " are not in a series were selected by the submitter.",
    ),
    Head(
        "Best time",
        "up",
        "Shortest training time of a run that reached the target loss. It includes the untimed overhead: how"
        " much longer the script works outside its own timer than the start record does. In small print: the"
        " days of the row's runs.",
    ),
    Head(
        "Mean loss",
        "up",
        "Mean of the final validation losses, without runs that failed or were refused. p is from a one-sided"
        " t-test: a small p is evidence that the true mean is below the target loss.",
    ),
    Head("Tier", "down", "Lowest tier of the row's runs, and how many of the runs a rerun confirmed."),
    Head(
        "Environment",
        "",
        "GPUs. In small print: image, container runtime and isolation. The list of runs says whether torch"
        " and Python have the record's exact versions.",
    ),
)
ABOUT_TIERS = {
    Tier.SELF_REPORTED: "The signature and the files are valid. A check for the next tier failed or is"
    " missing.",
    Tier.SCREENED: "The run was isolated in a container, and the checks of its source, log and times passed.",
    Tier.CANARY: "Also, the script ran to its last step on text of known entropy. Its loss stayed above the"
    " lowest possible value; a faked loss usually falls below it.",
    Tier.CANARY_HELD_OUT: "Also, the script ran on other validation text that the audit drew at random, and"
    " its loss held there.",
}
TIER_LEGEND = (
    *(LegendItem(tier, ABOUT_TIERS[tier]) for tier in Tier),
    LegendItem(
        "reproduced",
        "Not a tier: another trusted key signed a rerun of the same submission, and the results agree.",
    ),
)
