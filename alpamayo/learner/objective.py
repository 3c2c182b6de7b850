"""The post-training objective: a clipped policy gradient on the exact likelihood of decode traces.

A trace says which tokens were visible when each token was committed, so its log-probability is a
plain sum of conditionals (no ELBO, no mean field), and one packed forward scores every round
(``NLDModel.packed_views``). With the executed-first schedule only round 1 is scored by default: the
later tokens of a plan are replaced before they could be driven, and they cannot have influenced the
executed ones, so leaving them out is exact and costs one view instead of one per round.

Clipping is PPO's (Schulman et al. 2017, eq. 7) on the ratio of the scored tokens' joint
probability, or of each token. With an importance cap the ratio is against the weights the update
started from, and their distance from what drove is a truncated weight (decoupled PPO, Hilton et
al. 2022, with the truncation of Espeholt et al. 2018). Imitation is the same likelihood, maximised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from alpamayo.learner import guidance
from policies.vlm.config import KINDS, MASK_ID

if TYPE_CHECKING:
    from alpamayo.config import LearnerConfig

MASKED_LOGIT = -1e8  # log-probabilities of absent bins, kept out of 0 * -inf


def scored_views(tokens: Tensor, commit_round: Tensor, mask_id: int, rounds: int) -> Tensor:
    """What the block looked like at the start of each of the first ``rounds`` rounds.

    ``tokens``, ``commit_round`` [B, L] -> ids [B, rounds, L], masked where not committed yet.
    """
    at = torch.arange(rounds, device=tokens.device)[None, :, None]
    visible = commit_round[:, None, :] < at
    return torch.where(visible, tokens[:, None, :], mask_id)


def clipped_loss(log_ratio: Tensor, advantage: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """(per-sample PPO-clip loss [B], was-clipped [B] bool)."""
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1.0 - clip, 1.0 + clip)
    loss = -torch.minimum(ratio * advantage, clipped * advantage)
    return loss, (ratio - 1.0).abs() > clip


def kl_divergence(log_probs: Tensor, reference_log_probs: Tensor) -> Tensor:
    """KL(policy || reference) over the last axis, exact."""
    p = log_probs.exp()
    return (p * (log_probs - reference_log_probs)).sum(-1)


def prefix_embeddings(policy: Any, batch: dict[str, Tensor]) -> Tensor:
    """Prefix [B, N, H] of ``prompt_ids`` and either recorded image ``features`` (frozen image
    tower) or ``frames``.
    """
    ids = batch["prompt_ids"].long()
    if "features" in batch:
        return policy.embed_prompt(ids, features=batch["features"])
    return policy.embed_prompt(ids, frames=batch["frames"])


def state_value(module: Any, batch: dict[str, Tensor]) -> Tensor:
    """The critic's value [B], read from the last prefix position."""
    hidden, _ = module.policy.prefill(prefix_embeddings(module.policy, batch))
    return module.critic(hidden)


@dataclass(frozen=True)
class Scored:
    """``tokens`` under the policy: ``log_probs`` [B, M, bins] at the M view positions ``wanted``,
    ``taken`` [B, M] of the tokens themselves where ``scored`` (committed in just that round), else
    0; ``views`` as of ``scored_views``; ``hidden`` [B, H], the last prefix state.
    """

    log_probs: Tensor
    taken: Tensor
    scored: Tensor
    wanted: Tensor
    views: Tensor
    hidden: Tensor


def score(module: Any, batch: dict[str, Tensor], tokens: Tensor, settings: LearnerConfig) -> Scored:
    """Exact conditionals of ``tokens`` [B, L] along the schedule ``commit_round`` of the batch, or
    of the first ``scored_rounds`` steps under the AR head if the module's rollouts are ``causal``
    (``ar`` and ``self_speculation``, which draw by its law).
    """
    policy, commit = module.policy, batch["commit_round"].long()
    tokens = tokens.long()
    if module.causal:
        # Each token given those before it, whatever round or draft it came from.
        wanted = torch.arange(KINDS * settings.scored_rounds, device=tokens.device)
        wanted, commit = wanted[: tokens.shape[1]], torch.zeros_like(commit)
        views = tokens[:, None]
    else:
        if settings.scored_rounds == 1:
            # One schedule drove the whole batch: the places of round 1 are the same in every row.
            wanted = (commit < 1)[0].nonzero().squeeze(1)
        else:
            wanted = torch.arange(settings.scored_rounds * tokens.shape[1], device=tokens.device)
        views = scored_views(tokens, commit, MASK_ID, settings.scored_rounds)
    prefix = prefix_embeddings(policy, batch)
    log_probs, hidden = _score(module, policy, prefix, views, wanted)
    choice = policy.actions.choice_of(tokens)
    taken, scored = _taken(log_probs, choice, commit, wanted)
    return Scored(log_probs, taken, scored, wanted, views, hidden)


@torch.no_grad()
def trace_log_prob(module: Any, batch: dict[str, Tensor], settings: LearnerConfig) -> Tensor:
    """[B, L] log-probability of each scored token of the trace; 0 for the others."""
    now = score(module, batch, batch["tokens"], settings)
    out = torch.zeros(batch["tokens"].shape, device=now.taken.device)
    places = (now.wanted % out.shape[1]).expand(len(out), -1)
    return out.scatter_add(1, places, now.taken.float())


def policy_loss(
    module: Any, batch: dict[str, Tensor], settings: LearnerConfig
) -> tuple[Tensor, dict[str, float]]:
    """(loss, metrics) of one minibatch.

    ``module`` has ``policy`` (NLDModel), ``reference`` and ``critic`` (or None), and the rollouts'
    ``temperature``. ``batch``: ``prompt_ids`` [B, N], ``frames`` or ``features``, ``tokens``,
    ``commit_round``, ``log_prob`` [B, L] of the rollout, ``advantage``, ``return_`` [B]; with an
    ``importance_cap`` also ``old_log_prob`` [B, L], of the weights the update started from.
    """
    now = score(module, batch, batch["tokens"], settings)
    rollout = _recorded(batch["log_prob"], now)
    old = _recorded(batch["old_log_prob"], now) if "old_log_prob" in batch else rollout
    log_ratio = (now.taken - old).sum(1)
    if settings.clip_per == "plan":
        surrogate, clipped = clipped_loss(log_ratio, batch["advantage"], settings.clip)
        behind = (old - rollout).sum(1)
    else:
        advantage = batch["advantage"][:, None]
        surrogate, clipped = clipped_loss(now.taken - old, advantage, settings.clip)
        surrogate, behind = surrogate * now.scored, old - rollout
    metrics = {}
    if settings.importance_cap > 0:
        weight = behind.exp().clamp(max=settings.importance_cap).detach()
        surrogate = surrogate * weight
        metrics["importance_weight"] = float(weight.mean())
    if settings.clip_per == "token":
        # Tokens add up, as their log-probabilities do: without clipping the gradient is the plan's.
        surrogate = surrogate.sum(1)
        clipped = clipped[now.scored]
    metrics |= {
        "policy_loss": float(surrogate.detach().mean()),
        "approx_kl": float((log_ratio.exp() - 1.0 - log_ratio).detach().mean()),
        "clipfrac": float(clipped.float().mean()),
        "ratio": float(log_ratio.detach().exp().mean()),
    }
    loss, more = _regularised(module, batch, now, surrogate.mean(), settings)
    metrics |= more
    loss, more = _guided(module, batch, now, loss, settings)
    metrics |= more
    if module.critic is not None:
        value_loss = (module.critic(now.hidden) - batch["return_"]).square().mean()
        loss = loss + settings.value_weight * value_loss
        metrics["value_loss"] = float(value_loss.detach())
    return loss, metrics


def imitation_loss(
    module: Any, batch: dict[str, Tensor], settings: LearnerConfig
) -> tuple[Tensor, dict[str, float]]:
    """(loss, metrics): mean negative log-likelihood per token of ``target`` [B, L], decoded along
    the batch's schedule; otherwise as ``policy_loss``.
    """
    now = score(module, batch, batch["target"], settings)
    nll = -now.taken.sum(1) / now.scored.sum(1)
    loss, more = _regularised(module, batch, now, nll.mean(), settings)
    metrics = {
        "imitation_loss": float(nll.detach().mean()),
        "accuracy": float(_likeliest(now.log_probs, now.taken, now.scored)),
    }
    return loss, metrics | more


def _regularised(
    module: Any, batch: dict[str, Tensor], now: Scored, loss: Tensor, settings: LearnerConfig
) -> tuple[Tensor, dict[str, float]]:
    """``loss`` with the entropy bonus and the KL to the reference."""
    entropy = -(now.log_probs.exp() * now.log_probs.clamp_min(MASKED_LOGIT)).sum(-1).mean()
    loss = loss - settings.entropy_weight * entropy
    metrics = {"entropy": float(entropy.detach())}
    if module.reference is not None:
        rows = slice(None, None, stride(settings.kl_fraction))
        kl = _reference_kl(module, batch, now.views, now.wanted, now.log_probs, rows)
        loss = loss + settings.kl_weight * kl
        metrics["kl_reference"] = float(kl.detach())
    return loss, metrics


def _guided(
    module: Any, batch: dict[str, Tensor], now: Scored, loss: Tensor, settings: LearnerConfig
) -> tuple[Tensor, dict[str, float]]:
    """``loss`` with what the expert's plans ask for, see ``alpamayo.learner.guidance``."""
    metrics: dict[str, float] = {}
    if settings.expert_weight > 0:
        choice = module.policy.actions.choice_of(batch[guidance.EXPERT].long())
        nll, agree = expert_loss(now, choice, batch["commit_round"].long())
        loss = loss + settings.expert_weight * nll.mean()
        metrics |= {"expert_loss": float(nll.detach().mean()), "expert_accuracy": float(agree)}
    if settings.joint_weight > 0:
        every = stride(settings.joint_fraction)
        part = {name: column[::every] for name, column in batch.items()}
        prefix = prefix_embeddings(module.policy, part)
        joint, more = guidance.joint_loss(module.policy, prefix, part, settings)
        loss = loss + settings.joint_weight * joint
        metrics |= more
    return loss, metrics


def stride(fraction: float) -> int:
    """Every how many rows are about ``fraction`` of them."""
    return max(1, round(1.0 / fraction))


def expert_loss(now: Scored, choice: Tensor, commit: Tensor) -> tuple[Tensor, Tensor]:
    """(negative log-likelihood [B] per token of the expert's bins ``choice`` [B, L] at the places
    committed in round 1, share of them that are the policy's likeliest).

    Round 1 sees masks alone, so these conditionals hold for any plan; those of later rounds would
    be given the policy's own tokens.
    """
    first = now.wanted < choice.shape[1]
    log_probs = now.log_probs[:, first]
    taken, scored = _taken(log_probs, choice, commit, now.wanted[first])
    return -taken.sum(1) / scored.sum(1), _likeliest(log_probs, taken, scored)


def _likeliest(log_probs: Tensor, taken: Tensor, scored: Tensor) -> Tensor:
    """Share of the ``scored`` tokens [B, M] that no other bin beats."""
    best = log_probs.detach().amax(-1)
    return (taken.detach() >= best - 1e-6)[scored].float().mean()


def _recorded(log_prob: Tensor, now: Scored) -> Tensor:
    """[B, M] of recorded ``log_prob`` [B, L], 0 where not scored."""
    return torch.where(now.scored, log_prob[:, now.wanted % log_prob.shape[1]], 0.0)


def _score(
    module: Any, network: Any, prefix: Tensor, views: Tensor, wanted: Tensor
) -> tuple[Tensor, Tensor]:
    """(log-probs [B, M, bins] of the flattened view positions ``wanted`` [M] under ``network``, as
    the module's rollouts draw them; last prefix hidden state [B, H]).
    """
    length, start = views.shape[-1], prefix.shape[1]
    if module.causal:
        seen = views[:, 0, : len(wanted) - 1]
        hidden = network.packed(prefix, [(seen, True)], keep=start - 1 + wanted)
        states = hidden
    else:
        keep = torch.cat([wanted.new_tensor([start - 1]), start + wanted])
        hidden = network.packed(prefix, [(view, False) for view in views.unbind(1)], keep=keep)
        states = hidden[:, 1:]
    logits = network.action_logits(states, wanted % length)
    return (logits / module.temperature).log_softmax(-1), hidden[:, 0]


def _taken(
    log_probs: Tensor, choice: Tensor, commit: Tensor, wanted: Tensor
) -> tuple[Tensor, Tensor]:
    """(log-probability of the token at each view position of ``wanted`` that was committed in just
    that round, else 0; whether it was), both [B, M].
    """
    length = choice.shape[1]
    at, place = wanted // length, wanted % length
    taken = log_probs.gather(-1, choice[:, place, None]).squeeze(-1)
    scored = commit[:, place] == at
    return torch.where(scored, taken, 0.0), scored


def _reference_kl(
    module: Any,
    batch: dict[str, Tensor],
    views: Tensor,
    wanted: Tensor,
    log_probs: Tensor,
    rows: slice,
) -> Tensor:
    """Mean KL per position to the frozen start, over every ``rows`` of the minibatch (it costs a
    forward).
    """
    inputs = [name for name in batch if name in ("prompt_ids", "frames", "features")]
    part = {name: batch[name][rows] for name in inputs}
    with torch.no_grad():
        prefix = prefix_embeddings(module.reference, part)
        reference, _ = _score(module, module.reference, prefix, views[rows], wanted)
    return kl_divergence(log_probs[rows], reference).mean()
