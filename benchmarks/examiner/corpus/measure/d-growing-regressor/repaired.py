import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def wave(n, gen):
    x = torch.rand(n, 2, generator=gen) * 4 - 2
    y = torch.sin(2 * x[:, :1]) * torch.cos(1.5 * x[:, 1:]) + 0.3 * x[:, :1]
    return x, y + 0.02 * torch.randn(n, 1, generator=gen)


class Grower(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inp = nn.Linear(2, width)
        self.out = nn.Linear(width, 1)

    def forward(self, x):
        return self.out(torch.tanh(self.inp(x)))

    @torch.no_grad()
    def widen(self, extra):
        """Add hidden units; the function computed stays the same at first."""
        old_in, old_out = self.inp, self.out
        width = old_in.out_features
        self.inp = nn.Linear(2, width + extra)
        self.out = nn.Linear(width + extra, 1)
        nn.init.normal_(self.inp.weight, std=1.5)
        nn.init.normal_(self.inp.bias)
        nn.init.normal_(self.out.weight, std=0.01)
        self.inp.weight[:width] = old_in.weight
        self.inp.bias[:width] = old_in.bias
        self.out.weight[:, :width] = old_out.weight
        self.out.bias.copy_(old_out.bias)


class Trainer:
    def __init__(self, model, train_loader, test_data, lr):
        self.model = model
        self.loader = train_loader
        self.x_test, self.y_test = test_data
        self.lr = lr
        self.loss_fn = nn.MSELoss()
        self.optim = self.make_optimizer()

    def make_optimizer(self):
        return torch.optim.Adam(self.model.parameters(), lr=self.lr)

    def one_epoch(self):
        self.model.train()
        for x, y in self.loader:
            self.optim.zero_grad()
            self.loss_fn(self.model(x), y).backward()
            self.optim.step()

    @torch.no_grad()
    def test(self):
        self.model.eval()
        return self.loss_fn(self.model(self.x_test), self.y_test).item()

    def run(self, stages, epochs_per_stage):
        for stage, extra in enumerate(stages):
            if extra:
                self.model.widen(extra)
                self.optim = self.make_optimizer()
            for epoch in range(epochs_per_stage):
                self.one_epoch()
            width = self.model.inp.out_features
            print(f"stage {stage}: width {width:3d}  test mse {self.test():.4f}")


if __name__ == "__main__":
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(99)
    train, test = wave(2000, gen), wave(500, gen)
    loader = DataLoader(TensorDataset(*train), batch_size=50, shuffle=True)
    trainer = Trainer(Grower(8), loader, test, lr=1e-2)
    print(f"variance of the target: {test[1].var().item():.4f}")
    trainer.run(stages=[0, 24, 32], epochs_per_stage=4)
