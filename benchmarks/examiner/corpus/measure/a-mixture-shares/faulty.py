import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class ShareLoss(nn.Module):
    """Divergence between the measured shares of the components and the predicted ones."""

    def __init__(self):
        super().__init__()
        self.kl = nn.KLDivLoss(reduction="batchmean")

    def forward(self, logits, shares):
        predicted = logits.softmax(dim=-1)  # <-- here
        return self.kl(predicted, shares)  # <-- here


class Unmixer(nn.Module):
    def __init__(self, channels, components):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(channels, 64),
            nn.LayerNorm(64),
            nn.GELU(),
            nn.Linear(64, 64),
            nn.GELU(),
        )
        self.head = nn.Linear(64, components)

    def forward(self, spectrum):
        return self.head(self.body(spectrum))


def make_spectra(n, components=6, channels=30):
    pure = torch.rand(components, channels)
    shares = torch.distributions.Dirichlet(torch.full((components,), 0.6)).sample((n,))
    spectra = shares @ pure + 0.02 * torch.randn(n, channels)
    return spectra, shares


def mean_share_error(model, loader):
    model.eval()
    error, n = 0.0, 0
    with torch.no_grad():
        for spectrum, shares in loader:
            error += (model(spectrum).softmax(-1) - shares).abs().sum().item()
            n += shares.numel()
    return error / n


def main():
    torch.manual_seed(31)
    spectra, shares = make_spectra(2400)
    mean, std = spectra[:2000].mean(0), spectra[:2000].std(0)
    spectra = (spectra - mean) / std
    train = DataLoader(TensorDataset(spectra[:2000], shares[:2000]), batch_size=64, shuffle=True)
    test = DataLoader(TensorDataset(spectra[2000:], shares[2000:]), batch_size=400)

    baseline = (shares[2000:] - shares[:2000].mean(0)).abs().mean().item()
    print(f"guessing the mean share: {baseline:.4f}")

    model, loss_fn = Unmixer(30, 6), ShareLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for epoch in range(8):
        model.train()
        for spectrum, target in train:
            optimizer.zero_grad()
            loss = loss_fn(model(spectrum), target)  # <-- here
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.4f}, share error {mean_share_error(model, test):.4f}")


if __name__ == "__main__":
    main()
