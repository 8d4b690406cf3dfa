import math
import random

import torch
import torch.nn as nn

random.seed(0)
torch.manual_seed(0)

MOVES = [(1, 0), (-1, 0), (0, 1), (0, -1), (0, 0)]


class Field:
    """A point must reach a goal on a plane with wind."""

    def reset(self):
        self.pos = [random.uniform(-1, 1), random.uniform(-1, 1)]
        self.goal = [random.uniform(-1, 1), random.uniform(-1, 1)]
        self.t = 0
        return self.state()

    def state(self):
        return self.pos + self.goal

    def step(self, action):
        dx, dy = MOVES[action]
        self.pos[0] += 0.1 * dx + random.gauss(0, 0.02)
        self.pos[1] += 0.1 * dy + random.gauss(0, 0.02)
        self.t += 1
        return self.state(), math.dist(self.pos, self.goal), self.t >= 25


def expert(state):
    x, y, gx, gy = state
    dx, dy = gx - x, gy - y
    if max(abs(dx), abs(dy)) < 0.12:
        return 4
    if abs(dx) > abs(dy):
        return 0 if dx > 0 else 1
    return 2 if dy > 0 else 3


def demonstrations(episodes):
    env, states, actions = Field(), [], []
    for _ in range(episodes):
        s, done = env.reset(), False
        while not done:
            a = expert(s)
            states.append(s)
            actions.append(a)
            s, _, done = env.step(a)
    return torch.tensor(states), torch.tensor(actions)


policy = nn.Sequential(
    nn.Linear(4, 48), nn.Tanh(),
    nn.Linear(48, 48), nn.Tanh(),
    nn.Linear(48, len(MOVES)),
    nn.LogSoftmax(dim=-1),
)

states, actions = demonstrations(160)
held_states, held_actions = demonstrations(30)
nll = nn.NLLLoss()
optimizer = torch.optim.Adam(policy.parameters(), lr=5e-3)

for epoch in range(8):
    policy.train()
    order = torch.randperm(len(states))
    for i in range(0, len(order), 100):
        b = order[i:i + 100]
        loss = nll(policy(states[b]), actions[b])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    policy.eval()
    with torch.no_grad():
        agree = (policy(held_states).argmax(-1) == held_actions).float().mean()
    print(f"epoch {epoch}  loss {loss:.3f}  agreement with the expert {agree:.3f}")

env, final = Field(), []
for _ in range(20):
    s, done = env.reset(), False
    while not done:
        with torch.no_grad():
            a = policy(torch.tensor(s)).argmax().item()
        s, dist, done = env.step(a)
    final.append(dist)
print("mean final distance", sum(final) / len(final))
