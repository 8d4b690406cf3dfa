"""Advantage actor-critic on eight poles at once."""
import numpy as np
import torch
from torch import nn
import torch.nn.functional as F


class Poles:
    SCALE = np.array([1.0, 1.0, 0.1, 1.0], dtype=np.float32)

    def __init__(self, n, rng):
        self.n, self.rng = n, rng
        self.s = self.fresh(n)
        self.age = np.zeros(n, dtype=int)
        self.lengths = []

    def fresh(self, n):
        return self.rng.uniform(-0.05, 0.05, size=(n, 4))

    def observe(self):
        return torch.from_numpy(self.s.astype(np.float32) / self.SCALE)

    def step(self, actions):
        x, v, th, w = self.s.T
        force = np.where(actions == 1, 10.0, -10.0)
        sin, cos = np.sin(th), np.cos(th)
        tmp = (force + 0.05 * w ** 2 * sin) / 1.1
        alpha = (9.8 * sin - cos * tmp) / (0.5 * (4 / 3 - 0.1 * cos ** 2 / 1.1))
        acc = tmp - 0.05 * alpha * cos / 1.1
        self.s = np.stack([x + 0.02 * v, v + 0.02 * acc, th + 0.02 * w, w + 0.02 * alpha], axis=1)
        self.age += 1
        done = (np.abs(self.s[:, 0]) > 2.4) | (np.abs(self.s[:, 2]) > 0.21) | (self.age >= 200)
        self.lengths.extend(self.age[done].tolist())
        self.s[done] = self.fresh(int(done.sum()))
        self.age[done] = 0
        return torch.from_numpy(done.astype(np.float32))


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.Sequential(nn.Linear(4, 64), nn.Tanh())
        self.actor = nn.Linear(64, 2)
        self.critic = nn.Linear(64, 1)

    def forward(self, obs):
        h = self.shared(obs)
        return torch.distributions.Categorical(logits=self.actor(h)), self.critic(h).squeeze(-1)


def main(updates=150, horizon=10, gamma=0.98):
    torch.manual_seed(0)
    env = Poles(8, np.random.default_rng(0))
    agent = ActorCritic()
    opt = torch.optim.Adam(agent.parameters(), lr=4e-3)
    for u in range(1, updates + 1):
        logps, values, dones, entropy = [], [], [], []
        for _ in range(horizon):
            dist, value = agent(env.observe())
            action = dist.sample()
            done = env.step(action.numpy())
            logps.append(dist.log_prob(action))
            entropy.append(dist.entropy())
            values.append(value)
            dones.append(done)
        with torch.no_grad():
            _, ret = agent(env.observe())
        returns = []
        for done in reversed(dones):
            ret = 0.1 + gamma * ret * (1 - done)
            returns.insert(0, ret)
        returns, values = torch.stack(returns), torch.stack(values)
        advantage = returns - values
        policy_loss = -(torch.stack(logps) * advantage.detach()).mean()
        loss = policy_loss + 0.5 * F.mse_loss(values, returns) - 0.01 * torch.stack(entropy).mean()
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
        opt.step()
        if u % 30 == 0:
            recent = env.lengths[-30:]
            print(f"update {u}: mean balanced steps {sum(recent) / max(len(recent), 1):.1f}")


main()
