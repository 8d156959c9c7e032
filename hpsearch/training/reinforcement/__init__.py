"""Reinforcement learning: agents that learn in an environment instead of from a data set.

`environments` makes gymnasium's environments plain, `agents` is what every agent has, `q_table`,
`dqn` and `policy_gradients` are agents; `trainer` lets one act, learn and be scored, an epoch at a
time.
"""

from hpsearch.training.reinforcement import dqn, policy_gradients, q_table

__all__ = ["dqn", "policy_gradients", "q_table"]
