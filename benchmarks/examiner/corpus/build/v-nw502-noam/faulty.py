"""Character tagger: is this position inside a quoted span?"""
import random
import torch
import torch.nn as nn

hp = {
    "d_model": 64,
    "warmup": 150,
    "lr": 2e-5,  # <-- here
    "batch": 32,
    "steps": 260,
    "length": 30,
}
ALPHABET = "abcde'. "


def make_example(rng):
    chars, tags, inside = [], [], 0
    for _ in range(hp["length"]):
        c = "'" if rng.random() < 0.15 else rng.choice("abcde. ")
        if c == "'":
            inside = 1 - inside
        chars.append(ALPHABET.index(c))
        tags.append(inside)
    return chars, tags


def make_batch(n, rng):
    ex = [make_example(rng) for _ in range(n)]
    return torch.tensor([e[0] for e in ex]), torch.tensor([e[1] for e in ex], dtype=torch.float32)


class Tagger(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.emb = nn.Embedding(len(ALPHABET), d)
        self.lstm = nn.LSTM(d, d, batch_first=True)
        self.top = nn.Linear(d, 1)

    def forward(self, ids):
        return self.top(self.lstm(self.emb(ids))[0]).squeeze(-1)


def noam(step, d=hp["d_model"], warmup=hp["warmup"]):
    step = max(1, step)
    return 0.7 * d ** -0.5 * min(step ** -0.5, step * warmup ** -1.5)


def main():
    rng = random.Random(77)
    torch.manual_seed(77)
    net = Tagger(hp["d_model"])
    opt = torch.optim.Adam(net.parameters(), lr=hp["lr"], betas=(0.9, 0.98))  # <-- here
    sched = torch.optim.lr_scheduler.LambdaLR(opt, noam)  # <-- here
    loss_fn = nn.BCEWithLogitsLoss()
    xv, yv = make_batch(200, random.Random(1))
    for step in range(1, hp["steps"] + 1):
        x, y = make_batch(hp["batch"], rng)
        loss = loss_fn(net(x), y)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        sched.step()
        if step % 65 == 0:
            net.eval()
            with torch.no_grad():
                acc = ((net(xv) > 0).float() == yv).float().mean().item()
            net.train()
            print(f"step {step} loss {loss.item():.4f} tag accuracy {acc:.4f}")


main()
