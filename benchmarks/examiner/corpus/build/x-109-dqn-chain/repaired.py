import collections
import copy
import math
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

Transition = collections.namedtuple("Transition", "state action reward next_state done")


class PushCart:
    """A cart on a track with friction; three pushes; reward grows as it comes to the mark."""

    limit = 25

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def reset(self):
        self.x, self.v = self.rng.uniform(-1, 1), 0.0
        self.mark = self.rng.uniform(-0.8, 0.8)
        self.t = 0
        return self.obs()

    def obs(self):
        return np.array([self.x, self.v * 4, self.mark - self.x], dtype=np.float32)

    def step(self, action):
        self.v = 0.6 * self.v + 0.08 * (action - 1)
        self.x = float(np.clip(self.x + self.v, -1.2, 1.2))
        self.t += 1
        return self.obs(), math.exp(-8 * (self.x - self.mark) ** 2), self.t >= self.limit


class ReplayMemory:
    def __init__(self, capacity):
        self.memory = collections.deque(maxlen=capacity)

    def push(self, *args):
        self.memory.append(Transition(*args))

    def sample(self, n):
        s, a, r, s2, d = zip(*random.sample(self.memory, n))
        return (torch.from_numpy(np.stack(s)), torch.tensor(a), torch.tensor(r, dtype=torch.float32),
                torch.from_numpy(np.stack(s2)), torch.tensor(d, dtype=torch.float32))

    def __len__(self):
        return len(self.memory)


class QNet(nn.Module):
    def __init__(self, n_obs=3, n_actions=3, width=48):
        super().__init__()
        self.layer1 = nn.Linear(n_obs, width)
        self.layer2 = nn.Linear(width, width)
        self.layer3 = nn.Linear(width, n_actions)

    def forward(self, x):
        return self.layer3(F.relu(self.layer2(F.relu(self.layer1(x)))))


class Agent:
    def __init__(self, gamma=0.9, lr=1e-3, batch_size=64, tau=0.02):
        self.policy = QNet()
        self.target = copy.deepcopy(self.policy).requires_grad_(False)
        self.memory = ReplayMemory(5000)
        self.opt = torch.optim.AdamW(self.policy.parameters(), lr=lr, amsgrad=True)
        self.gamma, self.batch_size, self.tau = gamma, batch_size, tau
        self.updates = 0

    @torch.no_grad()
    def act(self, obs, eps):
        if random.random() < eps:
            return random.randrange(3)
        return int(self.policy(torch.from_numpy(obs)[None]).argmax(1))

    def optimize(self):
        if len(self.memory) < 200:
            return None
        s, a, r, s2, done = self.memory.sample(self.batch_size)
        q = self.policy(s).gather(1, a.unsqueeze(1))
        with torch.no_grad():
            best = self.target(s2).max(1).values
            expected = r + self.gamma * best * (1 - done)
        loss = F.smooth_l1_loss(q, expected.unsqueeze(1))
        self.opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(self.policy.parameters(), 100)
        self.opt.step()
        with torch.no_grad():
            for p, t in zip(self.policy.parameters(), self.target.parameters()):
                t.lerp_(p, self.tau)
        self.updates += 1
        return loss.item()


def play(agent, env, episodes, eps=0.0):
    scores = []
    for _ in range(episodes):
        obs, total, over = env.reset(), 0.0, False
        while not over:
            obs, r, over = env.step(agent.act(obs, eps))
            total += r
        scores.append(total / env.limit)
    return float(np.mean(scores))


if __name__ == "__main__":
    random.seed(0)
    torch.manual_seed(0)
    agent, env = Agent(), PushCart(0)
    print("random play:", round(play(agent, PushCart(99), 40, eps=1.0), 3))
    losses = []
    for episode in range(50):
        obs, over = env.reset(), False
        eps = max(0.1, 1.0 - episode / 40)
        while not over:
            action = agent.act(obs, eps)
            nxt, reward, over = env.step(action)
            agent.memory.push(obs, action, (1 - agent.gamma) * reward, nxt, 0.0)  # the time limit is no terminal state
            obs = nxt
            loss = agent.optimize()
            if loss is not None:
                losses.append(loss)
        if episode % 10 == 9:
            print(f"episode {episode + 1} eps {eps:.2f} loss {np.mean(losses[-200:]):.2e} greedy score {play(agent, PushCart(99), 10):.3f}")
    print("updates:", agent.updates, "final greedy score:", round(play(agent, PushCart(99), 40), 3))
