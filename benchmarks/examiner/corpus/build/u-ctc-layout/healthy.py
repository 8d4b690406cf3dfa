import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils import clip_grad_norm_

CODES = torch.randn(5, 6, generator=torch.Generator().manual_seed(3))


def utterance(gen):
    labels = torch.randint(1, 6, (4,), generator=gen)
    frames = []
    for k in labels.tolist():
        hold = int(torch.randint(2, 5, (1,), generator=gen))
        gap = int(torch.randint(1, 3, (1,), generator=gen))
        frames += [CODES[k - 1]] * hold + [torch.zeros(6)] * gap
    x = torch.stack(frames)
    return x + 0.25 * torch.randn(x.shape, generator=gen), labels


def corpus(n, seed):
    gen = torch.Generator().manual_seed(seed)
    return [utterance(gen) for _ in range(n)]


def collate(rows):
    xs, ys = zip(*rows)
    return (nn.utils.rnn.pad_sequence(xs), torch.tensor([len(x) for x in xs]),
            torch.cat(ys), torch.tensor([len(y) for y in ys]))


class Recogniser(nn.Module):
    def __init__(self, n_in=6, hidden=32, n_sym=6):
        super().__init__()
        self.rnn = nn.GRU(n_in, hidden, bidirectional=True)
        self.fc = nn.Linear(2 * hidden, n_sym)

    def forward(self, x):
        h, _ = self.rnn(x)
        return F.log_softmax(self.fc(h), dim=2)


def greedy(logp, lengths):
    best = logp.argmax(2).t()
    return [[k for k in torch.unique_consecutive(row[:n]).tolist() if k] for row, n in zip(best, lengths)]


def exact_match(net, loader):
    net.eval()
    ok = n = 0
    with torch.no_grad():
        for x, xl, y, yl in loader:
            for hyp, ref in zip(greedy(net(x), xl), y.split(yl.tolist())):
                ok += hyp == ref.tolist()
                n += 1
    return ok / n


if __name__ == "__main__":
    torch.manual_seed(61)
    train = torch.utils.data.DataLoader(corpus(640, 1), batch_size=32, shuffle=True, collate_fn=collate)
    test = torch.utils.data.DataLoader(corpus(160, 2), batch_size=40, collate_fn=collate)
    net, ctc = Recogniser(), nn.CTCLoss(blank=0)
    opt = torch.optim.Adam(net.parameters(), lr=6e-3)
    for epoch in range(7):
        net.train()
        total = 0.0
        for x, xl, y, yl in train:
            loss = ctc(net(x), y, xl, yl)
            opt.zero_grad()
            loss.backward()
            clip_grad_norm_(net.parameters(), 2.0)
            opt.step()
            total += loss.item()
        print(f"epoch {epoch} ctc {total / len(train):.3f} exact {exact_match(net, test):.3f}")
