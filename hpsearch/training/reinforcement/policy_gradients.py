"""REINFORCE (Williams, 1992), advantage actor-critic (Mnih et al., 2016) and proximal policy
optimisation (Schulman et al., 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from hpsearch.registry import Recommended, register
from hpsearch.training.reinforcement.actor_critic import Batch, PolicyGradient, Settings
from hpsearch.training.reinforcement.agents import FAMILY, Gamma, Networks, Share
from hpsearch.training.reinforcement.environments import Actions, Observations
from hpsearch.training.reinforcement.rollouts import Rollout

Weight = Annotated[float, Ge(0), Recommended(1e-4, 0.05, log=True, prior=0.01)]
ValueWeight = Annotated[float, Gt(0), Recommended(0.1, 1.0)]
Lambda = Annotated[Share, Recommended(0.8, 1.0)]
#: of agents whose updates are of all steps since the last one, so that they have no batches
WHOLE_ROLLOUTS = {"learns_from_whole_rollouts": True}
NumSteps = Annotated[int, Ge(2), Recommended(16, 1024, log=True)]


class Reinforce(PolicyGradient):
    """Learns from whole episodes."""

    def __init__(self, num_episodes: int, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._num_episodes = num_episodes

    def _is_complete(self, rollout: Rollout) -> bool:
        return rollout.num_episodes >= self._num_episodes


class ActorCriticAgent(PolicyGradient):
    """Learns from a number of steps, each once."""

    def __init__(self, num_steps: int, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._num_steps = num_steps

    def _is_complete(self, rollout: Rollout) -> bool:
        return len(rollout) >= self._num_steps


class ProximalPolicy(ActorCriticAgent):
    """Learns from a number of steps several times, with probabilities that stay near what they
    were."""

    def __init__(
        self, clip_range: float, passes: int, batch_size: int, num_steps: int, *arguments: Any
    ) -> None:
        super().__init__(num_steps, *arguments)
        self._clip_range, self._passes, self._batch_size = clip_range, passes, batch_size

    def _batches(self, rollout: Batch) -> Iterator[Batch]:
        for _ in range(self._passes):
            order = torch.from_numpy(self._generator.permutation(len(rollout.actions)))
            for rows in torch.split(order, self._batch_size):
                yield rollout.at(rows.to(self._device))

    def _policy_loss(self, log_probabilities: Tensor, batch: Batch) -> Tensor:
        """Return -min(r A, clip(r, 1 - ε, 1 + ε) A), r the ratio of the probabilities (eq. 7)."""
        ratios = (log_probabilities - batch.log_probabilities).exp()
        clipped = ratios.clamp(1 - self._clip_range, 1 + self._clip_range)
        return -torch.minimum(ratios * batch.advantages, clipped * batch.advantages).mean()

    def _measures(self, log_probabilities: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the share of ratios that are clipped, and the divergence of the old policy from
        the new one, E[r - 1 - log r]."""
        differences = log_probabilities - batch.log_probabilities
        ratios = differences.exp()
        return {
            "clip_fraction": ((ratios - 1).abs() > self._clip_range).float().mean(),
            "kl": (ratios - 1 - differences).mean(),
        }


@register(FAMILY, "reinforce", takes_shared=False, traits=WHOLE_ROLLOUTS)
def reinforce(
    observations: Observations,
    actions: Actions,
    networks: Networks,
    gamma: Gamma = 0.99,
    episodes: Annotated[int, Ge(1), Recommended(1, 16, log=True)] = 1,
    baseline: bool = True,
    shared: bool = False,
    value_weight: ValueWeight = 0.5,
    entropy_weight: Weight = 0.0,
    normalize_advantages: bool = False,
) -> Reinforce:
    """REINFORCE: actions become likelier by the return that followed (Williams, 1992).

    After each `episodes` episodes a step of the optimizer up (G_t - b(s_t)) log π(a_t | s_t), in
    the mean over steps; G_t is the discounted return from step t on. The `baseline` b is learned
    by a net of the same kind, or by an output of the same net (`shared`), with `value_weight`
    times its squared error; what comes after an episode that is cut short is then worth what that
    says. `entropy_weight` times the policy's entropy is added; `normalize_advantages` divides
    G - b, less its mean, by its deviation.
    """
    settings = Settings(
        gamma,
        1.0,
        value_weight,
        entropy_weight,
        normalize_advantages,
        has_critic=baseline,
        shared=baseline and shared,
    )
    return Reinforce(episodes, observations, actions, networks, settings)


@register(FAMILY, "a2c", takes_shared=False, traits=WHOLE_ROLLOUTS)
def a2c(
    observations: Observations,
    actions: Actions,
    networks: Networks,
    gamma: Gamma = 0.99,
    n_steps: NumSteps = 32,
    gae_lambda: Lambda = 1.0,
    shared: bool = False,
    value_weight: ValueWeight = 0.5,
    entropy_weight: Weight = 0.0,
    normalize_advantages: bool = False,
) -> ActorCriticAgent:
    """Advantage actor-critic, of one environment: A3C with one worker (Mnih et al., 2016).

    After each `n_steps` steps one of the optimizer on all of them, up A_t log π(a_t | s_t), where
    advantages are estimated by the critic (Schulman et al., 2016): with `gae_lambda` 1 the rewards
    up to the last step and the value then, as Mnih et al. have it. Other keywords are those of
    `reinforce`.
    """
    settings = Settings(
        gamma, gae_lambda, value_weight, entropy_weight, normalize_advantages, shared=shared
    )
    return ActorCriticAgent(n_steps, observations, actions, networks, settings)


@register(FAMILY, "ppo", takes_shared=False)
def ppo(
    observations: Observations,
    actions: Actions,
    networks: Networks,
    gamma: Gamma = 0.99,
    n_steps: NumSteps = 256,
    passes: Annotated[int, Ge(1), Recommended(2, 20, log=True)] = 10,
    clip_range: Annotated[float, Gt(0), Recommended(0.1, 0.4)] = 0.2,
    gae_lambda: Lambda = 0.95,
    shared: bool = False,
    value_weight: ValueWeight = 0.5,
    entropy_weight: Weight = 0.0,
    normalize_advantages: bool = True,
) -> ProximalPolicy:
    """Proximal policy optimisation with the clipped objective (Schulman et al., 2017).

    After each `n_steps` steps it learns from them in `passes` passes, in batches of `batch_size`:
    a probability that is already `clip_range` of itself away from what it was has no gradient to
    go further. Advantages are estimated as `gae_lambda` says (Schulman et al., 2016), once per
    rollout. Other keywords are those of `reinforce`.
    """
    settings = Settings(
        gamma, gae_lambda, value_weight, entropy_weight, normalize_advantages, shared=shared
    )
    return ProximalPolicy(
        clip_range,
        passes,
        networks.batch_size,
        n_steps,
        observations,
        actions,
        networks,
        settings,
    )
