import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info


class RingStream(IterableDataset):
    """Endless-style stream: points of two noisy rings, split over the workers."""

    def __init__(self, n, seed):
        super().__init__()
        self.n, self.seed, self.epoch = n, seed, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        info = get_worker_info()
        wid, num = (0, 1) if info is None else (info.id, info.num_workers)
        g = torch.Generator().manual_seed(self.seed + 1009 * self.epoch + 31 * wid)
        for _ in range(wid, self.n, num):
            label = int(torch.rand(1, generator=g) < 0.5)
            radius = 0.8 + 0.7 * label + 0.12 * torch.randn(1, generator=g)
            angle = 6.28318 * torch.rand(1, generator=g)
            yield torch.cat([radius * angle.cos(), radius * angle.sin()]), label


def main():
    torch.manual_seed(0)
    stream = RingStream(2400, seed=0)
    loader = DataLoader(stream, batch_size=40, num_workers=2)
    test_x, test_y = next(iter(DataLoader(RingStream(600, seed=987654), batch_size=600)))

    net = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    loss_fn = nn.CrossEntropyLoss()
    for epoch in range(3):
        stream.set_epoch(epoch)
        net.train()
        seen, total = 0, 0.0
        for x, y in loader:
            loss = loss_fn(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            seen += len(y)
            total += loss.item() * len(y)
        net.eval()
        with torch.no_grad():
            acc = (net(test_x).argmax(1) == test_y).float().mean().item()
        print(f"epoch {epoch}: {seen} examples, loss {total / seen:.4f}, test acc {acc:.4f}")


if __name__ == "__main__":
    main()
