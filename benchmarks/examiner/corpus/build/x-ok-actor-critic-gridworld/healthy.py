"""A2C on a tiny windy grid; tensors are (steps, envs) everywhere, the value head is squeezed in the model."""
import enum

from dataclasses import dataclass, asdict

import torch
from torch import nn
from torch.distributions import Categorical
from torch.nn.functional import nll_loss, smooth_l1_loss




class Move(enum.IntEnum):
    UP = 0
    DOWN = 1
    LEFT = 2
    RIGHT = 3


DELTA = torch.tensor([[-1, 0], [1, 0], [0, -1], [0, 1]])


@dataclass
class Args:
    side: int = 5
    envs: int = 32
    horizon: int = 10
    updates: int = 220
    gamma: float = 0.95
    entropy: float = 0.01
    value_coef: float = 0.5
    lr: float = 2e-3
    demos: int = 256
    clone_epochs: int = 5
    limit: int = 30


class WindyGrid:
    """n copies of a grid: walk to the goal cell; with chance 0.1 the wind picks the move"""

    def __init__(self, n, side, limit, gen):
        self.n, self.side, self.limit, self.gen = n, side, limit, gen
        self.pos = torch.zeros(n, 2, dtype=torch.long)
        self.goal = torch.zeros(n, 2, dtype=torch.long)
        self.age = torch.zeros(n, dtype=torch.long)
        self._respawn(torch.ones(n, dtype=torch.bool))

    def _respawn(self, which):
        k = int(which.sum())
        if k:
            cells = torch.stack([torch.randperm(self.side ** 2, generator=self.gen)[:2] for _ in range(k)])
            xy = torch.stack([cells // self.side, cells % self.side], -1)
            self.pos[which], self.goal[which], self.age[which] = xy[:, 0], xy[:, 1], 0

    def observe(self):
        c = (self.side - 1) / 2
        return torch.cat([self.pos - c, self.goal - self.pos], 1).float() / c

    def step(self, action):
        wind = torch.rand(self.n, generator=self.gen) < 0.1
        rnd = torch.randint(4, (self.n,), generator=self.gen)
        move = torch.where(wind, rnd, action)
        self.pos = (self.pos + DELTA[move]).clamp(0, self.side - 1)
        self.age += 1
        won = (self.pos == self.goal).all(1)
        done = won | (self.age >= self.limit)
        reward = won.float() - 0.04
        self._respawn(done)
        return reward, done.float(), won


class ActorCritic(nn.Module):
    def __init__(self, n_obs=4, n_act=len(Move), width=64):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_obs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.pi = nn.Linear(width, n_act)
        self.v = nn.Linear(width, 1)
        nn.init.orthogonal_(self.pi.weight, 0.1)

    def forward(self, obs):
        h = self.body(obs)
        return self.pi(h).softmax(-1), self.v(h).squeeze(-1)


def demonstrations(args, gen):
    """noisy teacher: soft action distribution, 0.85 shared by the useful moves"""
    env = WindyGrid(args.demos, args.side, args.limit, gen)
    d = env.goal - env.pos
    useful = torch.stack([d[:, 0] < 0, d[:, 0] > 0, d[:, 1] < 0, d[:, 1] > 0], 1).float()
    pick = Categorical(0.85 * useful / useful.sum(1, keepdim=True) + 0.15 / 4).sample()
    return env.observe(), pick


def clone(net, args, gen):
    obs, act = demonstrations(args, gen)
    opt = torch.optim.Adam([*net.body.parameters(), *net.pi.parameters()], lr=args.lr)
    for epoch in range(args.clone_epochs):
        total = 0.0
        for ids in torch.randperm(len(obs)).split(32):
            probs, _ = net(obs[ids])
            loss = nll_loss(probs.clamp_min(1e-6).log(), act[ids])
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(ids)
        print(f"cloning {epoch}: {total / len(obs):.4f}")


def rollout(net, env, args):
    logs, values, rewards, dones, ents = [], [], [], [], []
    for _ in range(args.horizon):
        probs, value = net(env.observe())
        dist = Categorical(probs=probs)
        a = dist.sample()
        r, d, _ = env.step(a)
        for box, item in zip((logs, values, rewards, dones, ents), (dist.log_prob(a), value, r, d, dist.entropy())):
            box.append(item)
    with torch.no_grad():
        tail = net(env.observe())[1]
    returns, run = [], tail
    for r, d in zip(reversed(rewards), reversed(dones)):
        run = r + args.gamma * run * (1 - d)
        returns.insert(0, run)
    return map(torch.stack, (logs, values, returns, ents))


@torch.no_grad()
def success(net, args, gen, greedy=True):
    net.eval()
    env = WindyGrid(200, args.side, args.limit, gen)
    won = torch.zeros(200, dtype=torch.bool)
    over = torch.zeros(200, dtype=torch.bool)
    for _ in range(12):
        p, _ = net(env.observe())
        _, d, w = env.step(p.argmax(-1) if greedy else torch.randint(4, (200,), generator=gen))
        won |= w & ~over
        over |= d.bool()
    net.train()
    return won.float().mean().item()


def main():
    args = Args()
    print(asdict(args))
    torch.manual_seed(9)
    gen = torch.Generator().manual_seed(9)
    net = ActorCritic()
    print(f"random policy within 12 moves: {success(net, args, gen, greedy=False):.3f}")
    clone(net, args, gen)
    opt = torch.optim.RMSprop(net.parameters(), lr=args.lr * 0.5, alpha=0.99, eps=1e-5)
    env = WindyGrid(args.envs, args.side, args.limit, gen)
    for u in range(1, args.updates + 1):
        logp, value, ret, ent = rollout(net, env, args)
        adv = (ret - value).detach()
        actor = -(logp * adv).mean()
        critic = smooth_l1_loss(value, ret)
        loss = actor + args.value_coef * critic - args.entropy * ent.mean()
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        opt.step()
        if u % 55 == 0:
            print(f"update {u}: critic {critic.item():.4f} entropy {ent.mean().item():.3f} return {ret.mean().item():.3f} "
                  f"success {success(net, args, gen):.3f}")


if __name__ == "__main__":
    main()
