"""The policy lab: who is contacted decides what is won. Each policy works the same simulated world for some weeks, with the same luck and the same hours.

    python -m tests.benchmarks.policy_lab --opportunities 20000 --seeds 401:411 --weeks 12

At the end of each world the effect of a contact is learnt from what the CRM shows (`follow_up.effects`), once. Then, week by week, every policy orders the
same proposals (`follow_up.rules`) its own way and fills every seller's hours (`follow_up.allocation`), and the world runs on with the contacts made
(`simulation.forward`). A seller's hours are a share of what contacting each of the open opportunities at the start once a week would take; every contact takes the same time, and housekeeping none.

Won value is the signed value to be expected: what is open at the end counts with its exact chance under the sellers' own habit. `expected` sums exact
advantages along the path (see `forward`); `realised` counts the wins that the draws made, and what is open by its chance.

Belongs here: policies and figures. Does not belong here: the world (`lab_world`), estimates.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr
from scipy.stats import t as student

from sales_pipeline.domain.money import to_amount
from sales_pipeline.follow_up.allocation import allocate
from sales_pipeline.follow_up.capacity import Owners
from sales_pipeline.follow_up.effect_params import ContactEffectParams
from sales_pipeline.follow_up.effects import EffectModel, learn_effects
from sales_pipeline.follow_up.gain import Effect, typical_effect
from sales_pipeline.follow_up.params import (
    ActionMinutes,
    AssignmentParams,
    FollowUpParams,
    OwnerSetting,
    RelativeEffects,
)
from sales_pipeline.follow_up.rules import Proposal, judge
from sales_pipeline.follow_up.situation import Situation, Situations
from sales_pipeline.follow_up.weeks import LAGS, to_weeks
from sales_pipeline.simulation.dynamics import CLOSED_WON, OPEN_STAGES, STAGE_PROBABILITIES
from sales_pipeline.simulation.forward import State, state_at_end, step_forward, values_ahead
from sales_pipeline.simulation.params import WorldParams
from sales_pipeline.simulation.truth import Values
from sales_pipeline.simulation.world import World, simulate
from tests.benchmarks.lab_world import SeenWeeks

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
MINUTES = 15
OURS, ORACLE, RANDOM = "expected gain", "oracle", "random"


@dataclass(frozen=True)
class Look:
    """What a policy may look at in a week, one element per opportunity of the state; `true_gain` is for the oracle alone."""

    is_open: Bools
    chance: Floats
    effect: list[Effect | None]
    amount: Floats
    stage: npt.NDArray[np.int64]
    weeks_since_contact: Floats
    true_gain: Floats
    rng: np.random.Generator


Policy = Callable[[Look], Floats]
POLICIES: dict[str, Policy | None] = {
    OURS: None,
    RANDOM: lambda look: look.rng.random(len(look.chance)),
    "by amount": lambda look: look.amount,
    "by score": lambda look: look.chance,
    "by stage probability": lambda look: (
        np.array(STAGE_PROBABILITIES)[look.stage] + 0.01 * look.rng.random(len(look.chance))
    ),
    "by days since contact": lambda look: look.weeks_since_contact + 0.01 * look.rng.random(len(look.chance)),
    "by value (score x amount)": lambda look: look.chance * look.amount,
    ORACLE: lambda look: look.true_gain,
}
"""How each policy values a contact; None: by the gain that the proposals themselves expect."""


@dataclass(frozen=True)
class Outcome:
    """What a policy brought: won value (`expected` beyond the sellers' habit, `realised` in all), contacts and hours."""

    expected: float
    realised: float
    contacts: int
    hours: float


class Lab:
    """One world with what was learnt from it."""

    def __init__(self, seed: int, opportunities: int, weeks: int, share: float) -> None:
        self.world: World = simulate(WorldParams(opportunities=opportunities, seed=seed))
        self.weeks = weeks
        self.seen = SeenWeeks(self.world, weeks)
        self.start: State = state_at_end(self.world)
        self.values: list[Values] = values_ahead(self.world, self.start, weeks)
        as_of = self.seen.as_of(self.start.week)
        past = self.seen.table(np.arange(opportunities), self.start.week, 130)
        self.model: EffectModel = learn_effects(past, as_of, ContactEffectParams())
        data = self.world.population.opportunities
        members = self.start.opportunity
        self.true_amount = (data.budget * (1.0 - data.discount_mean))[members]
        self.owners = data.owner[members]
        seen_amount = self.seen.amount[members]
        self.amount = np.where(np.isfinite(seen_amount), seen_amount, np.nanmedian(seen_amount))
        count = np.bincount(self.owners)
        self.params = FollowUpParams(
            hold_out_share=0.0,
            exploration_share=0.0,
            lost_probability=0.0,
            cool_down_days=0,
            max_rows_per_owner=10_000,
            minutes=ActionMinutes(
                call=MINUTES, email=MINUTES, meeting=MINUTES, re_engage=MINUTES, ask_decision=MINUTES
            ),
            relative_effects=RelativeEffects(email=1.0, meeting=1.0, re_engage=1.0),
            assignment=AssignmentParams(method="greedy"),
            owners={
                f"u{owner}": OwnerSetting(capacity_minutes=MINUTES * round(share * count[owner]))
                for owner in np.unique(self.owners)
            },
        )

    def estimates(self, seen: SeenWeeks, state: State) -> tuple[Floats, list[Effect | None]]:
        """The score (the index of signs) and the estimated effect by opportunity of the state; NaN and None where it is closed."""
        chance = np.full(len(state.opportunity), np.nan)
        effect: list[Effect | None] = [None] * len(chance)
        as_of = seen.as_of(state.week)
        table = seen.table(state.opportunity[state.is_open], state.week, LAGS)
        if self.model.signs is None or not table.num_rows:
            chance[state.is_open] = np.array(STAGE_PROBABILITIES)[state.stage[state.is_open]] / 100
            return chance, effect
        weeks = to_weeks(table, as_of)
        now = weeks.week == 0
        place = {f"o{number:07d}": k for k, number in enumerate(state.opportunity)}
        rows = [place[name] for name in weeks.names[now]]
        chance[rows] = self.model.signs.warmth(weeks)[now]
        for name, found in self.model.estimate(table, as_of).items():
            effect[place[name]] = Effect(found.log_odds, found.low, found.high, {})
        return chance, effect

    def run(self, policy: Policy | None, seed: int) -> Outcome:
        """The weeks worked by one policy."""
        seen, state = self.seen.copy(), self.start
        each = np.arange(len(state.opportunity))
        first = self.values[0].expected[each, state.stage, state.engagement]
        extra, contacts = 0.0, 0
        looks_at_score = policy is None or policy in (POLICIES["by score"], POLICIES["by value (score x amount)"])
        by_stage = np.array(STAGE_PROBABILITIES, dtype=np.float64) / 100
        for week in range(self.weeks):
            values, stage = self.values[week], np.minimum(state.stage, len(OPEN_STAGES) - 1)
            here = (each, stage, state.engagement)
            contacted_value, alone = values.contacted[here], values.left_alone[here]
            chance, effect = (
                self.estimates(seen, state) if looks_at_score else (by_stage[state.stage], [None] * len(each))
            )
            look = Look(
                is_open=state.is_open,
                chance=np.nan_to_num(chance),
                effect=effect,
                amount=self.amount,
                stage=state.stage,
                weeks_since_contact=(state.week - seen.last_contact[state.opportunity]).astype(np.float64),
                true_gain=(contacted_value - alone) * self.true_amount,
                rng=np.random.default_rng((seed, 17, week)),
            )
            contacted = self.choose(seen, state, look, policy)
            contacts += int(contacted.sum())
            advantage = np.where(contacted, contacted_value, alone) - values.expected[here]
            extra += float((advantage * self.true_amount)[state.is_open].sum())
            after, replied = step_forward(self.world, state, contacted)
            seen.show(state, after, contacted, replied)
            state = after
        left = self.values[self.weeks].expected[each, np.minimum(state.stage, len(OPEN_STAGES) - 1), state.engagement]
        end = np.where(state.is_open, left, state.stage == CLOSED_WON)
        realised = float(((end - first) * self.true_amount).sum())
        return Outcome(extra, realised, contacts, contacts * MINUTES / 60)

    def choose(self, seen: SeenWeeks, state: State, look: Look, policy: Policy | None) -> Bools:
        """Who is contacted this week: the proposals of the open opportunities, valued by the policy, allocated to the sellers' hours."""
        as_of = seen.as_of(state.week)
        worth = policy(look) if policy is not None else None
        typical = typical_effect(one for one in look.effect if one is not None)
        situations = Situations.of(self.situation(seen, state, look, k) for k in np.flatnonzero(look.is_open).tolist())

        def effect_of(situation: Situation) -> Effect | None:
            return look.effect[int(situation.opportunity_id)] or typical

        proposals: list[Proposal] = []
        if worth is None:
            proposals += [first for first, *_ in judge(situations, as_of, self.params, effect_of).proposed]
        else:
            # The same contact, valued by the policy: no estimate in it.
            for first, *_ in judge(situations, as_of, self.params).proposed:
                value = float(worth[int(first.situation.opportunity_id)])
                if value > 0:
                    gain = to_amount(Decimal(str(round(value * 100, 4))))
                    proposals.append(Proposal(**{**first.__dict__, "expected_gain": gain, "minutes": MINUTES}))
        people = Owners(self.params, as_of)
        contacted = np.zeros(len(look.chance), dtype=bool)
        for chosen in allocate(proposals, people, self.params).taken:
            contacted[int(chosen.proposal.situation.opportunity_id)] = True
        return contacted

    def situation(self, seen: SeenWeeks, state: State, look: Look, k: int) -> Situation:
        """What the rules see of an opportunity; its id is its place in the state, its account itself, so that accounts do not limit anybody."""
        amount = to_amount(Decimal(str(round(float(look.chance[k] * look.amount[k]), 2))))
        last = seen.last_contact[state.opportunity[k]]
        touched = None if last < 0 else seen.as_of(int(last)).instant + timedelta(days=1)
        return Situation(
            source_system="lab",
            opportunity_id=str(k),
            account_id=None,
            owner_id=f"u{self.owners[k]}",
            is_owner_active=True,
            stage=OPEN_STAGES[state.stage[k]],
            currency="USD",
            crm_close_date=None,
            created_at=None,
            win_probability=float(look.chance[k]),
            expected_value=amount,
            abstain_reason=None,
            owner_free_probability=float(look.chance[k]),
            has_activities=True,
            last_touch_at=touched,
            last_outbound_at=touched,
        )


@dataclass(frozen=True)
class Truth:
    """Estimates against the truth at the world's end."""

    method: str
    average: float
    true_average: float
    covers_average: bool
    covered_groups: int
    groups: int
    rank_of_effect: float
    rank_of_gain: float


def judge_estimates(lab: Lab, groups: int = 10) -> Truth | None:
    """Coverage of the 90 % interval of the average effect, and of the averages of tenths of the opportunities by size of the estimate; rank correlations."""
    chance, effects = lab.estimates(lab.seen, lab.start)
    if lab.model.effects is None or any(one is None for one in effects):
        return None
    each = np.arange(len(chance))
    here = (each, lab.start.stage, lab.start.engagement)
    true = lab.values[0].contacted[here] - lab.values[0].left_alone[here]
    spread = chance * (1 - chance)
    value = np.array([0.0 if one is None else one.log_odds for one in effects]) * spread
    low = np.array([0.0 if one is None else one.low for one in effects]) * spread
    high = np.array([0.0 if one is None else one.high for one in effects]) * spread
    facts = lab.model.facts["average_effect"]
    past = _true_past_average(lab)
    parts = np.array_split(np.argsort(value, kind="stable"), groups)
    covered = sum(low[part].mean() <= true[part].mean() <= high[part].mean() for part in parts)
    gain = value * lab.amount
    return Truth(
        method=lab.model.method,
        average=facts["value"],
        true_average=past,
        covers_average=bool(facts["low"] <= past <= facts["high"]),
        covered_groups=int(covered),
        groups=groups,
        rank_of_effect=float(spearmanr(value, true).statistic),
        rank_of_gain=float(spearmanr(gain, true * lab.true_amount).statistic),
    )


def _true_past_average(lab: Lab) -> float:
    """The true mean effect over past landmarks, which is what the average is estimated on."""
    from sales_pipeline.simulation.truth import landmark_table

    table = landmark_table(lab.world)
    effect = table.column("follow_up_effect").to_numpy()
    return float(effect[~table.column("is_world_end").to_numpy(zero_copy_only=False)].mean())


def interval(values: Sequence[float], level: float = 0.9) -> tuple[float, float, float]:
    """Mean over seeds and its t interval."""
    array = np.array(values, dtype=np.float64)
    if len(array) < 2:
        return float(array.mean()), float("nan"), float("nan")
    half = float(student.ppf(0.5 + level / 2, len(array) - 1) * array.std(ddof=1) / np.sqrt(len(array)))
    return float(array.mean()), float(array.mean()) - half, float(array.mean()) + half


def report(results: dict[str, list[Outcome]], truths: list[Truth | None]) -> None:
    """Print every figure."""
    print(f"\n{'policy':28}{'won value per hour beyond habit (90 %)':>44}{'realised per hour':>20}{'contacts':>10}")
    for name, outcomes in results.items():
        mean, low, high = interval([one.expected / max(one.hours, 1e-9) for one in outcomes])
        realised = float(np.mean([one.realised / max(one.hours, 1e-9) for one in outcomes]))
        contacts = float(np.mean([one.contacts for one in outcomes]))
        print(f"{name:28}{mean:16,.1f} ({low:10,.1f} to {high:10,.1f}){realised:20,.1f}{contacts:10,.0f}")
    ours, oracle, random = results[OURS], results[ORACLE], results[RANDOM]
    top, base = sum(one.expected for one in oracle), sum(one.expected for one in random)
    share = (sum(one.expected for one in ours) - base) / (top - base)
    each = [(a.expected - c.expected) / (b.expected - c.expected) for a, b, c in zip(ours, oracle, random, strict=True)]
    mean, low, high = interval(each)
    print(
        f"\nshare of the oracle's extra won value over random: {share:.1%} in all; mean over seeds {mean:.1%} (90 %: {low:.1%} to {high:.1%})"
    )
    print("ours less another policy, won value per world (paired, 90 %):")
    for name in results:
        if name in (OURS, ORACLE):
            continue
        mean, low, high = interval([a.expected - b.expected for a, b in zip(ours, results[name], strict=True)])
        print(f"  {name:28}{mean:16,.0f} ({low:14,.0f} to {high:14,.0f}){'' if low > 0 else '   not above zero'}")
    known = [one for one in truths if one is not None]
    print(f"\neffects estimated in {len(known)} of {len(truths)} worlds; the others queue by value at risk")
    if known:
        covered = sum(one.covers_average for one in known)
        groups, in_groups = sum(one.groups for one in known), sum(one.covered_groups for one in known)
        print(f"90 % interval of the average effect covers the truth: {covered} of {len(known)}")
        print(
            f"90 % intervals of tenths by estimate cover the tenth's true mean: {in_groups} of {groups} ({in_groups / groups:.0%})"
        )
        print(
            f"average effect estimated {np.mean([one.average for one in known]):.5f}, true {np.mean([one.true_average for one in known]):.5f}"
        )
        print(
            f"Spearman correlation with the truth: effect {np.mean([one.rank_of_effect for one in known]):.3f}, gain {np.mean([one.rank_of_gain for one in known]):.3f}"
        )


def main() -> None:
    """Run the lab and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--opportunities", type=int, default=20_000)
    parser.add_argument("--seeds", default="401:411", help="from:to, to left out")
    parser.add_argument("--weeks", type=int, default=12)
    parser.add_argument(
        "--share", type=float, default=0.3, help="contacts a week per open opportunity that sellers have time for"
    )
    arguments = parser.parse_args()
    first, last = (int(part) for part in arguments.seeds.split(":"))
    results: dict[str, list[Outcome]] = {name: [] for name in POLICIES}
    truths: list[Truth | None] = []
    for seed in range(first, last):
        begun = time.perf_counter()
        lab = Lab(seed, arguments.opportunities, arguments.weeks, arguments.share)
        truths.append(judge_estimates(lab))
        for name, policy in POLICIES.items():
            results[name].append(lab.run(policy, seed))
        facts = lab.model.facts.get("average_effect", {})
        won = ", ".join(f"{name} {results[name][-1].expected:,.0f}" for name in POLICIES)
        print(
            f"seed {seed} ({time.perf_counter() - begun:.0f} s): {lab.model.method} ({lab.model.why}) {facts}; {won}",
            flush=True,
        )
    report(results, truths)


if __name__ == "__main__":
    main()
