"""Policy gradient on a treasure grid (4x4, goal in a random corner)."""
import random
import torch
import torch.nn as nn
from torch.distributions import Categorical


class Grid:
    moves = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    corners = [(0, 0), (0, 3), (3, 0), (3, 3)]

    def reset(self):
        self.goal = random.choice(self.corners)
        self.pos = (random.randint(1, 2), random.randint(1, 2))
        self.t = 0
        return self.obs()

    def obs(self):
        v = torch.zeros(8)
        v[0], v[1] = self.pos[0] / 1.5 - 1, self.pos[1] / 1.5 - 1
        v[2 + self.corners.index(self.goal)] = 1.0
        v[6], v[7] = (self.goal[0] - self.pos[0]) / 3, (self.goal[1] - self.pos[1]) / 3
        return v

    def step(self, a):
        dx, dy = self.moves[a]
        self.pos = (min(3, max(0, self.pos[0] + dx)), min(3, max(0, self.pos[1] + dy)))
        self.t += 1
        won = self.pos == self.goal
        return self.obs(), (1.0 if won else -0.1), won or self.t >= 12


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 4))

    def forward(self, s):
        return Categorical(logits=self.body(s))


def rollout(env, policy):
    s, done = env.reset(), False
    logps, rewards = [], []
    while not done:
        dist = policy(s)
        a = dist.sample()
        logps.append(dist.log_prob(a))
        s, r, done = env.step(a.item())
        rewards.append(r)
    return logps, rewards


def discounted(rewards, gamma=0.95):
    out, g = [], 0.0
    for r in reversed(rewards):
        g = r + gamma * g
        out.insert(0, g)
    return out


def episode_objective(logps, returns, baseline):
    terms = [-(g - baseline) * lp for lp, g in zip(logps, returns)]
    return torch.tensor(terms, requires_grad=True).sum()  # <-- here


def main(updates=90, episodes=6):
    random.seed(8)
    torch.manual_seed(8)
    env, policy = Grid(), Policy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    baseline = 0.0
    recent = []
    for u in range(1, updates + 1):
        loss = 0.0
        for _ in range(episodes):
            logps, rewards = rollout(env, policy)
            returns = discounted(rewards)
            loss = loss + episode_objective(logps, returns, baseline) / episodes
            baseline = 0.98 * baseline + 0.02 * returns[0]
            recent.append(sum(rewards))
        optimizer.zero_grad()
        loss.backward()  # <-- here
        optimizer.step()
        if u % 15 == 0:
            print(f"update {u:4d}  mean return {sum(recent) / len(recent):+.3f}")
            recent.clear()


if __name__ == "__main__":
    main()
