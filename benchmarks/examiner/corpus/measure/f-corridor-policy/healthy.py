"""REINFORCE on a short corridor: walk right to the goal, a slip goes the other way."""
import torch
from torch import nn
from torch.distributions import Categorical


class Corridor:
    def __init__(self, length=7, slip=0.1, limit=25):
        self.length, self.slip, self.limit = length, slip, limit

    def reset(self):
        self.pos, self.t = self.length // 2, 0
        return self.state()

    def state(self):
        s = torch.zeros(self.length)
        s[self.pos] = 1.0
        return s

    def step(self, action):
        move = 1 if action == 1 else -1
        if torch.rand(()).item() < self.slip:
            move = -move
        self.pos = max(0, self.pos + move)
        self.t += 1
        if self.pos == self.length - 1:
            return self.state(), 1.0, True
        return self.state(), -0.05, self.t >= self.limit


def play(env, policy):
    log_probs, rewards = [], []
    obs, done = env.reset(), False
    while not done:
        dist = Categorical(logits=policy(obs))
        action = dist.sample()
        log_probs.append(dist.log_prob(action))
        obs, reward, done = env.step(action.item())
        rewards.append(reward)
    return log_probs, rewards


def discounted(rewards, gamma):
    out, g = [], 0.0
    for r in reversed(rewards):
        g = r + gamma * g
        out.append(g)
    return torch.tensor(out[::-1])


def main():
    torch.manual_seed(3)
    env = Corridor()
    policy = nn.Sequential(nn.Linear(env.length, 24), nn.Tanh(), nn.Linear(24, 2))
    optimizer = torch.optim.Adam(policy.parameters(), lr=5e-3)
    baseline = 0.0
    history = []
    for update in range(80):
        losses = []
        for _ in range(4):
            log_probs, rewards = play(env, policy)
            returns = discounted(rewards, 0.97)
            losses.append(-(torch.stack(log_probs) * (returns - baseline)).mean())
            baseline = 0.95 * baseline + 0.05 * returns.mean().item()
            history.append(sum(rewards))
        optimizer.zero_grad()
        torch.stack(losses).mean().backward()
        optimizer.step()
        if update % 10 == 9:
            print(f"update {update + 1}: mean return of the last 40 episodes {sum(history[-40:]) / 40:.3f}")


if __name__ == "__main__":
    main()
