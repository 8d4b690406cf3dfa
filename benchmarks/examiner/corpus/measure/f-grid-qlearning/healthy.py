import random
from collections import deque, namedtuple

import torch
import torch.nn as nn
import torch.nn.functional as F

random.seed(4)
torch.manual_seed(4)
SIZE = 4
GOAL = (3, 3)
PIT = (1, 2)
MOVES = [(-1, 0), (1, 0), (0, -1), (0, 1)]
Transition = namedtuple("Transition", "state action reward next_state done")


def encode(pos):
    v = torch.zeros(SIZE * SIZE)
    v[pos[0] * SIZE + pos[1]] = 1
    return v


def env_step(pos, action):
    r = min(max(pos[0] + MOVES[action][0], 0), SIZE - 1)
    c = min(max(pos[1] + MOVES[action][1], 0), SIZE - 1)
    if (r, c) == GOAL:
        return (r, c), 1.0, True
    if (r, c) == PIT:
        return (r, c), -1.0, True
    return (r, c), -0.02, False


def make_q():
    return nn.Sequential(nn.Linear(SIZE * SIZE, 48), nn.ReLU(), nn.Linear(48, 4))


q_net, target_net = make_q(), make_q()
target_net.load_state_dict(q_net.state_dict())
optimizer = torch.optim.Adam(q_net.parameters(), lr=1e-3)
memory = deque(maxlen=2000)
STARTS = [(r, c) for r in range(SIZE) for c in range(SIZE) if (r, c) not in (GOAL, PIT)]
gamma, batch_size = 0.95, 32


def learn():
    batch = Transition(*zip(*random.sample(memory, batch_size)))
    states, next_states = torch.stack(batch.state), torch.stack(batch.next_state)
    actions = torch.tensor(batch.action).unsqueeze(1)
    rewards, dones = torch.tensor(batch.reward), torch.tensor(batch.done, dtype=torch.float32)
    q = q_net(states).gather(1, actions).squeeze(1)
    with torch.no_grad():
        best = target_net(next_states).max(1).values
        target = rewards + gamma * best * (1 - dones)
    loss = F.smooth_l1_loss(q, target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def greedy_return():
    pos, total = (0, 0), 0.0
    with torch.no_grad():
        for _ in range(20):
            pos, reward, done = env_step(pos, q_net(encode(pos)).argmax().item())
            total += reward
            if done:
                break
    return total


steps = 0
for episode in range(150):
    pos = random.choice(STARTS)
    eps = max(0.1, 1.0 - episode / 80)
    for t in range(25):
        if random.random() < eps:
            action = random.randrange(4)
        else:
            with torch.no_grad():
                action = q_net(encode(pos)).argmax().item()
        new_pos, reward, done = env_step(pos, action)
        memory.append(Transition(encode(pos), action, reward, encode(new_pos), done))
        pos = new_pos
        steps += 1
        if len(memory) >= 100 and steps % 2 == 0:
            loss = learn()
        if steps % 60 == 0:
            target_net.load_state_dict(q_net.state_dict())
        if done:
            break
    if episode % 25 == 24:
        print("episode", episode + 1, "eps %.2f" % eps, "loss %.4f" % loss, "greedy return %.2f" % greedy_return())
